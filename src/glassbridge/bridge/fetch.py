"""Fetches what is to be played, from public addresses only, and hands it to a decoder while it still arrives."""

import asyncio
import io
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, Self
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from glassbridge.bridge.config import PlaybackLimits
from glassbridge.bridge.public_address import is_public

_BLOCK: Final = 64 << 10
AHEAD: Final = 1 << 20
"""Bytes that may arrive before the decoder wants them; also how far it may look back."""
_HEADERS: Final = {"Accept": "audio/*, */*;q=0.5", "Accept-Encoding": "identity"}
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class PlaybackError(Exception):
    """Why nothing can be played: `code` for programs, the text for people. Never holds a URL."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Source:
    """Bytes that arrive on the event loop and are read in a decoder's thread. The sender is slowed down to be no more
    than AHEAD bytes before the decoder; what it has read is kept until it says that it will not go back."""

    def __init__(self, limits: PlaybackLimits) -> None:
        self._limits = limits
        self._data = bytearray()
        self._dropped = 0
        """Bytes before those that are kept."""
        self._wanted = 0
        """How far the decoder has asked."""
        self._keeps = True
        self._complete = False
        self._expected: int | None = None
        self._error: PlaybackError | None = None
        self._changed = threading.Condition()
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Event()

    # ---- the loop's side

    def expect(self, size: int | None) -> None:
        """How many bytes will come in all, when the sender says so. Raises PlaybackError when it is too much."""
        if size is not None and size > self._limits.max_bytes:
            raise PlaybackError("too_large", f"the audio is larger than {self._limits.max_bytes} bytes")
        self._expected = size

    async def feed(self, data: bytes) -> None:
        """Adds what has arrived; returns when the decoder wants more. Raises PlaybackError when it becomes too much.
        Safe to cancel."""
        with self._changed:
            arrived = self._arrived + len(data)
            if arrived > self._limits.max_bytes:
                raise PlaybackError("too_large", f"the audio is larger than {self._limits.max_bytes} bytes")
            if self._keeps and arrived > self._limits.max_kept:
                raise PlaybackError("too_large", f"of this format no more than {self._limits.max_kept} bytes")
            self._data += data
            self._changed.notify_all()
        while not self._complete and self._arrived - self._wanted > AHEAD:
            self._room.clear()
            await self._room.wait()

    def finish(self, error: PlaybackError | None = None) -> None:
        """Nothing more arrives; the reader meets `error` where the data ends. The first call counts."""
        with self._changed:
            if not self._complete:
                self._complete, self._error = True, error
            self._changed.notify_all()
        self._room.set()

    # ---- the decoder's side

    def read_at(self, position: int, size: int) -> bytes:
        """Waits for at least one byte; b"" at the end. Raises PlaybackError."""
        with self._changed:
            self._want(position, position + size)
            while position >= self._arrived and not self._complete:
                if not self._changed.wait(self._limits.stall_timeout):
                    raise PlaybackError("stalled", f"no audio arrived for {self._limits.stall_timeout:g} s")
            if position >= self._arrived and self._error is not None:
                raise self._error
            if position < self._dropped:
                raise PlaybackError("undecodable", "the audio cannot be read as it arrives")
            return bytes(self._data[position - self._dropped : position - self._dropped + size])

    def let_go(self) -> None:
        """The decoder will read on from where it is."""
        with self._changed:
            self._keeps = False

    @property
    def size(self) -> int | None:
        """Bytes in all; None while nobody knows."""
        with self._changed:
            return self._arrived if self._complete else self._expected

    @property
    def _arrived(self) -> int:
        return self._dropped + len(self._data)

    def _want(self, position: int, until: int) -> None:
        past = position - self._dropped - AHEAD
        if not self._keeps and past > AHEAD:
            del self._data[:past]
            self._dropped += past
        if until > self._wanted:
            self._wanted = until
            with suppress(RuntimeError):  # the loop is closed: so is the worker
                self._loop.call_soon_threadsafe(self._room.set)


class Reader:
    """A source as a file. What can seek makes some decoders read to the end first, so not everybody may."""

    def __init__(self, source: Source, seekable: bool) -> None:
        self._source = source
        self._seekable = seekable
        self._position = 0
        self.failure: PlaybackError | None = None
        """Why no more could be read; None: the end was the end."""

    def read(self, size: int) -> bytes:
        """b"" at the end and at a failure: FFmpeg has no way to carry our exceptions."""
        try:
            data = self._source.read_at(self._position, size)
        except PlaybackError as error:
            self.failure = error
            return b""
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """-1 where the end is wanted and nobody knows it yet."""
        if whence == io.SEEK_END:
            size = self._source.size
            if size is None:
                return -1
            offset += size
        elif whence == io.SEEK_CUR:
            offset += self._position
        self._position = max(0, offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return self._seekable


class _PublicResolver(AbstractResolver):
    """Resolves names, and gives only addresses that may be connected to: aiohttp connects to what was checked."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = allowed
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if host in self._allowed or f"{host}:{port}" in self._allowed:
            return found
        public = [result for result in found if is_public(result["host"])]
        if not public:
            raise PlaybackError("forbidden_address", "the URL leads to an address that is not public")
        return public

    async def close(self) -> None:
        await self._inner.close()


class Fetcher:
    """One for a worker; use as an async context."""

    def __init__(self, limits: PlaybackLimits) -> None:
        self._limits = limits
        self._allowed = frozenset(limits.hosts)

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            resolver=_PublicResolver(self._allowed), use_dns_cache=False, limit=0, force_close=True
        )
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._limits.connect_timeout, sock_read=self._limits.stall_timeout
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def fetch(self, url: str, into: Source) -> None:
        """Feeds the source to its end or its error; raises nothing but CancelledError. Safe to cancel."""
        try:
            if url.startswith("file:"):
                await self._read_file(url, into)
            else:
                await self._get(url, into)
            into.finish()
        except PlaybackError as error:
            into.finish(error)
        except TimeoutError:
            into.finish(PlaybackError("stalled", "the server of the audio does not answer in time"))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Only the kind: the text of these errors holds the URL.
            cause = error.__cause__ or error.__context__
            if isinstance(cause, PlaybackError):
                into.finish(cause)
            else:
                into.finish(PlaybackError("unreachable", f"the audio cannot be fetched ({type(error).__name__})"))
        finally:
            into.finish(PlaybackError("stopped", "stopped"))

    async def _get(self, url: str, into: Source) -> None:
        for _ in range(self._limits.redirects + 1):
            self._check(url)
            async with self._session.get(url, allow_redirects=False, headers=_HEADERS) as answer:
                if answer.status in _REDIRECTS and "Location" in answer.headers:
                    url = str(answer.url.join(URL(answer.headers["Location"])))
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

    def _check(self, url: str) -> None:
        """An address literal does not meet the resolver, so it is judged here. Raises PlaybackError."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            raise PlaybackError("bad_url", "audio_url is no URL") from None
        if parts.scheme not in ("http", "https") or not host:
            raise PlaybackError("bad_url", "audio_url is not an http or https URL")
        if host in self._allowed or f"{host}:{port}" in self._allowed:
            return
        literal = False
        with suppress(OSError):
            literal = bool(socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST))
        if literal and not is_public(host):
            raise PlaybackError("forbidden_address", "the URL leads to an address that is not public")

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
