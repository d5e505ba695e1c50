"""Calls from a cloud to a bridge: with deadlines, over one connection that reconnects, as gRPC's channels do."""

from collections.abc import Callable
from typing import Any

from glassbridge.core.audio_link import BridgeFault
from glassbridge.lab.sim.net import Connection, Link
from glassbridge.lab.sim.world import Process

KEEPALIVE = (2.0, 3.2)
"""Seconds of silence after which a side breaks the connection: pings each second, each with 2 s to be answered."""
RECONNECT_AFTER = 0.5
"""Seconds after a failed connection in which calls fail at once."""
CONNECT_WITHIN = 1.0
"""Seconds that an attempt to connect has: between the least and the greatest reconnect backoff of our options."""


class ClientCall:
    """A call as the cloud sees it. `on_message` may hear several, `on_end` hears one end; neither after cancel()."""

    def __init__(
        self,
        channel: "Channel",
        on_message: Callable[[Any], None],
        on_end: Callable[[Any], None],
        deadline: float | None,
    ) -> None:
        self._channel = channel
        self._on_message = on_message
        self._on_end = on_end
        self.server: ServerCall | None = None
        self.over = False
        if deadline is not None:
            channel.process.after(deadline, self._expire)

    def message(self, message: Any) -> None:
        """From the bridge."""
        if not self.over:
            self._on_message(message)

    def end(self, result: Any) -> None:
        """The answer, or a BridgeFault."""
        if not self.over:
            self.over = True
            self._channel.forget(self)
            self._on_end(result)

    def cancel(self) -> None:
        """The bridge is told, when it can be; idempotent."""
        if not self.over:
            self.over = True
            self._channel.forget(self)
            self._tell_server()

    def say(self, method: str, *args: Any) -> None:
        """Sends something to the bridge's side of the call."""
        connection, server = self._channel.connection, self.server
        if connection is not None and server is not None:
            connection.send(self._channel.end, server.hear, method, args)

    def _expire(self) -> None:
        if not self.over:
            self._tell_server()
            self.end(BridgeFault.TIMED_OUT)

    def _tell_server(self) -> None:
        connection, server = self._channel.connection, self.server
        if connection is not None and server is not None:
            connection.send(self._channel.end, server.cancelled)


class ServerCall:
    """The same call as the bridge sees it."""

    def __init__(self, client: ClientCall, connection: Connection, end: int, served: "dict[ServerCall, None]") -> None:
        self._client = client
        self._connection = connection
        self._end = end
        self._served = served
        """All open calls of the connection."""
        self.over = False
        served[self] = None
        self.on_cancel: Callable[[], None] = lambda: None
        self.on_hear: Callable[[str, tuple[Any, ...]], None] = lambda _method, _args: None

    def message(self, message: Any) -> None:
        """To the cloud."""
        if not self.over:
            self._connection.send(self._end, self._client.message, message)

    def answer(self, result: Any) -> None:
        """The end; the first one counts."""
        if not self.over:
            self._finish()
            self._connection.send(self._end, self._client.end, result)

    def hear(self, method: str, args: tuple[Any, ...]) -> None:
        """From the cloud."""
        if not self.over:
            self.on_hear(method, args)

    def cancelled(self) -> None:
        """The cloud gave up, or its connection broke."""
        if not self.over:
            self._finish()
            self.on_cancel()

    def _finish(self) -> None:
        self.over = True
        self._served.pop(self, None)


class Channel:
    """One cloud's way to one worker."""

    def __init__(self, process: Process, link: Link, on_calls_lost: Callable[[], None]) -> None:
        self.process = process
        self.link = link
        self.end = 0 if link.ends[0] is process else 1
        self.connection: Connection | None = None
        self._on_broken = on_calls_lost
        self._dialling = False
        self._failed_at: float | None = None
        self._waiting: list[tuple[ClientCall, Callable[..., None], tuple[Any, ...]]] = []
        self._open: dict[ClientCall, None] = {}
        self._served: dict[ServerCall, None] = {}

    def call(
        self,
        method: Callable[..., None],
        *args: Any,
        deadline: float | None,
        on_end: Callable[[Any], None],
        on_message: Callable[[Any], None] = lambda _message: None,
    ) -> ClientCall:
        """Calls `method(server_call, *args)` in the worker."""
        call = ClientCall(self, on_message, on_end, deadline)
        self._open[call] = None
        if self.connection is not None:
            self._begin(call, method, args)
        elif self._failed_at is not None and self.process.clock() - self._failed_at < RECONNECT_AFTER:
            self.process.after(0.0, call.end, BridgeFault.DIED)
        else:
            self._waiting.append((call, method, args))
            self._dial()
        return call

    def forget(self, call: ClientCall) -> None:
        """The call is over."""
        self._open.pop(call, None)

    def drop(self) -> None:
        """This side has died."""
        self.connection = None
        self._dialling = False
        self._failed_at = None
        self._waiting.clear()
        self._open.clear()

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
        for call, method, args in self._waiting:
            self._begin(call, method, args)
        self._waiting.clear()

    def _begin(self, call: ClientCall, method: Callable[..., None], args: tuple[Any, ...]) -> None:
        connection = self.connection
        if connection is None or call.over:
            return
        call.server = ServerCall(call, connection, 1 - self.end, self._served)
        connection.send(self.end, method, call.server, *args)

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
        self._on_broken()
        self._waiting.clear()
        for call in list(self._open):
            call.end(BridgeFault.DIED)


def _cancel_all(served: dict[ServerCall, None]) -> None:
    for call in list(served):
        call.cancelled()
