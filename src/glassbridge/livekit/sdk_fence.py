"""A fence between the SDK and LiveKit: signalling is let through until the place is had, and never again.

The SDK resumes by itself, which cannot be switched off, and by that steals the user from a successor (traps B3). Asked
to leave it may still finish the attempt that is under way. So it signals through a loopback socket of ours, which takes
no new connection once the fence is shut: whatever the SDK tries then, it cannot get back in. Media goes past.

It also asks the server for signs of life: the SDK notices a dead way after 14 s.
"""

import asyncio
import os
import re
import ssl
from collections.abc import Callable
from time import monotonic

from yarl import URL

from glassbridge.core.values import LossReason
from glassbridge.livekit.participant import ParticipantError
from glassbridge.livekit.websocket_edges import MASKED_PING, FrameEdges
from glassbridge.runtime.tasks import TaskGroup

CONNECT_TIMEOUT = 5.0
LAST_WORDS = 1.0
"""Seconds in which a goodbye is passed on; one that is lost leaves a ghost in the room."""
MAX_HEAD = 64 << 10
_SECURE = ("wss", "https")
_HOST = re.compile(rb"^host:[^\r\n]*", re.IGNORECASE | re.MULTILINE)
_DATE = re.compile(rb"^date:[ \t]*([^\r\n]{1,64})", re.IGNORECASE | re.MULTILINE)
_END_OF_HEAD = b"\r\n\r\n"


class Fence:
    """`open()`, use `url` instead of the server's, `shut()` when the place is had, `close()` when it is left."""

    def __init__(self, server: URL) -> None:
        self._to = server
        self._host, self._port = server.host or "", server.port or 0
        self._tasks = TaskGroup("sdk fence")
        self._listener: asyncio.Server | None = None
        self._ends: set[_End] = set()
        self._empty = asyncio.Event()
        self._asked_at: float | None = None
        """When the server was asked first since it answered. What else it says proves one direction only."""
        self.url = ""
        self.date = ""
        """What the server's last answer said of its time."""
        self.failure: ParticipantError | None = None
        """Why the server could not be reached, in better words than the SDK has for a socket that breaks."""

    async def open(self) -> None:
        """Begins to let through. Raises OSError when there is no loopback."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: _Client(self._track, self._asked), "127.0.0.1", 0)
        port = self._listener.sockets[0].getsockname()[1]
        self.url = str(URL.build(scheme="ws", host="127.0.0.1", port=port, path=self._to.path))

    def shut(self) -> None:
        """Lets no new connection through; those that are there stay. Idempotent."""
        if self._listener is not None:
            self._listener.close()

    def ask(self) -> None:
        """Asks the server for a sign of life, over the connections that are there."""
        if self._asked_at is None:
            self._asked_at = monotonic()
        for end in self._ends:
            if isinstance(end, _Client):
                end.ping()

    @property
    def silent_for(self) -> float:
        """Seconds since the server was asked without an answer; 0.0: it has answered."""
        return 0.0 if self._asked_at is None else monotonic() - self._asked_at

    def _answered(self) -> None:
        self._asked_at = None

    def _told_time(self, date: str) -> None:
        self.date = date

    async def close(self) -> None:
        """Waits a moment for the last words to get through, then breaks what is still there. Idempotent."""
        self.shut()
        if self._ends:
            self._empty.clear()
            try:
                async with asyncio.timeout(LAST_WORDS):
                    await self._empty.wait()
            except TimeoutError:
                for end in self._ends:
                    end.transport.abort()
        await self._tasks.close()

    def _track(self, end: "_End", there: bool) -> None:
        if there:
            self._ends.add(end)
        else:
            self._ends.discard(end)
            if not self._ends:
                self._empty.set()

    def _asked(self, client: "_Client", request: bytes) -> None:
        self._tasks.spawn(self._connect(client, request), "connect")

    async def _connect(self, client: "_Client", request: bytes) -> None:
        loop = asyncio.get_running_loop()
        tls = ssl.create_default_context() if self._to.scheme in _SECURE else None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                _, server = await loop.create_connection(
                    lambda: _Server(self._track, self._answered, self._told_time), self._host, self._port, ssl=tls
                )
        except (TimeoutError, OSError) as error:
            self.failure = ParticipantError(LossReason.UNREACHABLE, self._explain(error))
            client.transport.abort()
            return
        server.transport.write(_HOST.sub(b"Host: " + self._to.authority.encode(), request, count=1))
        client.join(server)

    def _explain(self, error: Exception) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate for {self._host} is not trusted"
        why = type(error).__name__
        if isinstance(error, OSError) and error.errno is not None:
            why = os.strerror(error.errno) if error.errno > 0 else error.strerror or why
        return f"{self._host}:{self._port}: {why}"


class _End(asyncio.Protocol):
    """One end of a connection: what arrives here goes out at the other.

    Not a stream: those forget what has arrived when the peer resets, and a goodbye is mostly followed by that.
    """

    transport: asyncio.Transport

    def __init__(self, track: Callable[["_End", bool], None]) -> None:
        self._track = track
        self._other: _End | None = None

    def join(self, other: "_End") -> None:
        """Makes the two ends of one connection, also when one of them is gone already."""
        self._other, other._other = other, self
        if self.transport.is_closing():
            other.transport.close()
        else:
            self.transport.resume_reading()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._track(self, True)

    def data_received(self, data: bytes) -> None:
        if self._other is not None:
            self._other.transport.write(data)

    def pause_writing(self) -> None:
        if self._other is not None:
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._other is not None:
            self._other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self._other is not None:
            self._other.transport.close()  # after what is still to be written
        self._track(self, False)


class _Server(_End):
    """The server's end: tells of answers to pings, which come once it has accepted the WebSocket."""

    def __init__(
        self, track: Callable[[_End, bool], None], answered: Callable[[], None], told_time: Callable[[str], None]
    ) -> None:
        super().__init__(track)
        self._answered = answered
        self._told_time = told_time
        self._head = b""
        self._edges: FrameEdges | None = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._edges is None:
            self._head += data
            _, end, data = self._head.partition(_END_OF_HEAD)
            if not end:
                return
            if date := _DATE.search(self._head):
                self._told_time(date[1].decode("ascii", "replace"))
            self._edges, self._head = FrameEdges(), b""
        before = self._edges.pongs
        self._edges.passed(data)
        if self._edges.pongs > before:
            self._answered()


class _Client(_End):
    """The SDK's end: waits for the other one until its request has come."""

    def __init__(self, track: Callable[[_End, bool], None], asked: Callable[["_Client", bytes], None]) -> None:
        super().__init__(track)
        self._asked = asked
        self._request = b""
        self._edges = FrameEdges()

    def ping(self) -> None:
        """Puts a ping between two frames of the SDK's; not within one: the next ask comes soon."""
        if self._other is not None and self._edges.between:
            self._other.transport.write(MASKED_PING)

    def data_received(self, data: bytes) -> None:
        if self._other is not None:
            super().data_received(data)
            self._edges.passed(data)
            return
        self._request += data
        if _END_OF_HEAD in self._request:
            self.transport.pause_reading()
            self._asked(self, self._request)
        elif len(self._request) > MAX_HEAD:
            self.transport.abort()
