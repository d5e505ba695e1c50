"""A track that the SDK-backed participant publishes."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from livekit import rtc
from livekit.rtc.participant import PublishTrackError, UnpublishTrackError

from glassbridge.core.values import BYTES_PER_SAMPLE, LossReason
from glassbridge.livekit.pace import FRAME, Pace
from glassbridge.livekit.participant import TRACK_BITRATE, ParticipantError, frame_bytes

TAIL = 5
"""Silent frames after the last one: without them the listener stretches the last sound by 0.2 s (traps A10)."""
CAPTURE_TIMEOUT = 2.0
AUDIENCE_TIMEOUT = 0.5
"""Seconds that a new track waits for its first listener."""
UNPUBLISH_TIMEOUT = 2.0


class SdkTrack:
    """The LocalTrack of the SDK-backed participant. `failure` gives why the place is lost, None while it is held."""

    def __init__(
        self, room: rtc.Room, name: str, failure: Callable[[], ParticipantError | None], catch_up: float, rate: int
    ) -> None:
        self._rate = rate
        self._silence = bytes(frame_bytes(rate))
        self._room = room
        self._failure = failure
        # No queue in the SDK: its length would be latency for ever after the first stall (traps B14).
        self._source = rtc.AudioSource(rate, 1, queue_size_ms=0)
        self._track = rtc.LocalAudioTrack.create_audio_track(name, self._source)
        self._publication: rtc.LocalTrackPublication | None = None
        self._pace = Pace(catch_up)
        self._writing = asyncio.Lock()
        self._unpublished = False

    @property
    def sid(self) -> str:
        return self._publication.sid if self._publication is not None else ""

    async def start(self) -> None:
        """Publishes it. Raises ParticipantError. Not to be cancelled: it could not be taken back."""
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False)
        options.audio_encoding.max_bitrate = TRACK_BITRATE
        try:
            self._publication = await self._room.local_participant.publish_track(self._track, options)
        except PublishTrackError:
            refused = ParticipantError(LossReason.TIMED_OUT, "the track is not accepted")
            raise self._failure() or refused from None

    async def find_listener(self) -> None:
        """Sends silence until there is a listener, or the time is over: sound before that would be lost."""
        if self._publication is None:
            return
        listened = asyncio.ensure_future(self._publication.wait_for_subscription())
        try:
            for _ in range(round(AUDIENCE_TIMEOUT / FRAME)):
                if listened.done():
                    break
                await self.write(self._silence)
        finally:
            listened.cancel()
        self._pace.pause()

    async def write(self, frame: bytes) -> None:
        """See LocalTrack. Raises ValueError (the caller's fault) for a frame of another length."""
        if len(frame) != len(self._silence):
            raise ValueError(f"a frame is {len(self._silence)} bytes, not {len(frame)}")
        async with self._writing:  # one writer per source (traps B14)
            if (failure := self._failure()) is not None:
                raise failure
            if self._unpublished:
                raise ValueError("the track is unpublished")
            self._pace.begin()
            await self._capture(frame)
            await self._pace.due()

    async def _capture(self, frame: bytes) -> None:
        try:
            async with asyncio.timeout(CAPTURE_TIMEOUT):
                half = len(frame) // 2  # without a queue the SDK takes 10 ms at a time
                for part in (frame[:half], frame[half:]):
                    await self._source.capture_frame(rtc.AudioFrame(part, self._rate, 1, half // BYTES_PER_SAMPLE))
        except Exception:  # the SDK has no type of its own for this
            raise self._failure() or ParticipantError(LossReason.INTERNAL, "the SDK takes no sound") from None

    async def drain(self) -> None:
        if not self._pace.pausing and self._failure() is None and not self._unpublished:
            for _ in range(TAIL):
                await self.write(self._silence)
        self._pace.pause()

    async def unpublish(self) -> None:
        if self._unpublished:
            return
        try:
            with suppress(ParticipantError):
                await self.drain()
        finally:
            self._unpublished = True
        if self._publication is not None and self._failure() is None:
            with suppress(UnpublishTrackError, TimeoutError):
                async with asyncio.timeout(UNPUBLISH_TIMEOUT):
                    await self._room.local_participant.unpublish_track(self.sid)
        await self.release()

    async def release(self) -> None:
        """Frees the native source; idempotent."""
        self._unpublished = True
        await self._source.aclose()
