"""What we say into one room: a channel for each track, live voices and playbacks on it.

At most one voice speaks on a channel; a newer one silences the older. Voices on different channels are mixed by the
listener. A track is published while somebody speaks, and LINGER seconds longer: an idle one costs CPU and was heard as
static.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from glassbridge.bridge.contract import track_name
from glassbridge.core.values import BYTES_PER_MS, LossReason
from glassbridge.livekit.participant import FRAME_BYTES, LocalTrack, ParticipantError
from glassbridge.runtime.tasks import TaskGroup

LINGER: Final = 2.0
"""Seconds; publishing again at once would cost 140 ms (traps A10)."""
LIVE_IDLE: Final = 0.5
"""Seconds without a new sample after which a live voice has ended."""
LIVE_BYTES: Final = 1_000 * BYTES_PER_MS
"""A live voice takes so much ahead of real time; then its sender waits."""

Publish = Callable[[str], Awaitable[LocalTrack]]


class Channel:
    """One track of ours."""

    def __init__(self, name: str, publish: Publish, tasks: TaskGroup) -> None:
        self.name = name
        self._publish = publish
        self._tasks = tasks
        self._speaking = asyncio.Lock()
        self._silence: Callable[[], None] | None = None
        self._track: LocalTrack | None = None
        self._retiring: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a voice speaks, or waits for its turn."""
        return self._silence is not None

    @asynccontextmanager
    async def voice(self, silence: Callable[[], None]) -> AsyncIterator[None]:
        """The right to write, once the voice before has let go; `silence` is called when a newer one wants it.
        Safe to cancel."""
        if self._silence is not None:
            self._silence()
        self._silence = silence
        try:
            async with self._speaking:
                if self._retiring is not None:
                    self._retiring.cancel()
                    self._retiring = None
                yield
        finally:
            if self._silence is silence:
                self._silence = None
                if self._track is not None and self._retiring is None:
                    with suppress(RuntimeError):  # the group is closed: so is the room
                        self._retiring = self._tasks.spawn(self._retire(), f"retire {self.name}")

    async def write(self, frame: bytes) -> None:
        """Says FRAME_BYTES; returns when the next are due. Raises ParticipantError. Safe to cancel between frames."""
        if self._track is None:
            self._track = await self._publish(self.name)
        await self._track.write(frame)

    async def drain(self) -> None:
        """Returns when what was said has been heard. Safe to cancel."""
        if self._track is not None:
            await self._track.drain()

    async def _retire(self) -> None:
        await asyncio.sleep(LINGER)
        track, self._track, self._retiring = self._track, None, None
        if track is not None:
            await track.unpublish()


class LiveVoice:
    """Sound that the cloud streams as it is made. Its sender is slowed down to real time."""

    def __init__(self, channel: Channel, tasks: TaskGroup, log: Any) -> None:
        self._channel = channel
        self._tasks = tasks
        self._log = log
        self._buffer = bytearray()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0
        """Bytes that came while a playback had the channel."""

    async def take(self, pcm: bytes) -> None:
        """Queues samples; waits while LIVE_BYTES are queued. An odd byte is completed by the next call."""
        if self._task is None:
            if self._channel.busy:
                self.dropped += len(pcm)
                return
            self._task = self._tasks.spawn(self._speak(), f"live {self._channel.name}")
            self._task.add_done_callback(self._over)
        self._buffer += pcm
        self._changed.set()
        while len(self._buffer) >= LIVE_BYTES and self._task is not None:
            self._changed.clear()
            await self._changed.wait()

    def silence(self) -> None:
        """Says nothing more of what is queued."""
        if self._task is not None:
            self._task.cancel()

    def _over(self, _task: asyncio.Task[None]) -> None:
        self._task = None
        self._buffer.clear()
        self._changed.set()

    async def _speak(self) -> None:
        try:
            async with self._channel.voice(self.silence):
                while await self._has(FRAME_BYTES):
                    frame = bytes(self._buffer[:FRAME_BYTES])
                    del self._buffer[:FRAME_BYTES]
                    self._changed.set()
                    await self._channel.write(frame)
                if self._buffer:
                    await self._channel.write(bytes(self._buffer[:FRAME_BYTES]).ljust(FRAME_BYTES, b"\0"))
        except ParticipantError as error:
            self._log.info("live voice ended", track=self._channel.name, reason=error.reason.code)

    async def _has(self, size: int) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(LIVE_IDLE):
                while len(self._buffer) < size:
                    self._changed.clear()
                    await self._changed.wait()
        return len(self._buffer) >= size


class Speaker:
    """All channels of one place in a room. `publish` raises ParticipantError when the place is gone."""

    def __init__(self, publish: Publish, log: Any) -> None:
        self._publish = publish
        self._log = log
        self.tasks = TaskGroup("speaker", self._failed)
        """Of the voices; closed with the place."""
        self._channels: dict[int, Channel] = {}
        self._live: dict[int, LiveVoice] = {}
        self.gone: LossReason | None = None
        """Why nothing can be said any more; None while it can."""

    def channel(self, track_id: int) -> Channel:
        """The channel of a track. Raises ValueError for an id that no track has."""
        channel = self._channels.get(track_id)
        if channel is None:
            channel = self._channels[track_id] = Channel(track_name(track_id), self._publish, self.tasks)
        return channel

    async def say(self, track_id: int, pcm: bytes) -> None:
        """Takes live PCM; publishes the track with its first sample. Raises ValueError (no such track)."""
        if self.gone is not None:
            return
        voice = self._live.get(track_id)
        if voice is None:
            voice = self._live[track_id] = LiveVoice(self.channel(track_id), self.tasks, self._log)
        await voice.take(pcm)

    def silence_live(self, track_id: int | None) -> None:
        """Silences the live voice of a track, or all of them."""
        for number, voice in self._live.items():
            if track_id in (None, number):
                voice.silence()

    async def close(self, reason: LossReason) -> None:
        """Silences everything; idempotent."""
        self.gone = reason
        await self.tasks.close()

    def _failed(self, task: str, error: BaseException) -> None:
        self._log.error("voice failed", task=task, error=type(error).__name__, exc_info=error)
