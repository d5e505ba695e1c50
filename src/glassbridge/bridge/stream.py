"""One StreamAudio call: the microphone goes out, live sound comes in, and a heartbeat says that we are here."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from typing import Any, Protocol

import grpc
import structlog

from glassbridge.bridge.config import BridgeConfig
from glassbridge.core.room import Ticket
from glassbridge.core.values import SAMPLE_RATE, Generation, LossReason
from glassbridge.runtime.queues import AgedQueue, QueueClosed
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.wire import livekit_bridge_pb2 as pb

log = structlog.get_logger()

Say = Callable[[int, bytes], Awaitable[None]]
"""Takes PCM for a track into the room. Waits while that track is far ahead of real time."""


class Call(Protocol):
    """What we need of grpc.aio's context of a bidirectional call."""

    async def read(self) -> Any: ...

    async def write(self, message: Any) -> None: ...


class AudioStream:
    """Runs until `end`; the first reason stands."""

    def __init__(
        self,
        ticket: Ticket,
        generation: Generation,
        frames: AgedQueue[pb.AudioChunk],
        say: Say,
        config: BridgeConfig,
    ) -> None:
        self.ticket = ticket
        self._frames = frames
        self._heartbeat = pb.AudioChunk(sample_rate=SAMPLE_RATE, channels=1, generation=generation, heartbeat=True)
        self._say = say
        self._config = config
        self._ended: asyncio.Future[LossReason] = asyncio.get_running_loop().create_future()
        self._writing_since: float | None = None
        self.sent = 0
        """Frames of audio or presence that went to the cloud."""
        self.refused = 0
        """Chunks of the cloud that are not PCM16 at 16 kHz mono, or name a track that does not exist."""

    def end(self, reason: LossReason) -> None:
        """Ends run(); idempotent."""
        if not self._ended.done():
            self._ended.set_result(reason)

    async def run(self, call: Call, first: pb.AudioChunk) -> LossReason:
        """Serves both ways, what is new in the room first; returns why it ended. Safe to cancel."""
        tasks = TaskGroup("stream", self._failed)
        try:
            tasks.spawn(self._send(call), "send")
            tasks.spawn(self._receive(call, first), "receive")
            tasks.spawn(self._watch(), "watch")
            return await self._ended
        finally:
            self.end(LossReason.STREAM_BROKEN)
            await tasks.close()

    async def _send(self, call: Call) -> None:
        next_frame, write = self._frames.get, call.write
        with suppress(QueueClosed):  # the room says in a moment why
            while True:
                age, chunk = await next_frame()
                chunk.age_us = int(age * 1e6)
                self._writing_since = monotonic()
                await write(chunk)
                self._writing_since = None
                self.sent += not (chunk.heartbeat or chunk.HasField("news"))

    async def _receive(self, call: Call, chunk: Any) -> None:
        while chunk is not grpc.aio.EOF:
            if chunk.pcm_data:
                await self._take(chunk)
            chunk = await call.read()
        # The cloud has nothing more to say; it may go on listening.

    async def _take(self, chunk: pb.AudioChunk) -> None:
        if chunk.sample_rate not in (0, SAMPLE_RATE) or chunk.channels not in (0, 1):
            self._refuse(f"{chunk.sample_rate} Hz with {chunk.channels} channels, where 16000 Hz mono is due")
            return
        try:
            await self._say(chunk.track_id, chunk.pcm_data)
        except ValueError as error:
            self._refuse(str(error))

    def _refuse(self, why: str) -> None:
        self.refused += 1
        if self.refused == 1:
            log.warning("chunk refused; further ones are only counted", error=why)

    async def _watch(self) -> None:
        """Heartbeats, and the end of a stream that nobody reads (a timer for each frame would cost CPU)."""
        heartbeat, timeout = self._config.heartbeat, self._config.send_timeout
        beat_at = monotonic() + heartbeat
        while True:
            await asyncio.sleep(min(heartbeat, timeout / 2))
            now = monotonic()
            if self._writing_since is not None and now - self._writing_since > timeout:
                log.warning("send timeout: the cloud does not read its audio stream", seconds=timeout)
                self.end(LossReason.STREAM_BROKEN)
            if now >= beat_at:
                beat_at = now + heartbeat
                self._frames.put(self._heartbeat)

    def _failed(self, _task: str, error: BaseException) -> None:
        if not isinstance(error, grpc.aio.BaseError):  # the call is over, and its handler hears of it
            log.error("audio stream failed", error=type(error).__name__, exc_info=error)
        self.end(LossReason.STREAM_BROKEN)
