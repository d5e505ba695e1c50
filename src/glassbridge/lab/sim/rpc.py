"""Calls from a cloud to a bridge: with deadlines, over one connection that reconnects, as gRPC's channels do."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc

from glassbridge.lab.sim.inbox import Inbox
from glassbridge.lab.sim.net import Connection, Link
from glassbridge.lab.sim.world import Process
from glassbridge.lab.virtual.loop import VirtualLoop

KEEPALIVE = (2.0, 3.2)
"""Seconds of silence after which a side breaks the connection: pings each second, each with 2 s to be answered."""
RECONNECT_AFTER = 0.2
"""Seconds after a failed connection in which calls fail at once, and until those that wait for one get another."""
CONNECT_WITHIN = 1.0
"""Seconds that an attempt to connect has: `min_reconnect_backoff_ms` of our options."""


Trailing = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a stream, or of a call that has no answer."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    trailing: Trailing = ()


GONE = Ended(grpc.StatusCode.UNAVAILABLE)
LATE = Ended(grpc.StatusCode.DEADLINE_EXCEEDED)


class ClientCall:
    """A call as the cloud sees it: one answer, or a stream. Nothing is heard after cancel()."""

    def __init__(
        self, channel: "Channel", method: str, request: Any, timeout: float | None, *, patient: bool = False
    ) -> None:
        self.method, self.request, self.timeout = method, request, timeout
        self.patient = patient
        """It waits for a connection (wait_for_ready)."""
        self._channel = channel
        self._loop = channel.loop
        self._said: deque[Any] = deque()
        """To the bridge, before the call is there."""
        self._heard = Inbox[Any]()
        """From the bridge; None at the end."""
        self._end: Ended | None = None
        self._cancelled = False
        self.server: ServerCall | None = None
        self.user = ""
        """Whose stream it is."""
        self._timer = None if timeout is None else self._loop.call_later(timeout, self._expire)

    @property
    def over(self) -> bool:
        return self._end is not None or self._cancelled

    # ---- what comes

    def message(self, message: Any) -> None:
        """From the bridge."""
        if not self.over:
            self._channel.seen(self.user, message)
            self._heard.put(message)

    def end(self, result: Any) -> None:
        """The answer, or Ended."""
        if not self.over:
            if not isinstance(result, Ended):
                self._heard.put(result)
                result = Ended()
            self._end = result
            self._release()

    def _expire(self) -> None:
        if not self.over:
            self._tell_server()
            self.end(LATE)

    def _release(self) -> None:
        self._channel.forget(self)
        if self._timer is not None:
            self._timer.cancel()
        self._heard.put(None)

    def begin(self, server: "ServerCall") -> None:
        """There is a connection."""
        self.server = server
        while self._said:
            self._say(self._said.popleft())

    def _say(self, message: Any) -> None:
        connection, server = self._channel.connection, self.server
        if connection is not None and server is not None:
            connection.send(self._channel.end, server.hear, message)

    def _tell_server(self) -> None:
        connection, server = self._channel.connection, self.server
        if connection is not None and server is not None:
            connection.send(self._channel.end, server.cancelled)

    # ---- what grpc.aio's calls have

    def cancel(self) -> bool:
        """The bridge is told, when it can be; idempotent."""
        if self.over:
            return False
        self._cancelled = True
        self._tell_server()
        self._release()
        return True

    async def write(self, message: Any) -> None:
        if self.over:
            raise asyncio.InvalidStateError("the call is over")
        self.user = self.user or message.user_id
        if self.server is None:
            self._said.append(message)
        else:
            self._say(message)

    async def read(self) -> Any:
        """The next message; EOF at the end, AioRpcError where that is no good one."""
        if not (self.over and not self._heard) and (message := await self._heard.get()) is not None:
            return message
        if self._end is None:
            raise asyncio.CancelledError
        if self._end.code is grpc.StatusCode.OK:
            return grpc.aio.EOF
        raise _error(self._end)

    async def trailing_metadata(self) -> Trailing:
        return () if self._end is None else self._end.trailing

    async def answer(self) -> Any:
        """Of a call that is no stream. Cancelling calls it off."""
        try:
            return await self.read()
        except asyncio.CancelledError:
            self.cancel()
            raise


def _error(end: Ended) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(end.code, grpc.aio.Metadata(), grpc.aio.Metadata(*end.trailing))


class ServerCall:
    """The same call as the bridge sees it: as much of grpc.aio's context as its service uses."""

    def __init__(self, client: ClientCall, connection: Connection, end: int, served: "dict[ServerCall, None]") -> None:
        self._client = client
        self._connection = connection
        self._end = end
        self._served = served
        """All open calls of the connection."""
        self._process = connection.link.ends[end]
        self._deadline: float | None = None
        self._trailing: Trailing = ()
        self._said = Inbox[Any]()
        self.hear = self._said.put
        """Takes what the cloud says."""
        self.over = False
        served[self] = None
        self.on_cancel: Callable[[], Any] = lambda: None

    def begin(self, timeout: float | None) -> None:
        """The call is here, and has so many seconds."""
        if timeout is not None:
            self._deadline = self._process.clock() + timeout
            self._process.after(timeout, self.cancelled)

    def cancelled(self) -> None:
        """The cloud gave up, its connection broke, or the time is over."""
        if not self.over:
            self._finish()
            self.on_cancel()

    def answer(self, result: Any) -> None:
        """The end; the first one counts."""
        if not self.over:
            self._finish()
            self._connection.send(
                self._end, self._client.end, Ended(trailing=self._trailing) if result is None else result
            )

    def _finish(self) -> None:
        self.over = True
        self._served.pop(self, None)

    # ---- what the service uses

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def time_remaining(self) -> float | None:
        return None if self._deadline is None else self._deadline - self._process.clock()

    def set_trailing_metadata(self, trailing: "Trailing") -> None:
        self._trailing = trailing

    async def read(self) -> Any:
        """Clouds end no stream by saying that they have nothing more to say: no EOF comes."""
        return await self._said.get()

    async def write(self, message: Any) -> None:
        if not self.over:
            copy = type(message)()
            copy.CopyFrom(message)
            self._connection.send(self._end, self._client.message, copy)

    async def abort(self, code: grpc.StatusCode, _details: str = "", trailing: "Trailing" = ()) -> NoReturn:
        self.answer(Ended(code, trailing))
        raise grpc.aio.AbortError


class Server:
    """Serves calls in one process, a task for each, as grpc.aio's server does."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.loop: VirtualLoop
        self._service: Any = None

    def start(self, service: Any, loop: VirtualLoop) -> None:
        """A new life of the process."""
        self._service, self.loop = service, loop

    def serve(self, call: ServerCall, method: str, request: Any, timeout: float | None) -> None:
        """A call has come."""
        if not call.over:
            call.begin(timeout)
            call.on_cancel = self.loop.create_task(self._run(call, method, request)).cancel

    async def _run(self, call: ServerCall, method: str, request: Any) -> None:
        try:
            call.answer(await getattr(self._service, method)(request, call))
        except grpc.aio.AbortError:
            pass
        except Exception as error:  # as grpc.aio: the caller is told, the server goes on
            self.process.note("failed", "", f"{method}: {error!r}")
            call.answer(Ended(grpc.StatusCode.UNKNOWN))


class Channel:
    """One cloud's way to one worker, as far as a stub uses grpc.aio's channel. `seen` gets each message of a stream and
    whose it is."""

    def __init__(
        self, process: Process, loop: VirtualLoop, link: Link, server: Server, seen: Callable[[str, Any], None]
    ) -> None:
        self.seen = seen
        self.process = process
        self.loop = loop
        self.link = link
        self._server = server
        self.end = 0 if link.ends[0] is process else 1
        self.connection: Connection | None = None
        self._dialling = False
        self._failed_at: float | None = None
        self._waiting: list[ClientCall] = []
        self._open: dict[ClientCall, None] = {}
        self._served: dict[ServerCall, None] = {}

    # ---- what a stub uses

    def unary_unary(self, path: str, *_: Any, **__: Any) -> Callable[..., Awaitable[Any]]:
        """A method with one answer."""
        method = path.rpartition("/")[2]

        def call(
            request: Any, *, timeout: float | None = None, metadata: Any = None, wait_for_ready: bool = False
        ) -> Awaitable[Any]:
            return self._call(method, request, timeout, patient=wait_for_ready).answer()

        return call

    def stream_stream(self, path: str, *_: Any, **__: Any) -> Callable[..., ClientCall]:
        """A method that streams both ways."""
        method = path.rpartition("/")[2]
        return lambda metadata=None: self._call(method, None, None)

    unary_stream = unary_unary
    """Nobody plays anything here."""

    async def close(self, _grace: float | None) -> None:
        """What is still open is cancelled."""
        for call in list(self._open):
            call.cancel()

    # ---- its connection

    def _call(self, method: str, request: Any, timeout: float | None, *, patient: bool = False) -> ClientCall:
        call = ClientCall(self, method, request, timeout, patient=patient)
        self._open[call] = None
        if self.connection is not None:
            self._begin(call)
        elif self._failed_at is None or self.process.clock() - self._failed_at >= RECONNECT_AFTER:
            self._waiting.append(call)
            self._dial()
        elif patient:
            self._waiting.append(call)
            self._dial_later()
        else:
            call.end(GONE)
        return call

    def forget(self, call: ClientCall) -> None:
        """The call is over."""
        self._open.pop(call, None)

    def _dial_later(self) -> None:
        self.loop.call_later(RECONNECT_AFTER, self._dial_for_those_that_wait)

    def _dial_for_those_that_wait(self) -> None:
        self._waiting = [call for call in self._waiting if not call.over]
        if self._waiting and self.connection is None:
            self._dial()

    def _dial(self) -> None:
        if not self._dialling:
            self._dialling = True
            self.link.dial(self.end, CONNECT_WITHIN, self._connected, self._failed)

    def _failed(self, _refused: bool) -> None:
        self._dialling = False
        self._failed_at = self.process.clock()
        self._fail_all()

    def _connected(self, connection: Connection) -> None:
        self._dialling = False
        self._failed_at = None
        self.connection = connection
        served: dict[ServerCall, None] = {}
        self._served = served
        connection.on_close[self.end] = lambda _code: self._broken(connection)
        connection.on_close[1 - self.end] = lambda _code: _cancel_all(served)
        connection.watch(self.end, KEEPALIVE, lambda: self._cut(connection))
        connection.watch(1 - self.end, KEEPALIVE, lambda: self._cut_by_bridge(connection, served))
        for call in self._waiting:
            self._begin(call)
        self._waiting.clear()

    def _begin(self, call: ClientCall) -> None:
        connection = self.connection
        if connection is None or call.over:
            return
        server = ServerCall(call, connection, 1 - self.end, self._served)
        connection.send(self.end, self._server.serve, server, call.method, call.request, call.timeout)
        call.begin(server)

    def _cut(self, connection: Connection) -> None:
        connection.close(self.end)
        self._broken(connection)

    def _cut_by_bridge(self, connection: Connection, served: dict[ServerCall, None]) -> None:
        connection.close(1 - self.end)
        _cancel_all(served)

    def _broken(self, connection: Connection) -> None:
        if self.connection is connection:
            self.connection = None
            self._fail_all()

    def _fail_all(self) -> None:
        self._waiting = [call for call in self._waiting if call.patient and not call.over]
        for call in [call for call in self._open if call not in self._waiting]:
            call.end(GONE)
        if self._waiting:
            self._dial_later()


def _cancel_all(served: dict[ServerCall, None]) -> None:
    for call in list(served):
        call.cancelled()
