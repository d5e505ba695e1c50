"""What we say to each user: a channel for each track, live voices and playbacks on it. Voices on different channels are
mixed by the listener.

A speaker belongs to the user, not to a place in a room: when that is lost, playbacks wait for the next one and go on
there. Live sound is not kept.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

import structlog

from glassbridge.bridge.channel import Channel, Membership, Publish
from glassbridge.bridge.contract import track_name
from glassbridge.core.values import BYTES_PER_MS, LossReason, UserId
from glassbridge.livekit.participant import FRAME_BYTES, ParticipantError
from glassbridge.runtime.tasks import TaskGroup

log = structlog.get_logger()

LIVE_IDLE: Final = 0.5
"""Seconds without a new sample after which a live voice has ended."""
LIVE_BYTES: Final = 1_000 * BYTES_PER_MS
"""A live voice takes so much ahead of real time; then its sender waits."""


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
    """All channels of one user. `hold` is how many seconds voices wait for the next place; `idle` is called when
    there is neither a place nor a voice."""

    def __init__(self, user: UserId, hold: float, idle: Callable[["Speaker"], None]) -> None:
        self.user = user
        self._hold = hold
        self._idle = idle
        self._log = log.bind(user_id=user)
        self.tasks = TaskGroup(f"speaker:{user}", self._failed)
        """Of the voices."""
        self._channels: dict[int, Channel] = {}
        self._live: dict[int, LiveVoice] = {}
        self._voices: set[asyncio.Task[None]] = set()
        """Those that wait for the next place when one is lost."""
        self._place: Membership | None = None
        self._entered = asyncio.Event()
        self._lost = LossReason.CLOSED
        """Why the last place was left."""
        self.gone: LossReason | None = None
        """Why nothing can be said any more; None while it can."""

    # ---- places

    def enter(self, publish: Publish) -> Membership:
        """We are in a room; the caller must tell its end by leave()."""
        place = Membership(publish)
        if self._place is not None:
            self.leave(self._place, LossReason.REPLACED)
        self._place = place
        self._entered.set()
        return place

    def leave(self, place: Membership, reason: LossReason, unheard: float = 0.0) -> None:
        """A place is gone; may come late, and more than once."""
        if place.reason is not None:
            return
        place.reason, place.unheard = reason, unheard
        place.left.set()
        if self._place is place:
            self._place, self._lost = None, reason
            self._entered.clear()
            self.silence_live(None)
            for channel in self._channels.values():
                channel.forget_track()
            self._look_idle()

    async def place(self) -> Membership:
        """As of Places: waits `hold` seconds at most. Safe to cancel."""
        try:
            async with asyncio.timeout(self._hold):
                while self._place is None:
                    await self._entered.wait()
        except TimeoutError:
            raise ParticipantError(self._lost) from None
        return self._place

    # ---- voices

    def channel(self, track_id: int) -> Channel:
        """The channel of a track. Raises ValueError for an id that no track has."""
        channel = self._channels.get(track_id)
        if channel is None:
            channel = self._channels[track_id] = Channel(track_name(track_id), self, self.tasks)
        return channel

    async def say(self, track_id: int, pcm: bytes) -> None:
        """Takes live PCM; publishes the track with its first sample. Raises ValueError (no such track)."""
        if self._place is None:
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

    def speak(self, voice: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Runs a voice that outlives places; our end is its end too."""
        task = self.tasks.spawn(voice, name)
        self._voices.add(task)
        task.add_done_callback(self._spoken)
        return task

    async def close(self, reason: LossReason) -> None:
        """Silences everything, for good; idempotent."""
        self.gone = reason
        await self.tasks.close()

    def _spoken(self, voice: asyncio.Task[None]) -> None:
        self._voices.discard(voice)
        self._look_idle()

    def _look_idle(self) -> None:
        if self._place is None and not self._voices:
            self._idle(self)

    def _failed(self, task: str, error: BaseException) -> None:
        self._log.error("voice failed", task=task, error=type(error).__name__, exc_info=error)


class Speakers:
    """Those of one worker, by user."""

    def __init__(self, hold: float) -> None:
        self._hold = hold
        self._of: dict[UserId, Speaker] = {}

    def __len__(self) -> int:
        return len(self._of)

    def of(self, user: UserId) -> Speaker:
        """The user's, made when there is none."""
        found = self._of.get(user)
        if found is None:
            found = self._of[user] = Speaker(user, self._hold, self._forget)
        return found

    def find(self, user: UserId) -> Speaker | None:
        """The user's, when there is one."""
        return self._of.get(user)

    async def close(self, reason: LossReason) -> None:
        """Silences everybody."""
        await asyncio.gather(*(speaker.close(reason) for speaker in list(self._of.values())))

    def _forget(self, speaker: Speaker) -> None:
        if self._of.get(speaker.user) is speaker:
            del self._of[speaker.user]
