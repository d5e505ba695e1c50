"""A WebSocket without HTTP: both of its ends, as cloud/connection.py and phone/socket.py use those of aiohttp."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import WSMessage, WSMsgType

from glassbridge.cloud.websocket import OFFERED
from glassbridge.lab.sim.inbox import Inbox
from glassbridge.lab.sim.net import Connection

NORMAL, ABNORMAL = 1000, 1006
CLOSED = WSMessage(WSMsgType.CLOSED, None, None)


class End:
    """One end; `meet` says which is the other. Created in the process that owns it."""

    def __init__(self, connection: Connection, end: int) -> None:
        self.closed = False
        self.close_code: int | None = None
        self.connection = connection
        self.end = end
        self.over: Callable[[], None] = lambda: None
        """Called once, when its owner has left it or was told of its end."""
        self._peer: End
        self._inbox = Inbox[WSMessage]()
        connection.on_close[end] = lambda code: self.take(WSMsgType.CLOSE, code)

    def meet(self, peer: "End") -> None:
        """Once, before anything is said."""
        self._peer, peer._peer = peer, self

    def take(self, kind: WSMsgType, data: Any) -> None:
        """Something has come."""
        self._inbox.put(WSMessage(kind, data, None))
        if kind is WSMsgType.CLOSE:
            self._end()

    def _send(self, kind: WSMsgType, data: Any) -> None:
        if self.closed:
            raise ConnectionResetError("the connection is closed")
        self.connection.send(self.end, self._peer.take, kind, data)

    def _end(self) -> None:
        over, self.over = self.over, lambda: None
        over()

    def _left(self, code: int) -> None:
        self.closed, self.close_code = True, code
        self._inbox.put(CLOSED)
        self._end()

    # ---- what both ends of aiohttp have

    async def receive(self) -> WSMessage:
        """The next message; CLOSED after the end."""
        if self.closed and not self._inbox:
            return CLOSED
        message = await self._inbox.get()
        if message.type is WSMsgType.CLOSE:
            self.closed, self.close_code = True, message.data
        return message

    async def send_str(self, text: str) -> None:
        self._send(WSMsgType.TEXT, text)

    async def close(self, *, code: int = NORMAL, message: bytes = b"") -> None:
        """The other end is told; nobody waits for its answer."""
        if not self.closed:
            self.connection.close(self.end, code)
            self._left(code)

    def abort(self) -> None:
        """Without a word, and without what is still to be sent."""
        if not self.closed:
            self.connection.abort(self.end)
            self._left(ABNORMAL)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, _name: str) -> None:
        """There is no kernel to ask."""


class PhoneEnd(End):
    """The client's: it answers pings by itself."""

    def __init__(self, connection: Connection, end: int, cloud: str) -> None:
        super().__init__(connection, end)
        self.cloud = cloud
        """Name of the process at the other end."""

    class _response:
        connection = None
        """There is no transport to ask."""

    def take(self, kind: WSMsgType, data: Any) -> None:
        if kind is WSMsgType.PING:
            self._send(WSMsgType.PONG, data)
        else:
            super().take(kind, data)

    async def send_bytes(self, data: bytes) -> None:
        self._send(WSMsgType.BINARY, data)


class CloudEnd(End):
    """The server's, with its transport, which is itself."""

    held = False

    def __init__(self, connection: Connection, end: int, allowance: Any) -> None:
        super().__init__(connection, end)
        self.allowance = allowance
        self.on_excess: Callable[..., None] = lambda _verdict: None
        self.on_message: Callable[[WSMessage], bool] = lambda _message: False
        self._waiting_in: asyncio.AbstractEventLoop | None = None

    @property
    def transport(self) -> "CloudEnd":
        return self

    async def receive(self) -> WSMessage:
        """Where it waits, a message may be heard at once, as in cloud/websocket.py."""
        self._waiting_in = asyncio.get_running_loop()
        try:
            return await super().receive()
        finally:
            self._waiting_in = None

    def take(self, kind: WSMsgType, data: Any) -> None:
        if self._waiting_in is None:
            super().take(kind, data)
        else:
            self._waiting_in.call_soon(self._offer, kind, data)

    def _offer(self, kind: WSMsgType, data: Any) -> None:
        waits = self._waiting_in is not None and not self._inbox
        if not (waits and kind in OFFERED and self.on_message(WSMessage(kind, data, None))):
            super().take(kind, data)

    def write_at_once(self, texts: Iterable[str | None]) -> None:
        """None: a ping."""
        for text in texts:
            self._send(WSMsgType.PING if text is None else WSMsgType.TEXT, text or b"")

    async def ping(self) -> None:
        self._send(WSMsgType.PING, b"")

    async def pong(self, data: bytes) -> None:
        self._send(WSMsgType.PONG, data)
