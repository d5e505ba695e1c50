"""Fetches what is to be played, from public addresses only, and hands it to a decoder while it still arrives."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, Self
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from glassbridge.bridge.config import PlaybackLimits
from glassbridge.bridge.public_address import is_public
from glassbridge.bridge.web_address import WebAddress, parse_address

_BLOCK: Final = 64 << 10
AHEAD: Final = 512 << 10
"""Bytes that may arrive before the decoder wants them."""
_HEADERS: Final = {"Accept": "audio/*, */*;q=0.5", "Accept-Encoding": "identity"}
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class PlaybackError(Exception):
    """Why nothing can be played: `code` for programs, the text for people. Never holds a URL."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Hoard:
    """Bytes that all sources of a worker hold. A sound that can be read only with all of it at hand takes much, so a
    user, and all of them, have a bound; a window of AHEAD bytes is always granted."""

    def __init__(self, of_one: int, of_all: int) -> None:
        self._of_one, self._of_all = of_one, of_all
        self._held: dict[str, int] = {}

    def grants(self, owner: str, more: int) -> bool:
        """Whether so many bytes more may be held for this owner."""
        return self._held.get(owner, 0) + more <= self._of_one and sum(self._held.values()) + more <= self._of_all

    def change(self, owner: str, by: int) -> None:
        """So many more are held, or fewer."""
        if held := self._held.get(owner, 0) + by:
            self._held[owner] = held
        else:
            self._held.pop(owner, None)


class Source:
    """Bytes that arrive and are read by a decoder. The sender is slowed down to be no more than AHEAD bytes before the
    decoder; read bytes are kept until it says that it will not go back."""

    def __init__(self, limits: PlaybackLimits, hoard: Hoard | None = None, owner: str = "") -> None:
        self._limits = limits
        self._hoard = hoard if hoard is not None else Hoard(limits.max_kept, limits.max_kept)
        self._owner = owner
        self._data = bytearray()
        self._dropped = 0
        """Bytes before those that are kept."""
        self._wanted = 0
        """How far the decoder has asked."""
        self._keeps = True
        self._complete = False
        self._expected: int | None = None
        self._error: PlaybackError | None = None
        self._arrival = asyncio.Event()
        self._room = asyncio.Event()

    # ---- the sender's side

    def expect(self, size: int | None) -> None:
        """How many bytes will come in all, when the sender says so. Raises PlaybackError when it is too much."""
        if size is not None and size > self._limits.max_bytes:
            raise PlaybackError("too_large", f"the audio is larger than {self._limits.max_bytes} bytes")
        self._expected = size

    async def feed(self, data: bytes) -> None:
        """Adds what has arrived; returns when the decoder wants more. Raises PlaybackError when it becomes too much.
        Safe to cancel."""
        if self._complete:
            return
        arrived = self._arrived + len(data)
        if arrived > self._limits.max_bytes:
            raise PlaybackError("too_large", f"the audio is larger than {self._limits.max_bytes} bytes")
        if self._keeps and arrived > self._limits.max_kept:
            raise PlaybackError("too_large", f"of this format no more than {self._limits.max_kept} bytes")
        if self._keeps and arrived > AHEAD and not self._hoard.grants(self._owner, len(data)):
            raise PlaybackError(
                "busy", "too many sounds that can be read only as a whole: try again when one has ended"
            )
        self._data += data
        self._hoard.change(self._owner, len(data))
        self._arrival.set()
        while not self._complete and self._arrived - self._wanted > AHEAD:
            self._room.clear()
            await self._room.wait()

    def finish(self, error: PlaybackError | None = None) -> None:
        """Nothing more arrives; the reader meets `error` where the data ends. The first call counts."""
        if not self._complete:
            self._complete, self._error = True, error
        self._arrival.set()
        self._room.set()

    # ---- the decoder's side

    async def read_at(self, position: int, size: int) -> bytes:
        """Waits for at least one byte; b"" at the end. Raises PlaybackError. Safe to cancel."""
        self._want(position, position + size)
        try:
            while position >= self._arrived and not self._complete:
                self._arrival.clear()
                async with asyncio.timeout(self._limits.stall_timeout):
                    await self._arrival.wait()
        except TimeoutError:
            raise PlaybackError("stalled", f"no audio arrived for {self._limits.stall_timeout:g} s") from None
        if position >= self._arrived and self._error is not None:
            raise self._error
        if position < self._dropped:
            raise PlaybackError("undecodable", "the audio cannot be read as it arrives")
        return bytes(self._data[position - self._dropped : position - self._dropped + size])

    def let_go(self) -> None:
        """The decoder will read on from where it is."""
        self._keeps = False

    def close(self) -> None:
        """There is no reader any more: the held bytes are dropped."""
        self.finish(PlaybackError("stopped", "stopped"))
        self._drop(len(self._data))

    @property
    def size(self) -> int | None:
        """Bytes in all; None while unknown."""
        return self._arrived if self._complete else self._expected

    @property
    def _arrived(self) -> int:
        return self._dropped + len(self._data)

    def _want(self, position: int, until: int) -> None:
        if not self._keeps:
            self._drop(min(position - self._dropped, len(self._data)))
        if until > self._wanted:
            self._wanted = until
            self._room.set()

    def _drop(self, count: int) -> None:
        if count > 0:
            del self._data[:count]
            self._dropped += count
            self._hoard.change(self._owner, -count)


def _refuse() -> PlaybackError:
    return PlaybackError("forbidden_address", "the URL leads to an address that is not public")


def _cloud_unreachable(own_address: str) -> PlaybackError:
    """The cloud's own address is in its settings, and no secret."""
    return PlaybackError(
        "unreachable",
        f"the bridge cannot reach its cloud at {own_address}: set GLASSBRIDGE_PUBLIC_URL of the cloud to an address "
        "that the bridge can reach",
    )


class _PublicResolver(AbstractResolver):
    """Resolves names, and gives only addresses that may be connected to."""

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        public = [result for result in await self._inner.resolve(host, port, family) if is_public(result["host"])]
        if not public:
            raise _refuse()
        return public

    async def close(self) -> None:
        await self._inner.close()


def _public_socket(address: AddrInfoType) -> socket.socket:
    """A socket for the address that is connected to in this moment, however it was found."""
    family, kind, protocol, _, where = address
    if not is_public(str(where[0])):
        raise _refuse()
    return socket.socket(family, kind, protocol)


def _parsed(parse: Callable[[str], WebAddress], url: str) -> WebAddress:
    try:
        return parse(url)
    except ValueError as error:
        raise PlaybackError("bad_url", f"audio_url cannot be fetched: {error}") from None


class Fetcher:
    """One for a worker; use as an async context."""

    def __init__(self, limits: PlaybackLimits) -> None:
        self._limits = limits
        self._allowed = frozenset(limits.hosts)

    async def __aenter__(self) -> Self:
        public = aiohttp.TCPConnector(
            resolver=_PublicResolver(),
            socket_factory=_public_socket,
            use_dns_cache=False,
            limit=0,
            force_close=True,
        )
        allowed = aiohttp.TCPConnector(resolver=ThreadedResolver(), use_dns_cache=False, limit=0, force_close=True)
        self._public, self._trusted = self._session(public), self._session(allowed)
        return self

    def _session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._limits.connect_timeout, sock_read=self._limits.stall_timeout
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
        )

    async def __aexit__(self, *_: object) -> None:
        await self._public.close()
        await self._trusted.close()

    async def fetch(self, url: str, into: Source, own_address: str = "") -> None:
        """Feeds the source to its end or its error; raises nothing but CancelledError. Safe to cancel. `own_address` is
        the host:port of the cloud that asks, where the sound is its own: it need not be public, as it is no app's
        choice. A redirect from there has to lead to a public address again."""
        try:
            if url.startswith("file:"):
                await self._read_file(url, into)
            else:
                await self._get(url, into, own_address)
            into.finish()
        except PlaybackError as error:
            into.finish(error)
        except TimeoutError as error:
            if own_address and isinstance(error, aiohttp.ConnectionTimeoutError):
                into.finish(_cloud_unreachable(own_address))
            else:
                into.finish(PlaybackError("stalled", "the server of the audio does not answer in time"))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Only the kind: the text of these errors holds the URL.
            cause = error.__cause__ or error.__context__
            if isinstance(cause, PlaybackError):
                into.finish(cause)
            elif own_address and isinstance(error, aiohttp.ClientConnectorError):
                into.finish(_cloud_unreachable(own_address))
            else:
                into.finish(PlaybackError("unreachable", f"the audio cannot be fetched ({type(error).__name__})"))
        finally:
            into.finish(PlaybackError("stopped", "stopped"))

    async def _get(self, url: str, into: Source, own_address: str) -> None:
        address = _parsed(parse_address, url)
        for _ in range(self._limits.redirects + 1):
            session, own_address = self._session_for(address, own_address), ""
            headers = _HEADERS | address.headers
            async with session.get(address.url, allow_redirects=False, headers=headers) as answer:
                if answer.status in _REDIRECTS and "Location" in answer.headers:
                    address = _parsed(address.follow, answer.headers["Location"])
                    continue
                if answer.status != 200:
                    raise PlaybackError("http_status", f"the server of the audio answers {answer.status}")
                if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
                    raise PlaybackError("bad_encoding", "the audio is sent compressed a second time")
                into.expect(answer.content_length)
                async for data in answer.content.iter_chunked(_BLOCK):
                    await into.feed(data)
                return
        raise PlaybackError("redirects", f"more than {self._limits.redirects} redirects")

    def _session_for(self, address: WebAddress, own_address: str) -> aiohttp.ClientSession:
        """An address literal does not meet the resolver, so it is judged here. Raises PlaybackError."""
        host, port = address.host, address.port
        if host in self._allowed or f"{host}:{port}" in (own_address, *self._allowed):
            return self._trusted
        literal = False
        with suppress(OSError):
            literal = bool(socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST))
        if literal and not is_public(host):
            raise _refuse()
        return self._public

    async def _read_file(self, url: str, into: Source) -> None:
        with await asyncio.to_thread(self._open_file, url) as file:
            while data := await asyncio.to_thread(file.read, _BLOCK):
                await into.feed(data)

    def _open_file(self, url: str) -> BinaryIO:
        folder = self._limits.folder
        if folder is None:
            raise PlaybackError("bad_url", "audio_url is not an http or https URL")
        path = Path(unquote(urlsplit(url).path)).resolve()
        if not path.is_relative_to(Path(folder).resolve()) or not path.is_file():
            raise PlaybackError("bad_url", "audio_url names no file that may be played")
        return path.open("rb")
