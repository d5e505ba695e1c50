"""One WebSocket of a phone: reads, writes, asks for signs of life. It knows no session; it is given a listener."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from math import inf
from typing import Protocol

import structlog
from aiohttp import WSMessage, WSMsgType
from aiohttp.web import Request

from glassbridge.cloud.clock import iso_now
from glassbridge.cloud.config import CloudConfig
from glassbridge.cloud.websocket import BINARY, CLOSE_TIMEOUT, FAIR_SHARE, OFFERED, TEXT, WebSocket
from glassbridge.core.allowance import Allowance, RateVerdict
from glassbridge.core.session import SocketNumber
from glassbridge.core.values import UserId
from glassbridge.runtime.coarse_timer import CoarseTimer, Deadline
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.runtime.tcp import prepare, round_trip
from glassbridge.telemetry import metrics
from glassbridge.telemetry.traces import HEADER, Origin
from glassbridge.wire.audio_frames import FrameError
from glassbridge.wire.close_codes import CloseCode
from glassbridge.wire.phone import (
    ConnectionError_,
    ConnectionInit,
    FromPhone,
    LinkProbe,
    MalformedMessage,
    Message,
    Ping,
    Pong,
    UnknownMessage,
    decode_from_phone,
    encode,
)
from glassbridge.wire.rejections import MALFORMED_AS, Rejection

log = structlog.get_logger()

OUTBOX, OUTBOX_BYTES = 256, 1 << 20
"""Messages that may wait for a phone that reads slowly; beyond either it is closed."""
SEND_TIMEOUT = 5.0
AT_ONCE = 1 << 14
"""Bytes that may wait in the connection where a message is written without a task: with so few it is never full."""
MAX_UNKNOWN = 32
"""Unknown message types that are logged for one socket."""
STEADY = 2.0
"""A phone whose own pings are no further apart than so many seconds is missed soon."""
LOOK_EVERY, MISSED_LOOKS = 0.65, 4
"""Such a phone is gone when nothing was heard of it at so many looks in a row, 2.6 to 3.25 s after its last word, and
as much later as a round trip of its connection takes."""
KEPT_LOOKS = 12
"""Further looks after which its socket is closed: until then its way may only have become long."""
LONGEST_TRIP = 4.0
"""Seconds that are believed of a round trip."""


OUR_WORDS = frozenset({"audio", "phone", "attempt", "beside"})
"""Parts of a query that the original's phones do not send."""

_malformed = metrics.FRAMES_DROPPED.cell("socket", "malformed")


@dataclass(frozen=True, slots=True)
class ConnectParams:
    """What the phone asked for when it connected."""

    livekit: bool = False
    """Wants to be told its LiveKit room, and a bridge in it."""
    numbered: bool = False
    """Its binary frames are numbered (`audio=2`, `audio=track`)."""
    track: bool = False
    """Its audio goes by a track while that works (`audio=track`): then nothing of it has numbers, and a silent one
    sends nothing."""
    phone: str = ""
    """Which phone, and which run of its program, where it says so (`phone`)."""
    attempt: int = 0
    """Counts its attempts to connect (`attempt`)."""
    ours: bool = False
    """It asked in words that the original's phones do not have."""
    beside: bool = False
    """It is the second socket of a phone that is here, and carries numbered audio only (`beside=true`)."""
    trace: Origin | None = None
    """The trace that the phone has begun because it lost its connection (header `traceparent`)."""

    @classmethod
    def of(cls, request: Request) -> "ConnectParams":
        """From the headers `livekit: true` (or `?livekit=true`) and `traceparent`, and `?audio=`, `?phone=`,
        `?attempt=`."""
        query = request.query
        livekit = request.headers.get("livekit", query.get("livekit", ""))
        attempt = query.get("attempt", "")
        return cls(
            livekit=livekit.strip().lower() == "true",
            numbered=query.get("audio") in ("2", "track"),
            track=query.get("audio") == "track",
            phone=query.get("phone", "")[:64],
            attempt=int(attempt) if attempt.isdecimal() and len(attempt) < 10 else 0,
            beside=query.get("beside") == "true",
            ours=not OUR_WORDS.isdisjoint(query),
            trace=Origin.read(request.headers.get(HEADER)),
        )

    @property
    def numbers(self) -> bool:
        """It numbers all its audio, and so sends something each second."""
        return self.numbered and not self.track

    def superseded_by(self, other: "ConnectParams") -> bool:
        """The same phone came with `other` later: this attempt it had given up, and a slow network has brought it."""
        return self.phone != "" and self.phone == other.phone and self.attempt < other.attempt


class SocketListener(Protocol):
    """The receiver of a phone's messages."""

    @property
    def room_age_ms(self) -> int | None:
        """Milliseconds since something of the phone came out of its room; None: nothing has."""

    def on_message(self, connection: "PhoneConnection", message: FromPhone) -> None: ...

    def on_audio(self, connection: "PhoneConnection", frame: bytes) -> None:
        """A binary frame. Raises FrameError when it is none: the phone is told."""

    def on_silence(self, connection: "PhoneConnection") -> None:
        """Nothing is heard any more. Its socket is kept for a while."""

    def on_return(self, connection: "PhoneConnection") -> None:
        """Something is heard after all; it is read once `listen` is called again."""


class PhoneConnection:
    """Single use. `send` and `close` may be called from anywhere on the loop and never wait."""

    def __init__(
        self,
        socket: WebSocket,
        transport: asyncio.Transport | None,
        user: UserId,
        number: SocketNumber,
        params: ConnectParams,
        config: CloudConfig,
        timer: CoarseTimer | None = None,
    ) -> None:
        """`timer` is shared with others; None: it has one of its own."""
        self.user = user
        self.number = number
        self.params = params
        self._socket = socket
        socket.on_excess = self._on_excess
        self._transport = transport
        if transport is not None and (raw := transport.get_extra_info("socket")) is not None:
            prepare(raw)
        self._config = config
        self._loop = loop = asyncio.get_running_loop()
        """asyncio asks the kernel for our process number each time that it is asked for the loop."""
        self._log = log.bind(user_id=user, socket=number)
        self._outbox: list[str | None] = []
        """What waits to be written; None: a ping of the protocol, for old phones know only that one."""
        self._outbox_bytes = 0
        self._flushing: asyncio.Handle | None = None
        """Writes what was said in this turn of the loop."""
        self._writing: asyncio.Task[None] | None = None
        """Writes what the phone does not take at once, and the goodbye."""
        self._timer = timer or CoarseTimer()
        self._look: Deadline | None = None
        self._close_with: CloseCode | None = None
        self._listener: asyncio.Future[SocketListener | None] = loop.create_future()
        self._unanswered = 0
        """Pings, or looks at a steady phone, since it was last heard."""
        self._is_silent = False
        """Its listener was told so."""
        self._pinged_at = -inf
        self._steady = False
        """The phone pings often by itself; it needs no pings of ours."""
        self._says_more = False
        """A ping of it has counts or a pace."""
        self._sign: asyncio.Future[None] | None = None
        """Waits for the next sign of life."""
        self._unknown: set[str] = set()
        self._tasks = TaskGroup(f"phone:{user}", self._writer_failed)

    @property
    def open(self) -> bool:
        """False as soon as a close has begun."""
        return self._close_with is None and not self._socket.closed

    @property
    def understands_notices(self) -> bool:
        """It has shown a sign of our protocol, so it understands `audio_state`: a word in its query, or a ping that
        says more than the original's."""
        return self.params.ours or self._says_more

    @property
    def waiting(self) -> int:
        """Messages that wait for the phone."""
        return len(self._outbox)

    def listen(self, listener: SocketListener, allowance: Allowance) -> None:
        """From now on the phone is read, before that nothing is, so nothing is lost; and what it was told is sent: the
        greeting goes in one write with what follows. `allowance` is its user's: a new socket begins with what the
        former one left."""
        self._socket.allowance = allowance
        if not self._listener.done():
            self._listener.set_result(listener)
            self._flush_soon()

    def send(self, message: Message, *, may_drop: bool = False, at_once: bool = False) -> None:
        """Queues a message. One that a newer one makes void `may_drop` when the phone reads slowly; any other one that
        finds the queue full closes the socket: a phone that misses news of its audio must start anew. What is said in
        one turn of the loop goes in one write, at its end or `at_once`."""
        if not self.open or (self._outbox and not self._has_room(may_drop=may_drop)):
            return
        text = encode(message)
        self._outbox.append(text)
        self._outbox_bytes += len(text)
        if at_once:
            self._flush()
        elif self._listener.done():
            self._flush_soon()

    def _has_room(self, *, may_drop: bool) -> bool:
        fill = max(len(self._outbox) / OUTBOX, self._outbox_bytes / OUTBOX_BYTES)
        if fill >= 1.0 and not may_drop:
            self.close(CloseCode.SLOW_READER)
        return fill <= 0.5 if may_drop else fill < 1.0

    def close(self, code: CloseCode) -> None:
        """Closes after what is queued; the first code counts."""
        if self._close_with is None:
            self._close_with = code
            if code is CloseCode.SLOW_READER:
                self._outbox.clear()
                self._outbox_bytes = 0
            if not self._listener.done():
                self._listener.set_result(None)
            self._flush()

    async def answers(self, within: float) -> bool:
        """Asks for a sign of life now; whether one comes within so many seconds. Safe to cancel."""
        if not self.open:
            return False
        if self._sign is None or self._sign.done():
            self._sign = self._loop.create_future()
        self.send(Ping(timestamp=iso_now()), may_drop=True)
        try:
            async with asyncio.timeout(within):
                await self._socket.ping()  # old phones know only this one
                await asyncio.shield(self._sign)  # several may ask at a time
        except (TimeoutError, ConnectionError):
            return False
        return True

    async def run(self) -> None:
        """Serves the socket until it is closed from either side. Safe to cancel: then no close frame is sent."""
        self._look_again()
        try:
            listener = await self._listener
            if listener is not None:
                await self._read(listener)
            if self._writing is not None and self._close_with is not CloseCode.SILENT:  # a silent phone answers nothing
                await asyncio.wait((self._writing,), timeout=SEND_TIMEOUT + CLOSE_TIMEOUT)
        finally:
            if self._look is not None:
                self._look.cancel()
            if self._flushing is not None:
                self._flushing.cancel()
            ours, self._close_with = self._close_with, self._close_with or CloseCode.NORMAL
            await self._tasks.close()
            self._log.info("phone socket closed", code=self._socket.close_code if ours is None else int(ours))

    def _writer_failed(self, _task: str, error: BaseException) -> None:
        """Nothing more can be said to this phone, not even goodbye: it is cut off, and comes back."""
        self._log.error("phone writer failed", error=type(error).__name__, exc_info=error)
        self.close(CloseCode.INTERNAL)
        self._abort()

    async def _read(self, listener: SocketListener) -> None:
        """Hears what _hear_at_once has not."""
        self._socket.on_message = self._hear_at_once
        for number in count(1):
            message = await self._socket.receive()
            if not self.open:
                return
            self._note_life()
            if self._is_silent:
                if (returned := await self._returned(listener)) is None:
                    return
                listener = returned
            if number % FAIR_SHARE == 0:
                await asyncio.sleep(0)  # what is buffered is received without a pause: others want their turn
            if message.type is WSMsgType.PING:
                with suppress(ConnectionError):
                    await self._socket.pong(message.data)
            elif message.type in OFFERED:
                self._hear(message, listener)
            else:
                return

    def _hear_at_once(self, message: WSMessage) -> bool:
        """Where it is parsed; False: _read has to wait before it can be heard."""
        if self._is_silent or not self.open or (listener := self._listener.result()) is None:
            return False
        self._note_life()
        self._hear(message, listener)
        return True

    def _note_life(self) -> None:
        self._unanswered = 0
        if self._sign is not None and not self._sign.done():
            self._sign.set_result(None)

    def _hear(self, message: WSMessage, listener: SocketListener) -> None:
        if message.type is TEXT:
            self._take_text(message.data, listener)
        elif message.type is BINARY:
            self._take_audio(message.data, listener)

    async def _returned(self, listener: SocketListener) -> SocketListener | None:
        """Received messages wait until a session has taken the phone back; None: none does."""
        self._is_silent = False
        self._listener = self._loop.create_future()
        listener.on_return(self)
        return await self._listener

    def _take_text(self, text: str, listener: SocketListener) -> None:
        try:
            message = decode_from_phone(text)
        except MalformedMessage as error:
            self._complain(MALFORMED_AS[error.code], why=error)
            return
        match message:
            case Ping():
                self._says_more |= message.every is not None or message.sent is not None
                self._learn_pace(message.every)
                self.send(
                    Pong(timestamp=message.timestamp, room_age_ms=listener.room_age_ms), may_drop=True, at_once=True
                )
                if message.sent is not None and self.open:
                    listener.on_message(self, message)
            case Pong() | ConnectionInit() | LinkProbe():
                pass  # a sign of life; the greeting was answered when the socket opened
            case UnknownMessage():
                metrics.UNKNOWN_MESSAGES.add("phone")
                if message.type not in self._unknown and len(self._unknown) < MAX_UNKNOWN:
                    self._unknown.add(message.type)
                    self._log.info("unknown message type", type=message.type)
            case _:
                if self.open:
                    listener.on_message(self, message)

    def _learn_pace(self, promised: float | None) -> None:
        """By its first ping a phone can only promise; then it is what it does."""
        now = self._loop.time()
        pace = now - self._pinged_at
        if pace == inf and promised is not None:
            pace = promised
        was_steady, self._steady = self._steady, pace <= STEADY
        self._pinged_at = now
        if self._steady is not was_steady:
            self._look_again()

    def _take_audio(self, frame: bytes, listener: SocketListener) -> None:
        if len(frame) > self._config.max_binary:
            _malformed.count += 1
            self._complain(Rejection.FRAME_TOO_BIG, most=self._config.max_binary)
            return
        try:
            if self.open:
                listener.on_audio(self, frame)
        except FrameError as error:
            _malformed.count += 1
            self._complain(Rejection.MESSAGE_MALFORMED, why=error)

    def _on_excess(self, verdict: RateVerdict) -> None:
        self._complain(Rejection.TOO_FAST)
        if verdict is RateVerdict.CLOSE:
            self._log.warning("phone sends too much")
            self.close(CloseCode.TOO_FAST)

    def _complain(self, rejection: Rejection, **values: object) -> None:
        error = ConnectionError_(code=rejection.code, message=rejection.text(**values), timestamp=iso_now())
        self.send(error, may_drop=True)

    # ---- writing

    def _flush_soon(self) -> None:
        if self._flushing is None:
            self._flushing = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Writes what the connection takes at once; a task writes the rest, with a deadline for each."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._writing is not None:
            return
        while self._outbox and self._takes_at_once:
            self._write_at_once()
        if self._outbox or self._close_with is not None:
            self._writing = self._tasks.spawn(self._write(), "writer")

    @property
    def _takes_at_once(self) -> bool:
        transport = self._transport
        if transport is None or transport.is_closing() or self._socket.closed:
            return False
        return transport.get_write_buffer_size() < AT_ONCE

    def _write_at_once(self) -> None:
        """Nothing in it waits while the connection is not full: so no task is needed."""
        texts, size = [], 0
        while self._outbox and size < AT_ONCE:
            texts.append(text := self._pop())
            size += len(text or "")
        try:
            self._socket.write_at_once(texts)
        except ConnectionError:
            self._abort()

    def _pop(self) -> str | None:
        text = self._outbox.pop(0)
        self._outbox_bytes -= len(text or "")
        return text

    async def _write(self) -> None:
        """A phone that takes nothing any more is cut off."""
        try:
            while self._outbox:
                async with asyncio.timeout(SEND_TIMEOUT):
                    text = self._pop()
                    await (self._socket.ping() if text is None else self._socket.send_str(text))
            if self._close_with is not None:
                await self._socket.close(code=self._close_with, message=self._close_with.meaning.encode())
        except (TimeoutError, ConnectionError):
            self._abort()
        finally:
            self._writing = None

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # ---- signs of life

    def _look_again(self) -> None:
        """Looks after the phone at the pace that is right for it now."""
        if self._look is not None:
            self._look.cancel()
        every = LOOK_EVERY if self._steady else self._config.ping_every
        self._look = self._timer.every(every, self._look_after)

    def _look_after(self) -> None:
        if self._writing is None and self._close_with is None:
            self._ask_for_life()

    @property
    def _may_return(self) -> bool:
        """It understands a second greeting on its socket: it says which phone it is, as ours do, and pings steadily."""
        return self._steady and self.params.phone != ""

    @property
    def _most_unanswered(self) -> int:
        if not self._steady:
            return self._config.missed_pings
        transport = self._transport
        if self._unanswered < MISSED_LOOKS or transport is None or transport.is_closing():
            return MISSED_LOOKS
        raw = transport.get_extra_info("socket")
        trip = None if raw is None else round_trip(raw)
        return MISSED_LOOKS + (0 if trip is None else int(min(trip.now, LONGEST_TRIP) / LOOK_EVERY))

    def _ask_for_life(self) -> None:
        """Missed pings are counted, not seconds: if this process stalled, the phone is not to blame."""
        if self._socket.held:
            self._unanswered = 0
        missed = self._unanswered - self._most_unanswered
        if missed == 0:
            self._log.warning("phone is silent", steady=self._steady)
        if missed >= (KEPT_LOOKS if self._may_return else 0):
            self.close(CloseCode.SILENT)
            return
        if missed >= 0 and not self._is_silent and self._listener.done() and (listener := self._listener.result()):
            self._is_silent = True
            listener.on_silence(self)
        self._unanswered += 1
        if self._steady:
            return
        self.send(Ping(timestamp=iso_now()), may_drop=True)
        self._outbox.append(None)
        self._flush_soon()
