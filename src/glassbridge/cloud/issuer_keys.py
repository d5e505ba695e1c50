"""The public keys with which an issuer signs core tokens: a JWKS behind a URL or in a file, kept and read again.

Only keys for RS256 and ES256 count, and each for one algorithm alone: no token can choose how it is verified. While the
endpoint is away, the known keys count. An unknown key id has the JWKS read once more, at most each RETRY_EVERY seconds.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import jwt
import structlog

from glassbridge.cloud.config import IssuerConfig
from glassbridge.runtime.answers import TooLong, read_all
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.tasks import cancelled

log = structlog.get_logger()

FETCH_TIMEOUT: Final = 5.0
RETRY_EVERY: Final = 30.0
MAX_BYTES: Final = 256 << 10
MAX_KEYS: Final = 100
MIN_RSA_BITS: Final = 2048
_ALGORITHMS: Final = {"RSA": "RS256", "EC": "ES256"}
ALGORITHMS: Final = frozenset(_ALGORITHMS.values())


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A public key, and the one algorithm that it is for."""

    algorithm: str
    key: Any


class NoKeys(Exception):
    """A JWKS that cannot be used; the text says why."""


def parse_jwks(data: bytes) -> Mapping[str, IssuerKey]:
    """By key id; keys that are not for RS256 or ES256 are left out. Raises NoKeys."""
    try:
        listed = json.loads(data)["keys"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise NoKeys("it is no JSON Web Key Set") from None
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise NoKeys(f"it is no list of at most {MAX_KEYS} keys")
    found = {}
    for entry in listed:
        if isinstance(entry, dict) and (key := _parse_key(entry)) is not None:
            found[str(entry.get("kid", ""))] = key
    if not found:
        raise NoKeys("it holds no key for RS256 or ES256")
    return found


def _parse_key(entry: dict[str, Any]) -> IssuerKey | None:
    algorithm = _ALGORITHMS.get(str(entry.get("kty")))
    if algorithm is None or entry.get("use", "sig") != "sig" or entry.get("alg", algorithm) != algorithm:
        return None
    if algorithm == "ES256" and entry.get("crv") != "P-256":
        return None
    public = {name: value for name, value in entry.items() if name not in ("d", "p", "q", "dp", "dq", "qi", "oth")}
    try:
        key = jwt.PyJWK(public, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    return None if algorithm == "RS256" and key.key_size < MIN_RSA_BITS else IssuerKey(algorithm, key)


class IssuerKeys:
    """`async with` reads the keys now and then. Raises UserError at once where a file cannot be used."""

    def __init__(self, config: IssuerConfig) -> None:
        self._config = config
        self._keys: Mapping[str, IssuerKey] = {}
        self._reading: asyncio.Task[None] | None = None
        self._read_at: float | None = None
        self._broken = False
        self._refreshing: asyncio.Task[None] | None = None
        if isinstance(config.keys, Path):
            try:
                self._keys = parse_jwks(self._read_file(config.keys))
            except NoKeys as error:
                raise UserError(Complaint.JWKS_WRONG.text(path=config.keys, why=error), 2) from None

    async def __aenter__(self) -> "IssuerKeys":
        self._refreshing = asyncio.get_running_loop().create_task(self._refresh(), name="issuer-keys")
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (self._refreshing, self._reading):
            if task is not None:
                await cancelled(task)

    @property
    def known(self) -> bool:
        """The keys have been read at least once."""
        return bool(self._keys)

    def holds(self, kid: str) -> bool:
        """Whether the issuer still has this key, as far as we know."""
        return kid in self._keys

    async def find(self, kid: str) -> IssuerKey | None:
        """The key of this id; waits for one reading of the keys where it is not known. Safe to cancel."""
        if kid not in self._keys and self._may_read():
            await asyncio.shield(self._begin_to_read())
        return self._keys.get(kid)

    async def reload(self) -> None:
        """Reads the keys now. Safe to cancel."""
        await asyncio.shield(self._begin_to_read())

    def _may_read(self) -> bool:
        reading = self._reading is not None and not self._reading.done()
        now = asyncio.get_running_loop().time()
        return reading or self._read_at is None or now - self._read_at >= RETRY_EVERY

    def _begin_to_read(self) -> asyncio.Task[None]:
        """One at a time: those who come meanwhile wait for the same one."""
        if self._reading is None or self._reading.done():
            loop = asyncio.get_running_loop()
            self._read_at = loop.time()
            self._reading = loop.create_task(self._read(), name="issuer-keys-read")
        return self._reading

    async def _refresh(self) -> None:
        while True:
            await asyncio.shield(self._begin_to_read())
            await asyncio.sleep(min(RETRY_EVERY, self._config.refresh) if self._broken else self._config.refresh)

    async def _read(self) -> None:
        try:
            keys = parse_jwks(await self._bytes())
        except NoKeys as error:
            if not self._broken:
                self._broken = True
                log.warning(
                    "issuer keys unreadable", cause=str(error), keys=len(self._keys),
                    action="keep those that are known, and try again", retry_in_s=RETRY_EVERY,
                )  # fmt: skip
            return
        if self._broken or keys.keys() != self._keys.keys():
            log.info("issuer keys read", keys=len(keys))
        self._keys, self._broken = keys, False

    async def _bytes(self) -> bytes:
        source = self._config.keys
        if isinstance(source, Path):
            return await asyncio.to_thread(self._read_file, source)
        try:
            async with (
                asyncio.timeout(FETCH_TIMEOUT),
                aiohttp.ClientSession(trust_env=True) as http,
                http.get(source, allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    raise NoKeys(f"the endpoint answers with status {answer.status}")
                with suppress(asyncio.IncompleteReadError):
                    return await read_all(answer.content, MAX_BYTES)
        except TooLong:
            raise NoKeys(f"it is larger than {MAX_BYTES >> 10} KiB") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NoKeys(f"the endpoint does not answer ({type(error).__name__})") from None
        raise NoKeys("the endpoint broke off")

    @staticmethod
    def _read_file(path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise NoKeys(f"it cannot be read: {error.strerror}") from None
        if len(data) > MAX_BYTES:
            raise NoKeys(f"it is larger than {MAX_BYTES >> 10} KiB")
        return data
