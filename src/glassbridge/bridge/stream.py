"""One StreamAudio call: the microphone goes out, live sound comes in, and a heartbeat says that we are here."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Protocol

import grpc

from glassbridge.bridge.config import BridgeConfig
from glassbridge.core.room import Ticket
from glassbridge.core.values import BYTES_PER_MS, SAMPLE_RATE, Generation, LossReason
from glassbridge.runtime.queues import AgedQueue, QueueClosed
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.telemetry import metrics
from glassbridge.wire import livekit_bridge_pb2 as pb

MAX_CHUNK_BYTES: Final = 10_000 * BYTES_PER_MS
"""Ten seconds of live sound."""

_delivered = metrics.FRAMES_DELIVERED.cell("bridge")
_waited = metrics.AUDIO_AGE.observer("bridge")

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
        received: Callable[[], int],
        say: Say,
        config: BridgeConfig,
        log: Any,
    ) -> None:
        self.ticket = ticket
        self.generation = generation
        self._frames = frames
        self._heartbeat = pb.AudioChunk(sample_rate=SAMPLE_RATE, channels=1, generation=generation, heartbeat=True)
        self._received = received
        """Frames of this place so far."""
        self._counts_due = False
        """The next chunk carries the counts."""
        self._say = say
        self._config = config
        self.log = log
        self._moved = asyncio.Event()
        """There is another queue to read, or none any more."""
        self._ended: asyncio.Future[LossReason] = asyncio.get_running_loop().create_future()
        self._sending: asyncio.Task[None] | None = None
        self._awake = 0.0
        """Seconds without the stalls of this process: a stall of ours is not the peer's silence."""
        self._writing_since: float | None = None
        self._heard_at = 0.0
        self._beats = False
        """Whether this cloud sends heartbeats: one that fences its joins does, the original's never do."""
        self._taking = False
        self.sent = 0
        """Frames of audio or presence that went to the cloud."""
        self.refused = 0
        """Chunks of the cloud that are not PCM16 at 16 kHz mono, or name a track that does not exist."""

    def end(self, reason: LossReason) -> None:
        """Ends run(); idempotent."""
        if not self._ended.done():
            self._ended.set_result(reason)
            self._moved.set()

    def move(self, frames: AgedQueue[pb.AudioChunk], received: Callable[[], int], say: Say) -> None:
        """The room was joined again: from now on this place is heard and spoken in."""
        self._frames, self._received, self._say = frames, received, say
        self._moved.set()

    async def run(self, call: Call, first: pb.AudioChunk) -> LossReason:
        """Serves both ways, what is new in the room first; returns why it ended. Safe to cancel.

        The last chunk may still be on its way then: see flushed().
        """
        tasks = TaskGroup("stream", self._failed)
        self._beats = first.generation != 0
        self._sending = asyncio.get_running_loop().create_task(self._send(call), name="stream:send")
        self._sending.add_done_callback(self._sent)
        try:
            tasks.spawn(self._receive(call, first), "receive")
            tasks.spawn(self._watch(), "watch")
            return await self._ended
        except asyncio.CancelledError:
            self._sending.cancel()
            raise
        finally:
            self.end(LossReason.STREAM_BROKEN)
            self._frames.discard()
            await tasks.close()

    async def flushed(self) -> None:
        """Returns when nothing is being written any more: gRPC takes no status beside a chunk, and the cloud would
        never hear of the end. Waits as long as the cloud keeps the call and does not read. Safe to cancel."""
        if self._sending is None:
            return
        try:
            await asyncio.wait([self._sending])
        finally:
            self._sending.cancel()

    async def _send(self, call: Call) -> None:
        while not self._ended.done():
            with suppress(QueueClosed):  # the room says in a moment why, or where it goes on
                await self._send_from(self._frames, call)
            await self._moved.wait()
            self._moved.clear()

    async def _send_from(self, frames: AgedQueue[pb.AudioChunk], call: Call) -> None:
        next_frame, write = frames.get, call.write
        while True:
            age, chunk = await next_frame()
            if self._ended.done():
                return
            chunk.age_us = int(age * 1e6)
            if self._counts_due or chunk.heartbeat:
                self._counts_due = False
                chunk.hops.livekit_in, chunk.hops.bridge_out = self._received(), self.sent
            self._writing_since = self._awake
            await write(chunk)
            self._writing_since = None
            if not (chunk.heartbeat or chunk.HasField("news")):
                self.sent += 1
                _delivered.count += 1
                _waited(age)

    def _sent(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed("send", error)

    async def _receive(self, call: Call, chunk: Any) -> None:
        while chunk is not grpc.aio.EOF:
            self._heard_at = self._awake
            self._beats = self._beats or chunk.heartbeat
            if chunk.pcm_data:
                self._taking = True
                await self._take(chunk)
                self._taking = False
            chunk = await call.read()
        # The cloud has nothing more to say; it may go on listening.
        self._beats = False

    async def _take(self, chunk: pb.AudioChunk) -> None:
        if chunk.sample_rate not in (0, SAMPLE_RATE) or chunk.channels not in (0, 1):
            self._refuse(f"{chunk.sample_rate} Hz with {chunk.channels} channels, where 16000 Hz mono is due")
            return
        if len(chunk.pcm_data) > MAX_CHUNK_BYTES:
            self._refuse(f"{len(chunk.pcm_data)} bytes in one chunk, of at most {MAX_CHUNK_BYTES}")
            return
        try:
            await self._say(chunk.track_id, chunk.pcm_data)
        except ValueError as error:
            self._refuse(str(error))

    def _refuse(self, why: str) -> None:
        self.refused += 1
        if self.refused == 1:
            self.log.warning("chunk refused; further ones are only counted", error=why)

    async def _watch(self) -> None:
        """Heartbeats, and the end of a stream that is not read (a timer for each frame would cost CPU)."""
        config = self._config
        tick = min(config.heartbeat, config.send_timeout / 2, config.silence / 3)
        beat_at = config.heartbeat
        while True:
            await asyncio.sleep(tick)
            self._awake += tick
            if self._writing_since is not None and self._awake - self._writing_since > config.send_timeout:
                self._give_up("send timeout: the cloud does not read its audio stream", config.send_timeout)
            if self._beats and not self._taking and self._awake - self._heard_at > config.silence:
                self._give_up("the cloud's heartbeats have ended", config.silence)
            # Counts that nothing has carried since the last time go by themselves.
            if self._awake >= beat_at or (self._counts_due and self._writing_since is None):
                beat_at = self._awake + config.heartbeat
                self._frames.put(self._heartbeat)
            self._counts_due = self._beats

    def _give_up(self, why: str, seconds: float) -> None:
        self.log.warning("audio stream given up", cause=why, seconds=seconds, action="end the stream, leave the room")
        self.end(LossReason.STREAM_BROKEN)

    def _failed(self, _task: str, error: BaseException) -> None:
        if not isinstance(error, grpc.aio.BaseError):  # the call is over, and its handler hears of it
            self.log.error("audio stream failed", error=type(error).__name__, exc_info=error)
        self.end(LossReason.STREAM_BROKEN)
