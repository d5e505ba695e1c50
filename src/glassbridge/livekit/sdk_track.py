"""A track that the SDK-backed participant publishes."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from livekit import rtc
from livekit.rtc.participant import UnpublishTrackError

from glassbridge.core.values import SAMPLE_RATE
from glassbridge.livekit.participant import FRAME_BYTES, FRAME_MS, ParticipantError

FRAME = FRAME_MS / 1000
TAIL = 5
"""Silent frames after the last one: without them the listener stretches the last sound by 0.2 s (traps A10)."""
LATE = 0.1
"""Seconds that a writer may fall behind and still catch up."""
UNPUBLISH_TIMEOUT = 2.0
_SILENCE = bytes(FRAME_BYTES)
_HALF = FRAME_BYTES // 2
"""Without a queue the SDK takes 10 ms at a time."""


class SdkTrack:
    """The LocalTrack of the SDK-backed participant. `failure` gives why the place is lost, None while it is held."""

    def __init__(self, room: rtc.Room, name: str, failure: Callable[[], ParticipantError | None]) -> None:
        self._room = room
        self._failure = failure
        # No queue in the SDK: its length would be latency for ever after the first stall (traps B14).
        self._source = rtc.AudioSource(SAMPLE_RATE, 1, queue_size_ms=0)
        self._track = rtc.LocalAudioTrack.create_audio_track(name, self._source)
        self._due = 0.0
        self._writing = asyncio.Lock()
        self._ended = False
        self.sid = ""

    async def start(self) -> None:
        """Publishes it. Raises rtc's PublishTrackError. Safe to cancel: the caller closes the room then, or goes on."""
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False)
        self.sid = (await self._room.local_participant.publish_track(self._track, options)).sid

    async def write(self, frame: bytes) -> None:
        if len(frame) != FRAME_BYTES:
            raise ValueError(f"a frame has {FRAME_BYTES} bytes, not {len(frame)}")
        async with self._writing:  # one writer per source (traps B14)
            if (failure := self._failure()) is not None:
                raise failure
            if self._ended:
                return
            now = monotonic()
            if self._due < now - LATE:
                self._due = now
            for half in (frame[:_HALF], frame[_HALF:]):
                await self._source.capture_frame(rtc.AudioFrame(half, SAMPLE_RATE, 1, _HALF // 2))
            self._due += FRAME
            await asyncio.sleep(max(0.0, self._due - monotonic()))

    async def drain(self) -> None:
        for _ in range(TAIL):
            if self._failure() is not None:
                return
            with suppress(ParticipantError):
                await self.write(_SILENCE)

    async def unpublish(self) -> None:
        if self._ended:
            return
        await self.drain()
        self._ended = True
        with suppress(UnpublishTrackError, TimeoutError):
            if self._failure() is None:
                async with asyncio.timeout(UNPUBLISH_TIMEOUT):
                    await self._room.local_participant.unpublish_track(self.sid)
        await self.release()

    async def release(self) -> None:
        """Frees the native source; idempotent."""
        self._ended = True
        await self._source.aclose()
