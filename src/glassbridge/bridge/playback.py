"""PlayAudio and StopAudio: fetch, decode, say, and tell what is really heard."""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing
from time import monotonic
from typing import Final, Self

import structlog

from glassbridge.bridge.channel import Channel
from glassbridge.bridge.config import PlaybackLimits
from glassbridge.bridge.contract import MAX_NAME, MAX_URL
from glassbridge.bridge.decoders import Decoders
from glassbridge.bridge.fetch import Fetcher, Hoard, PlaybackError, Source
from glassbridge.bridge.sound import SoundClip
from glassbridge.bridge.speaker import Speaker
from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE, LossReason, UserId
from glassbridge.livekit.participant import RATES, ParticipantError, frame_bytes
from glassbridge.runtime.queues import AgedQueue
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.wire import livekit_bridge_pb2 as pb

log = structlog.get_logger()

PROGRESS_MS: Final = 1_000
PAUSED: Final = "paused"
"""Key in the metadata of a PROGRESS: the room is lost for this reason, and the playback waits for the next place."""
PREPARED: Final = "prepared_ms"
"""Key in the metadata of STARTED: how long it took to fetch and decode the first of the sound."""
EVENTS: Final = 64
"""Events that wait for a caller that does not read; the oldest are dropped."""

STARTED: Final = pb.PlayAudioEvent.STARTED
PROGRESS: Final = pb.PlayAudioEvent.PROGRESS
COMPLETED: Final = pb.PlayAudioEvent.COMPLETED
FAILED: Final = pb.PlayAudioEvent.FAILED


class Playback:
    """One clip on one channel. `events` ends after COMPLETED or FAILED."""

    def __init__(self, request: pb.PlayAudioRequest, channel: Channel, limits: PlaybackLimits, hoard: Hoard) -> None:
        self.request_id = request.request_id
        self.track_id = request.track_id
        self.events = AgedQueue[pb.PlayAudioEvent](EVENTS, math.inf)
        self._url = request.audio_url
        self._own_address = request.own_address
        self._channel = channel
        self._limits = limits
        self._rate = request.sample_rate or SAMPLE_RATE
        if self._rate not in RATES:
            raise PlaybackError("bad_rate", f"sample_rate is one of {RATES}, 0 for {SAMPLE_RATE}")
        if not 0 <= request.position_ms <= limits.max_seconds * 1000:
            raise PlaybackError("bad_position", f"position_ms is 0 to {limits.max_seconds * 1000:.0f}")
        self._source = Source(limits, hoard, request.user_id)
        self._sound = SoundClip(self._source, request.volume, limits, self._rate, request.position_ms)
        self._begun_at = request.position_ms
        self._samples = request.position_ms * self._rate // 1000
        """How far we are, with what came before this request."""
        self._asked = self._prepared = monotonic()
        """When it was asked for, and when there was something to say."""
        self._patience = limits.patience
        self._task: asyncio.Task[None] | None = None
        self._why_stopped = "stopped"

    def start(self, player: "Player", speaker: Speaker) -> None:
        """Begins; the speaker's end is its end too."""
        self._task = speaker.speak(self._run(player, speaker), f"play {self._channel.name}")

    def stop(self, why: str) -> None:
        """Silent at once; the caller hears FAILED with this reason. Idempotent."""
        if self._task is not None and not self._task.done():
            self._why_stopped = why
            self._task.cancel()

    async def _run(self, player: "Player", speaker: Speaker) -> None:
        try:
            async with AsyncExitStack() as stack:
                stack.callback(self._source.close)
                fetching = TaskGroup("fetch")
                stack.push_async_callback(fetching.close)
                fetching.spawn(player.fetcher.fetch(self._url, self._source, self._own_address), self.request_id)
                blocks = await stack.enter_async_context(aclosing(self._sound.blocks(player.decoders)))
                # Whatever can fail before the first sample fails before an older voice is silenced.
                first = await self._next(blocks)
                self._prepared = monotonic()
                async with self._channel.voice(lambda: self.stop("replaced"), self._rate, self._paused):
                    await self._say(first, blocks)
                    await self._channel.drain()
            self._tell(COMPLETED, duration=self._position)
        except PlaybackError as error:
            self._fail(error.code, str(error))
        except ParticipantError as error:
            self._fail(error.reason.code, error.reason.text)
        except asyncio.CancelledError:
            if speaker.gone is not None:
                self._fail(speaker.gone.code, speaker.gone.text)
            else:
                self._fail(self._why_stopped, self._why_stopped)
            raise
        finally:
            self.events.close()

    async def _say(self, block: bytes | None, blocks: AsyncIterator[bytes]) -> None:
        size = frame_bytes(self._rate)
        told = self._position // PROGRESS_MS
        pending = bytearray()
        started = False
        while block is not None:
            pending += block
            while len(pending) >= size:
                await self._channel.write(bytes(pending[:size]))
                del pending[:size]
                self._samples += size // BYTES_PER_SAMPLE
                if not started:
                    started = True
                    self._tell_started()
                if self._position // PROGRESS_MS > told:
                    told = self._position // PROGRESS_MS
                    self._tell(PROGRESS)
            if self._position > self._limits.max_seconds * 1000:
                raise PlaybackError("too_long", f"the audio is longer than {self._limits.max_seconds:g} s")
            block = await self._next(blocks)
        if pending:
            await self._channel.write(bytes(pending).ljust(size, b"\0"))
            self._samples += len(pending) // BYTES_PER_SAMPLE
        if not started:
            self._tell_started()

    async def _next(self, blocks: AsyncIterator[bytes]) -> bytes | None:
        """None at the end. Raises PlaybackError, also when we have waited too long in all."""
        begun = monotonic()
        try:
            async with asyncio.timeout(self._patience):
                return await anext(blocks, None)
        except TimeoutError:
            raise PlaybackError("too_slow", "the audio comes more slowly than it is played") from None
        finally:
            self._patience -= monotonic() - begun

    @property
    def _position(self) -> int:
        """Milliseconds that were said."""
        return self._samples * 1000 // self._rate

    def _paused(self, reason: LossReason, again: int) -> None:
        """The room is lost; `again` milliseconds will be repeated in the next place."""
        position = max(self._begun_at, self._position - again)
        self._tell(PROGRESS, position=position, metadata={PAUSED: reason.code})

    def _tell_started(self) -> None:
        prepared = round(1000 * (self._prepared - self._asked))
        self._tell(STARTED, position=self._begun_at, metadata={PREPARED: str(prepared)})

    def _tell(
        self,
        kind: "pb.PlayAudioEvent.EventType",
        *,
        duration: int | None = None,
        position: int | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.events.put(
            pb.PlayAudioEvent(
                type=kind,
                request_id=self.request_id,
                duration_ms=self._sound.duration_ms if duration is None else duration,
                position_ms=self._position if position is None else position,
                metadata=metadata,
            )
        )

    def _fail(self, code: str, text: str) -> None:
        self.events.put(failed(self.request_id, code, text, self._position))


def failed(request_id: str, code: str, text: str, position: int = 0) -> pb.PlayAudioEvent:
    """A FAILED event; `code` is for programs."""
    return pb.PlayAudioEvent(
        type=FAILED, request_id=request_id, error=text, position_ms=position, metadata={"reason": code}
    )


class Player:
    """All playbacks of one worker; use as an async context."""

    def __init__(self, limits: PlaybackLimits) -> None:
        self._limits = limits
        self._running: dict[UserId, list[Playback]] = {}
        self.fetcher = Fetcher(limits)
        self.decoders = Decoders()
        self._hoard = Hoard(limits.max_kept, limits.max_kept_in_all)

    async def __aenter__(self) -> Self:
        await self.fetcher.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.fetcher.__aexit__(*error)
        await self.decoders.close()

    def __len__(self) -> int:
        return sum(map(len, self._running.values()))

    def play(self, user: UserId, speaker: Speaker, request: pb.PlayAudioRequest) -> Playback:
        """Starts a playback; the caller must call over(). Raises PlaybackError if it cannot begin."""
        mine = 0 if request.stop_other else len(self._running.get(user, []))
        if mine >= self._limits.per_user or len(self) >= self._limits.per_worker:
            raise PlaybackError("too_many", f"{mine} playbacks are running for this user: stop one first")
        if len(request.request_id) > MAX_NAME or len(request.audio_url) > MAX_URL:
            raise PlaybackError("bad_request", "request_id or audio_url is too long")
        try:
            channel = speaker.channel(request.track_id)
        except ValueError as error:
            raise PlaybackError("bad_track", str(error)) from None
        playback = Playback(request, channel, self._limits, self._hoard)
        if request.stop_other:
            self.stop(user, why="replaced")
            speaker.silence_live(None)
        playback.start(self, speaker)
        self._running.setdefault(user, []).append(playback)
        return playback

    def over(self, user: UserId, playback: Playback) -> None:
        """A playback has ended, or is not wanted any more."""
        playback.stop("cancelled")
        mine = self._running.get(user, [])
        if playback in mine:
            mine.remove(playback)
        if not mine:
            self._running.pop(user, None)

    def stop(self, user: UserId, request_id: str = "", track_id: int = 0, why: str = "stopped") -> list[str]:
        """Stops one playback by its id, else those of a track, else (track 0, as in the original) all of the user's;
        returns their ids, newest last."""
        stopped = [
            playback
            for playback in self._running.get(user, [])
            if (playback.request_id == request_id if request_id else track_id in (0, playback.track_id))
        ]
        for playback in stopped:
            playback.stop(why)
        return [playback.request_id for playback in stopped]
