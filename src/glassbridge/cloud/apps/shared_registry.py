"""The registry of apps that all clouds of a cluster share, in the directory's server.

A cloud answers from a copy, which it compares each EVERY seconds. While the server is away the copy stays as it is. A
server that has lost its memory gets it back from the copy: its apps go on.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

import msgspec
import structlog

from glassbridge.cloud.apps.registry import (
    AppRecord,
    RegistryError,
    StaticRegistry,
    no_such_app,
    read_record,
    there_already,
)
from glassbridge.cluster.directory import DirectoryAway
from glassbridge.cluster.kept import Kept
from glassbridge.runtime.complaints import Complaint

log = structlog.get_logger()

EVERY: Final = 1.0

T = TypeVar("T")


class RegistryCopy:
    """That of a running cloud. `keep` for as long as it serves."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._version: str | None = None
        self._texts: dict[str, str] = {}
        self._records: StaticRegistry | None = None
        """None: nothing was read so far."""
        self._is_away = False

    def find(self, package: str) -> AppRecord | None:
        return self._known.find(package)

    def all(self) -> Sequence[AppRecord]:
        return self._known.all()

    def add(self, record: AppRecord) -> None:
        raise RegistryError(Complaint.REGISTRY_BY_COMMAND.text())

    def remove(self, package: str) -> bool:
        raise RegistryError(Complaint.REGISTRY_BY_COMMAND.text())

    def change_key(self, record: AppRecord) -> None:
        raise RegistryError(Complaint.REGISTRY_BY_COMMAND.text())

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Compares once. Never raises."""
        try:
            await self._compare()
        except DirectoryAway as away:
            if not self._is_away:
                log.warning("registry of apps away", error=str(away), apps=len(self._texts))
            self._is_away = True
        except RegistryError as error:
            log.warning("registry of apps cannot be used", error=str(error))
        else:
            self._is_away = False

    async def close(self) -> None:
        """Releases everything. Never raises."""
        await self._kept.close()

    async def _compare(self) -> None:
        version = await self._kept.version()
        if version is None and self._texts:
            log.warning("registry of apps lost", apps=len(self._texts), action="written down again")
            await self._kept.restore(self._version or "1", self._texts)
            return
        if version != self._version or self._records is None:
            texts = await self._kept.records()
            self._records = StaticRegistry(*(_record(package, text) for package, text in texts.items()))
            self._version, self._texts = version, texts

    @property
    def _known(self) -> StaticRegistry:
        if self._records is None:
            raise RegistryError(Complaint.REGISTRY_AWAY.text())
        return self._records


class RegistryOfCluster:
    """That of a command: each call connects, asks and goes. Not for a running event loop."""

    def __init__(self, connect: Callable[[], Kept]) -> None:
        self._connect = connect

    def find(self, package: str) -> AppRecord | None:
        return next((record for record in self.all() if record.package == package), None)

    def all(self) -> Sequence[AppRecord]:
        texts = self._ask(lambda kept: kept.records())
        return [_record(package, texts[package]) for package in sorted(texts)]

    def add(self, record: AppRecord) -> None:
        if not self._ask(lambda kept: kept.change("add", record.package, _text(record))):
            raise there_already(record.package)

    def remove(self, package: str) -> bool:
        return self._ask(lambda kept: kept.change("remove", package))

    def change_key(self, record: AppRecord) -> None:
        if not self._ask(lambda kept: kept.change("change", record.package, _text(record))):
            raise no_such_app(record.package)

    def _ask(self, question: Callable[[Kept], Coroutine[Any, Any, T]]) -> T:
        async def ask() -> T:
            kept = self._connect()
            try:
                return await question(kept)
            finally:
                await kept.close()

        try:
            return asyncio.run(ask())
        except DirectoryAway:
            raise RegistryError(Complaint.REGISTRY_AWAY.text()) from None


def _text(record: AppRecord) -> str:
    fields = {
        "name": record.name,
        "url": record.url,
        "key_hash": record.key_hash,
        "secret": record.secret,
        "permissions": sorted(permission.value for permission in record.permissions),
        "settings": record.settings,
    }
    return json.dumps(fields)


def _record(package: str, text: str) -> AppRecord:
    """Raises RegistryError."""
    try:
        return read_record(f"the registry of the cluster, {package}", package, msgspec.json.decode(text))
    except msgspec.DecodeError:
        raise RegistryError(Complaint.REGISTRY_JSON.text(package=package)) from None
