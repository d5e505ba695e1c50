"""One WebSocket of an app: reads, writes, asks for signs of life. It knows no session; it is given a listener.

Three queues lead to the socket, so that an app that reads slowly loses the least important messages, and other apps
lose nothing: answers (never dropped: an app that takes none is closed), messages of streams, and microphone audio. The
last two drop their items when they are too old, and the app is told so.
"""

import asyncio
import math
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import chain, count, repeat
from typing import Any

import structlog
from aiohttp import WSMsgType

from glassbridge.cloud.apps import unserved
from glassbridge.cloud.clock import iso_now
from glassbridge.cloud.websocket import CLOSE_TIMEOUT, FAIR_SHARE, WebSocket
from glassbridge.core.allowance import Allowance, RateVerdict
from glassbridge.core.app_times import LOOK_EVERY, LOOKS
from glassbridge.core.session import SocketNumber
from glassbridge.runtime.queues import AgedQueue
from glassbridge.runtime.tasks import TaskGroup, cancelled
from glassbridge.runtime.tcp import lost
from glassbridge.telemetry import metrics
from glassbridge.wire import apps as wire
from glassbridge.wire.close_codes import CloseCode
from glassbridge.wire.codec import MalformedMessage, Message, UnknownMessage, encode
from glassbridge.wire.phone import Ping, Pong
from glassbridge.wire.rejections import MALFORMED_AS, Rejection

log = structlog.get_logger()

ANSWERS = 256
"""Answers that may wait; beyond that the app is closed."""
MESSAGES, MESSAGE_AGE = 1_000, 10.0
CHUNKS, CHUNK_AGE = 200, 1.0
"""How many wait at most, and for how many seconds."""
QUEUE_BYTES = 1 << 20
"""The same in bytes, of each queue."""
SEND_TIMEOUT = 15.0
"""Seconds in which an app takes nothing at all, after which it is cut off."""
WRITE_BUFFER = 16 << 10
"""Bytes that this process and this machine buffer beyond the queues, where nothing can be dropped any more."""
PING_EVERY = 10.0
PING_AGAIN = 2.0
"""Seconds from the first ping to the second: to an app that dies while it takes its socket nothing else is sent."""
MISSED_PINGS = 3
PROOF = 2.0
"""Seconds in which a socket that is doubted has to give a sign of life."""
GAP_NOTICE_EVERY = 5.0
MAX_UNKNOWN = 32
"""Unknown message types that are logged for one socket."""

Hear = Callable[["AppConnection", wire.FromApp], None]
Take = Callable[["AppConnection", bytes], None]


class AppConnection:
    """Single use. All but `run` may be called from anywhere on the loop and never waits."""

    def __init__(
        self,
        websocket: WebSocket,
        transport: asyncio.Transport | None,
        number: SocketNumber,
        *,
        user: str,
        package: str,
        clock: Callable[[], float],
    ) -> None:
        self.number = number
        self.user = user
        self.package = package
        self.session_id = wire.app_session_id(user, package)
        self._clock = clock
        self._socket = websocket
        websocket.on_excess = self._on_excess
        self._transport = transport
        self._log = log.bind(user_id=user, package=package, socket=number)
        self._answers = AgedQueue[str](ANSWERS + 1, math.inf, clock, measure=len)
        """Empty: say goodbye."""
        self._messages = AgedQueue[str](MESSAGES, MESSAGE_AGE, clock, max_size=QUEUE_BYTES, measure=len)
        self._chunks = AgedQueue[bytes](CHUNKS, CHUNK_AGE, clock, max_size=QUEUE_BYTES, measure=len)
        self._goodbye: tuple[CloseCode, str] | None = None
        self.lost = False
        """Its machine was not there any more: the app itself may not know that yet."""
        self._hear: asyncio.Future[Hear | None] = asyncio.get_running_loop().create_future()
        self._take_binary: Take | None = None
        self._pings = False
        """It has sent or answered a ping: from then on its silence means something (hazard L-7)."""
        self._unanswered = 0
        self._doubted = asyncio.Event()
        self._unknown: set[str] = set()
        self._told_drops = (0, 0)
        self._told_at = -math.inf

    @property
    def open(self) -> bool:
        """False as soon as a close has begun."""
        return self._goodbye is None

    @property
    def dropped(self) -> tuple[int, int]:
        """(audio chunks, messages) that the app was too slow for."""
        return self._chunks.dropped, self._messages.dropped

    def listen(self, hear: Hear, allowance: Allowance, take: Take) -> None:
        """From now on the app is read; before that nothing is, so nothing is lost. `allowance` is that of this app of
        this user: a new socket begins with what the former one left. `take` gets its binary frames."""
        self._take_binary = take
        self._socket.allowance = allowance
        if not self._hear.done():
            self._hear.set_result(hear)

    def send(self, message: Message) -> None:
        """An answer."""
        if not self.open:
            return
        if len(self._answers) >= ANSWERS or self._answers.size >= QUEUE_BYTES:
            self._cut(CloseCode.SLOW_READER)
        else:
            self._answers.put(encode(message))

    def stream(self, message: wire.DataStream) -> None:
        """Something of a stream."""
        if self.open:
            self._messages.put(encode(message))

    def audio(self, pcm: bytes) -> None:
        """Microphone audio."""
        if self.open:
            self._chunks.put(pcm)

    def complain(self, rejection: Rejection, **values: object) -> None:
        """Something is wrong; after what is fatal the socket is closed."""
        code = wire.error_code(rejection.code)
        self.send(wire.ConnectionError_(code=code, message=rejection.text(**values), timestamp=iso_now()))
        if code.fatal:
            self.close(CloseCode.POLICY, code)

    def close(self, code: CloseCode, why: str = "") -> None:
        """Closes after the answers that wait; the first code counts."""
        if self._goodbye is None:
            self._goodbye = code, why or code.meaning
            self._answers.put("")
            if not self._hear.done():
                self._hear.set_result(None)

    def doubt(self) -> None:
        """It is closed unless it gives a sign of life within PROOF seconds."""
        self._doubted.set()

    def _cut(self, code: CloseCode) -> None:
        """It takes nothing: no goodbye would arrive."""
        self.close(code)
        if self._transport is not None:
            self._transport.abort()

    async def run(self) -> None:
        """Serves the socket until it is closed from either side. Safe to cancel: then no close frame is sent."""
        self._buffer_little()
        tasks = TaskGroup(f"app:{self.session_id}", self._failed)
        jobs = {
            "answers": self._guarded(self._write_answers()),
            "messages": self._guarded(self._write(self._messages, self._socket.send_str)),
            "audio": self._guarded(self._write(self._chunks, self._socket.send_bytes)),
            "pings": self._guarded(self._ask_for_life()),
            "watch": self._guarded(self._watch_machine()),
        }
        writer, *others = [tasks.spawn(job, name) for name, job in jobs.items()]
        try:
            hear = await self._hear
            if hear is not None:
                await self._read(hear)
            if self._goodbye is not None:
                await asyncio.wait((writer,), timeout=SEND_TIMEOUT + CLOSE_TIMEOUT)
        finally:
            code = None if self._goodbye is None else int(self._goodbye[0])
            self._goodbye = self._goodbye or (CloseCode.NORMAL, "")
            await cancelled(writer, *others)
            await tasks.close()
            chunks, messages = self.dropped
            self._log.info(
                "app socket closed",
                code=code or self._socket.close_code,
                dropped_chunks=chunks,
                dropped_messages=messages,
            )

    def _failed(self, task: str, error: BaseException) -> None:
        self._log.error("app socket failed", task=task, error=type(error).__name__, exc_info=error)
        self._cut(CloseCode.INTERNAL)

    def _buffer_little(self) -> None:
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=WRITE_BUFFER)
            if (raw := self._transport.get_extra_info("socket")) is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WRITE_BUFFER)

    # ---- reading

    async def _read(self, hear: Hear) -> None:
        for number in count(1):
            message = await self._socket.receive()
            if not self.open:
                return
            self._unanswered = 0
            if number % FAIR_SHARE == 0:
                await asyncio.sleep(0)  # what is buffered is received without a pause: others want their turn
            match message.type:
                case WSMsgType.TEXT:
                    self._take(message.data, hear)
                case WSMsgType.PING:
                    with suppress(ConnectionError):
                        await self._socket.pong(message.data)
                case WSMsgType.PONG:
                    self._pings = True
                case WSMsgType.BINARY:
                    if self._take_binary is not None and self.open:
                        self._take_binary(self, message.data)
                case _:
                    self.lost = message.type is WSMsgType.CLOSE and message.data == CloseCode.SILENT  # as a relay says
                    return

    def _take(self, text: str, hear: Hear) -> None:
        try:
            message = wire.decode_from_app(text)
        except MalformedMessage as error:
            self.complain(MALFORMED_AS[error.code], why=error)
            return
        match message:
            case Ping():
                self._pings = True
                self.send(Pong(timestamp=message.timestamp))
            case Pong():
                pass  # a sign of life
            case UnknownMessage(type=kind):
                self._refuse_unknown(kind, wire.request_ids(text))
            case _:
                if self.open:
                    hear(self, message)

    def _refuse_unknown(self, kind: str, ids: wire.RequestIds) -> None:
        """Each request is answered; a known message that names no request is refused once; the rest is tolerated."""
        metrics.UNKNOWN_MESSAGES.add("app")
        new = kind not in self._unknown and len(self._unknown) < MAX_UNKNOWN
        if new:
            self._unknown.add(kind)
            self._log.info("unknown message type", type=kind)
        if ids.any or kind in unserved.ANSWERS or (new and kind in unserved.NO_ID):
            self.send(unserved.answer(kind, self.package, ids))
        if new and kind in unserved.SWALLOWED:
            self.send(
                unserved.refusal(kind, ids.any, wire.ErrorCode.NOT_SUPPORTED, f"this cloud does not serve {kind}")
            )

    def _on_excess(self, verdict: RateVerdict) -> None:
        self.complain(Rejection.TOO_FAST)
        if verdict is RateVerdict.CLOSE:
            self._log.warning("app sends too much")
            self.close(CloseCode.TOO_FAST)

    # ---- writing

    async def _guarded(self, job: Awaitable[None]) -> None:
        """An app that takes nothing any more, or is gone, is cut off."""
        try:
            await job
        except (TimeoutError, ConnectionError):
            self._cut(CloseCode.SLOW_READER)

    async def _write_answers(self) -> None:
        while answer := (await self._answers.get())[1]:
            await self._put(self._socket.send_str(answer))
        code, why = self._goodbye or (CloseCode.NORMAL, "")
        await self._socket.close(code=code, message=why.encode()[:120])

    async def _write(self, queue: AgedQueue[Any], send: Callable[[Any], Awaitable[None]]) -> None:
        while True:
            _, item = await queue.get()
            await self._put(send(item))
            self._tell_gap()

    async def _put(self, sending: Awaitable[None]) -> None:
        async with asyncio.timeout(SEND_TIMEOUT):
            await sending

    def _tell_gap(self) -> None:
        """It reads again: it is told what it missed."""
        now = self._clock()
        if self.dropped == self._told_drops or now - self._told_at < GAP_NOTICE_EVERY:
            return
        chunks, messages = (new - old for new, old in zip(self.dropped, self._told_drops, strict=True))
        self._told_drops, self._told_at = self.dropped, now
        self._log.warning("app reads too slowly", dropped_chunks=chunks, dropped_messages=messages)
        self.send(data_stream(self.session_id, wire.DeliveryGap(audio_chunks=chunks, messages=messages)))

    async def _ask_for_life(self) -> None:
        """Missed pings are counted, not seconds: if this process stalled, the app is not to blame. The first one
        goes at once, so that it is known from the beginning whether they are answered."""
        for pause in chain((PING_AGAIN,), repeat(PING_EVERY)):
            self._unanswered += 1
            await self._put(self._socket.ping())
            if self._doubted.is_set():
                self._doubted.clear()
                for _ in range(2):  # after a standstill of ours what has come is read before the second half ends
                    await asyncio.sleep(PROOF / 2)
                if self._is_silent(1):
                    break
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._doubted.wait()
            if self._is_silent(MISSED_PINGS):
                break
        self.close(CloseCode.SILENT)

    async def _watch_machine(self) -> None:
        """An app whose machine or network is gone is cut off, long before pings are missed."""
        if self._transport is not None and (raw := self._transport.get_extra_info("socket")) is not None:
            await lost(raw, LOOK_EVERY, LOOKS)
            self.lost = True
            self._log.warning("app unreachable", reason="its machine acknowledges nothing that is sent")
            self._cut(CloseCode.SILENT)

    def _is_silent(self, missed: int) -> bool:
        if self._socket.held:
            self._unanswered = 0
        return self._pings and self._unanswered >= missed


def data_stream(session_id: str, data: Message, name: str = "") -> wire.DataStream:
    """A data_stream message; its stream goes by the name that the app gave it, else by that of what it carries."""
    return wire.DataStream(
        session_id=session_id,
        stream_type=name or str(data.__struct_config__.tag),
        data=wire.raw(data),
        timestamp=iso_now(),
    )
