"""The server side of our WebSockets: aiohttp's, and in front of its parser what aiohttp leaves out.

- Frames of a client are masked, or the connection fails with 1002 (RFC 6455 5.1).
- A close frame is answered with its own code, or with 1002 if no endpoint may send that code (7.4).
- Only version 13 is spoken; others get 426 and are told so (4.4).
- What a peer sends is counted before it is parsed, every byte and frame of it: pings, fragments and what is malformed
  too (core/allowance.py). A peer that is too fast is not read for a while, and closed if it
  goes on.
- A message for which a reader waits can be taken where it is parsed (`on_message`): a ping wakes no task.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

from aiohttp import WebSocketError, WSMessage, WSMsgType
from aiohttp._websocket.reader import WebSocketDataQueue, WebSocketReader
from aiohttp.web import BaseRequest, WebSocketReady, WebSocketResponse

from glassbridge.cloud.apps_config import SocketRates
from glassbridge.cloud.config import CloudConfig
from glassbridge.core.allowance import Allowance, Rate, RateVerdict
from glassbridge.telemetry import metrics
from glassbridge.wire.close_codes import CloseCode, may_be_sent

VERSION: Final = "13"
VERSION_HEADER: Final = "Sec-WebSocket-Version"
VERSION_HEADERS: Final = {VERSION_HEADER: VERSION, "Upgrade": "websocket"}
"""Of an answer 426."""
NO_CODE: Final = 0
"""Of a close frame without one."""
BURST_SECONDS: Final = 4
"""Of its rates a peer may send so many seconds' worth at once: after a stall all that waited comes together."""
CLOSE_TIMEOUT: Final = 1.0
"""Seconds that a peer may take to answer our close."""
QUEUE_SIZE: Final = 1 << 16
"""Bytes of messages: with twice as many in the queue the connection is not read."""
FAIR_SHARE: Final = 50
"""Messages of one peer that are taken in one go: others want their turn."""
TEXT, BINARY, PONG = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PONG
OFFERED: Final = TEXT, BINARY, PONG
"""Messages that may be taken where they are parsed. In Python 3.11 the members of an enum are looked up by a function
in Python: where each ping passes they have names of their own."""
_WITHIN, _CLOSE = RateVerdict.WITHIN, RateVerdict.CLOSE
_ALL_READ: Final = False, b""


class WebSocket(WebSocketResponse):
    """Single use. `on_excess` hears the first time that the peer is too fast (TELL), and when it is closed (CLOSE).

    `on_message` is offered each message for which receive() waits, unless many came at once; what it does not take,
    receive() returns. What it raises is raised by receive().
    """

    __slots__ = ("_guard", "allowance", "crowded", "kind", "on_excess", "on_message")
    """With these among aiohttp's attributes each instance would have a dictionary that it shares with none: 1.3 KB."""

    def __init__(
        self, kind: Literal["phone", "app"], allowance: Allowance, *, max_message: int, writer_limit: int = 1 << 16
    ) -> None:
        super().__init__(
            timeout=CLOSE_TIMEOUT,
            autoping=False,  # a protocol ping or pong is a sign of life too
            autoclose=False,  # see receive()
            compress=False,  # speech hardly compresses (traps 28)
            max_msg_size=max_message + 1,
            writer_limit=writer_limit,
        )
        self.kind = kind
        self.allowance = allowance
        """Of this socket, until it is exchanged for that of its user."""
        self._guard: FrameGuard | None = None
        self.on_excess: Callable[[RateVerdict], None] = self._close_too_fast
        self.on_message: Callable[[WSMessage], bool] = _take_none
        self.crowded = False
        """This data is more than a FAIR_SHARE."""

    def can_prepare(self, request: BaseRequest) -> WebSocketReady:
        """Whether the request is a handshake of the version that we speak."""
        if request.headers.get(VERSION_HEADER, VERSION) != VERSION:
            return WebSocketReady(False, None)
        return super().can_prepare(request)

    def _post_start(self, request: BaseRequest, protocol: str | None, writer: Any) -> None:
        """As aiohttp's, with a queue of ours behind its parser and a guard in front of it."""
        connection, loop = request.protocol, asyncio.get_running_loop()
        self._ws_protocol, self._writer = protocol, writer
        self._guard = guard = FrameGuard(connection, self)
        self._reader = _Messages(guard, QUEUE_SIZE, loop=loop)  # type: ignore[arg-type]
        self._reader.socket = self
        self._parser = WebSocketReader(self._reader, self._max_msg_size, compress=False, decode_text=True)
        guard.parser = self._parser
        connection.set_parser(guard)  # type: ignore[arg-type]
        connection.keep_alive(False)
        connection._parser = None  # of HTTP, which this connection speaks no more: 1.2 KB

    def _offer(self, message: WSMessage) -> bool:
        """Whether it is taken: only while receive() waits and has nothing before it."""
        if not self._waiting or self.crowded or message.type not in OFFERED:
            return False
        return self.on_message(message)

    async def receive(self, timeout: float | None = None) -> Any:
        """The next message. A close of the peer is answered first."""
        message = await super().receive(timeout)
        if message.type is WSMsgType.ERROR and (defect := message.data.__cause__) is not None:
            raise defect
        if message.type is WSMsgType.CLOSE and not self.closed:
            code = int(message.data or 0)
            known = may_be_sent(code) or code == NO_CODE
            await self.close(code=(code or CloseCode.NORMAL) if known else CloseCode.PROTOCOL, drain=False)
        return message

    def write_at_once(self, texts: Iterable[str | None]) -> None:
        """All in one write, for a connection that is not full; None: a ping. Nothing waits. Raises ConnectionError."""
        writer = self._writer
        if writer is None or writer.transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        writer.transport.write(b"".join(map(_frame, texts)))

    @property
    def held(self) -> bool:
        """The peer is not read until it has paid its debt: its silence means nothing."""
        return self._guard is not None and self._guard.held

    def _close_too_fast(self, verdict: RateVerdict) -> None:
        """As long as there is no other listener."""
        if verdict is RateVerdict.CLOSE:
            self.fail(CloseCode.TOO_FAST)

    def wake(self) -> None:
        """receive() returns. A close that finds it waiting ends the connection at once: a peer that is still sending
        would never read the code."""
        if self._reader is not None:
            WebSocketDataQueue.feed_data(self._reader, WSMessage(WSMsgType.PONG, b"", ""), 0)

    def fail(self, code: CloseCode) -> None:
        """receive() closes with this code once what came before is read."""
        if self._reader is not None:
            self._reader.set_exception(WebSocketError(code, code.meaning))


def phone_websocket(config: CloudConfig) -> WebSocket:
    """As phones get it. Call it on the event loop."""
    allowance = new_allowance(config.phone_rates, _now())
    return WebSocket("phone", allowance, max_message=max(config.max_text, config.max_binary))


def app_websocket(config: CloudConfig) -> WebSocket:
    """As apps get it. Each send waits until the app takes it: items that are too old are dropped before (traps 26)."""
    return WebSocket("app", new_allowance(config.apps.rates, _now()), max_message=config.max_text, writer_limit=1)


def new_allowance(rates: SocketRates, now: float) -> Allowance:
    """A full one."""
    messages, size = (Rate(rate, rate * BURST_SECONDS) for rate in (rates.messages, rates.size))
    return Allowance(messages, size, now)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _take_none(_message: WSMessage) -> bool:
    return False


def _frame(text: str | None) -> bytes:
    """A text as a server sends it: whole, as it is, without a mask. None: a ping."""
    if text is None:
        return b"\x89\x00"
    content = text.encode()
    size = len(content)
    if size < 126:
        return bytes((0x81, size)) + content
    length = b"\x7e" + size.to_bytes(2) if size < 1 << 16 else b"\x7f" + size.to_bytes(8)
    return b"\x81" + length + content


class _Messages(WebSocketDataQueue):
    """aiohttp's queue, which offers what comes before it keeps it."""

    __slots__ = ("socket",)
    socket: WebSocket

    def feed_data(self, data: Any, size: int) -> None:
        if self._buffer or not self.socket._offer(data):
            super().feed_data(data, size)

    def set_exception(self, exc: BaseException, *cause: Any) -> None:
        """A defect of ours, met by what was offered: the peer is told so, and receive() raises it."""
        if isinstance(exc, Exception) and not isinstance(exc, WebSocketError | OSError):
            failure = WebSocketError(CloseCode.INTERNAL, CloseCode.INTERNAL.meaning)
            failure.__cause__ = exc
            super().set_exception(failure)
        else:
            super().set_exception(exc, *cause)


class FrameGuard:
    """Stands between a connection and aiohttp's parser: reads only the headers of frames, and hands on what it has
    read. To aiohttp's queue it is the connection, which is read while neither of them is against it."""

    def __init__(self, protocol: Any, socket: WebSocket) -> None:
        self.parser: Any = None
        self._protocol = protocol
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._rest = 0
        """Bytes until the next header."""
        self._begun = b""
        """What is there of it."""
        self._deaf = False
        """Nothing is handed on any more."""
        self._hold: asyncio.TimerHandle | None = None
        """Until the peer has paid its debt."""
        self._reading_paused = False
        """By the queue."""

    @property
    def held(self) -> bool:
        return self._hold is not None

    # ---- as the queue's connection

    def pause_reading(self) -> None:
        self._reading_paused = True
        self._protocol.pause_reading()

    def resume_reading(self) -> None:
        self._reading_paused = False
        if self._hold is None and not self._deaf:
            self._protocol.resume_reading()

    # ---- as the connection's parser

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        if self._deaf:
            return _ALL_READ
        now, socket = self._loop.time(), self._socket
        allowance = socket.allowance
        frames = self._count(data, allowance.most_messages)
        if frames < 0:
            self._end()
            socket.fail(CloseCode.PROTOCOL)
            return _ALL_READ
        verdict = allowance.spend(frames, len(data), now)
        if verdict is _CLOSE:
            self._end()
            socket.wake()
        else:
            socket.crowded = frames > FAIR_SHARE
            self.parser.feed_data(data)
        if verdict is not _WITHIN:
            self._restrain(verdict, now)
        return _ALL_READ

    def _restrain(self, verdict: RateVerdict, now: float) -> None:
        """The peer is too fast."""
        if verdict in (RateVerdict.TELL, RateVerdict.HOLD):
            self._protocol.pause_reading()
            self._stop_timer()
            self._hold = self._loop.call_later(self._socket.allowance.debt(now), self._go_on)
        if verdict in (RateVerdict.TELL, RateVerdict.CLOSE):
            metrics.TOO_FAST.add(self._socket.kind, verdict.value)
            self._socket.on_excess(verdict)

    def feed_eof(self) -> None:
        self._stop_timer()
        self.parser.feed_eof()

    def _end(self) -> None:
        """Nothing more is read: a peer that goes on sending must not cost us anything."""
        self._deaf = True
        self._stop_timer()
        self._protocol.pause_reading()

    def _go_on(self) -> None:
        self._hold = None
        if not self._reading_paused:
            self._protocol.resume_reading()

    def _stop_timer(self) -> None:
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None

    def _count(self, data: bytes, most: float) -> int:
        """How many frames begin in these bytes; negative when one is not masked. Stops beyond `most`."""
        if self._begun:
            data, self._begun = self._begun + data, b""
        at, end, frames = self._rest, len(data), 0
        while at + 1 < end:
            length = data[at + 1]
            if length < 128:
                return -1
            header = 6
            if length >= 254:
                header = 8 if length == 254 else 14
                if at + header - 4 > end:
                    break
                length = int.from_bytes(data[at + 2 : at + header - 4])
            else:
                length -= 128
            at += header + length
            frames += 1
            if frames > most:
                return frames
        self._rest = max(0, at - end)
        self._begun = data[at:]
        return frames
