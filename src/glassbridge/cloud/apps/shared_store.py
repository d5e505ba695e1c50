"""The store that all clouds of a cluster share, in the directory's server.

While that server is away each request is refused (StoreError), at once after the first one: nothing is read that may be
old, and nothing is written that would be lost.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from glassbridge.cloud.apps.store import Full, StoredKind, StoreError
from glassbridge.cluster.directory import DirectoryAway
from glassbridge.cluster.kept import Kept, TooMuch
from glassbridge.core.values import UserId
from glassbridge.runtime.world import REAL

AGAIN_AFTER: Final = 1.0
"""Seconds for which a server that did not answer is not asked again: no caller waits for it."""
AWAY: Final = "the store of the cluster does not answer: try again later"
FULL: Final = "the store of the cluster is full (GLASSBRIDGE_STORE_MB)"


class SharedStore:
    """`most`: bytes of all texts of all users. Use as an async context."""

    def __init__(self, kept: Kept, most: int, clock: Callable[[], float] = REAL.monotonic) -> None:
        self._kept = kept
        self._most = most
        self._clock = clock
        self._again_at = 0.0
        """Until then the server is not asked: it did not answer the last time."""

    async def __aenter__(self) -> "SharedStore":
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._kept.close()

    async def know(self, user: UserId, package: str) -> None:
        with self._errors():
            await self._kept.put(f"started:{user}", package)

    async def knows(self, user: UserId, package: str) -> bool:
        with self._errors():
            return await self._kept.has(f"started:{user}", package)

    async def read(self, kind: StoredKind, user: UserId, package: str) -> dict[str, str]:
        with self._errors():
            return await self._kept.read(_name(kind, user, package))

    async def write(
        self, kind: StoredKind, user: UserId, package: str, values: Mapping[str, str], most: int
    ) -> dict[str, str]:
        with self._errors():
            return await self._kept.write(_name(kind, user, package), values, most, self._most)

    async def delete(self, kind: StoredKind, user: UserId, package: str, key: str | None = None) -> int:
        with self._errors():
            return await self._kept.delete(_name(kind, user, package), key)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Those of the server as those of a store."""
        if self._clock() < self._again_at:
            raise StoreError(AWAY)
        try:
            yield
        except DirectoryAway:
            self._again_at = self._clock() + AGAIN_AFTER
            raise StoreError(AWAY) from None
        except TooMuch as error:
            raise (StoreError(FULL) if error.of_all else Full()) from None


def _name(kind: StoredKind, user: UserId, package: str) -> str:
    """A package has no colon, so names of two users are never the same."""
    return f"kept:{kind}:{package}:{user}"
