"""What one app plays to its user: each request goes to the bridge in the user's room, and its true end to the app."""

import asyncio
import math
from collections.abc import AsyncIterable, Callable
from typing import Any, Protocol

import grpc
import structlog

from glassbridge.core.values import UserId
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.apps import AudioPlayRequest, AudioPlayResponse, AudioStopRequest

log = structlog.get_logger()

AT_ONCE = 10
"""Playbacks of one app."""
MAX_ID = 100
MAX_URL = 4_096
SLACK = 15.0
"""Seconds that a playback may go on in silence beyond what the bridge last promised."""
MAX_ERROR = 200
LONGEST = 900.0
"""Seconds for a clip of a length that nobody knows, on a bridge that tells no progress (the original's)."""
STOP_TIMEOUT = 2.0

STARTED, PROGRESS = pb.PlayAudioEvent.STARTED, pb.PlayAudioEvent.PROGRESS
COMPLETED, FAILED = pb.PlayAudioEvent.COMPLETED, pb.PlayAudioEvent.FAILED


class Speaker(Protocol):
    """A bridge that is in the user's room."""

    @property
    def stub(self) -> Any:
        """Of the bridge's gRPC service."""


class Failed(Exception):
    """The playback did not end well; the text is for the app's developer."""


class Playbacks:
    """Owned by one app. `speaker` gives the bridge to use, None when none is in the room; `answer` gets exactly one
    response for each request."""

    def __init__(
        self,
        user: UserId,
        package: str,
        speaker: Callable[[], Speaker | None],
        answer: Callable[[AudioPlayResponse], None],
        tasks: TaskGroup,
        start_within: float,
    ) -> None:
        self._user = user
        self._package = package
        self._speaker = speaker
        self._answer = answer
        self._tasks = tasks
        self._start_within = start_within
        self._running: dict[str, AudioPlayRequest] = {}
        self._log = log.bind(user_id=user, package=package)

    def play(self, request: AudioPlayRequest) -> None:
        """Begins; what is wrong is answered at once. One that is being played already is asked for by an app that
        came back and cannot know: it is played once."""
        if self._running.get(request.request_id) == request:
            return
        wrong = self._wrong(request)
        if wrong is not None:
            self._answer(AudioPlayResponse(request_id=request.request_id[:MAX_ID], success=False, error=wrong))
            return
        self._running[request.request_id] = request
        self._tasks.spawn(self._serve(request), f"play:{request.request_id}")

    def stop(self, request: AudioStopRequest) -> None:
        """Stops what this app plays and the request means; other apps' sounds are not touched."""
        for mine in list(self._running.values()):
            meant = request.request_id in (None, mine.request_id) and request.track_id in (None, mine.track_id)
            if meant:
                self._tasks.spawn(self._stop(mine), f"stop:{mine.request_id}")

    def stop_all(self) -> None:
        """The app is over."""
        self.stop(AudioStopRequest(package_name=self._package))

    def _wrong(self, request: AudioPlayRequest) -> str | None:
        if not 0 < len(request.request_id) <= MAX_ID:
            return f"a requestId has 1 to {MAX_ID} characters"
        if request.request_id in self._running:
            return "this requestId is in use"
        if not 0 < len(request.audio_url) <= MAX_URL:
            return f"an audioUrl has 1 to {MAX_URL} characters"
        if not (math.isfinite(request.volume) and 0 <= request.volume <= 1):
            return "volume is 0 (mute) to 1"
        if not 0 <= request.track_id < 1 << 31:
            return "trackId is a small number: 0 speaker, 1 app audio, 2 speech"
        if len(self._running) >= AT_ONCE:
            return f"an app plays at most {AT_ONCE} sounds at once: stop one first"
        return None

    async def _serve(self, request: AudioPlayRequest) -> None:
        """Whatever happens, the app hears of it, once."""
        error: str | None = "the user's session has ended"
        duration: int | None = None
        try:
            duration = await self._play(request)
            error = None
        except Failed as failed:
            error = str(failed)
        finally:
            del self._running[request.request_id]
            self._log.info("playback", request_id=request.request_id, result=error or "completed")
            self._answer(
                AudioPlayResponse(request_id=request.request_id, success=error is None, error=error, duration=duration)
            )

    async def _play(self, request: AudioPlayRequest) -> int:
        """Milliseconds that were heard. Raises Failed."""
        speaker = self._speaker()
        if speaker is None:
            raise Failed("the user's room is not connected: try again when audio_state is live")
        call = speaker.stub.PlayAudio(
            pb.PlayAudioRequest(
                request_id=self._bridge_id(request),
                audio_url=request.audio_url,
                volume=request.volume,
                stop_other=request.stop_other_audio,
                user_id=self._user,
                track_id=request.track_id,
            )
        )
        try:
            return await self._follow(call)
        except TimeoutError:
            raise Failed("the bridge says nothing about this playback any more") from None
        except grpc.aio.AioRpcError as error:
            raise Failed(f"the bridge was lost while it played ({error.code().name})") from None
        finally:
            call.cancel()

    async def _follow(self, events: AsyncIterable[pb.PlayAudioEvent]) -> int:
        """Each event says how long the next may take."""
        clock = asyncio.get_running_loop().time
        async with asyncio.timeout(self._start_within) as limit:
            async for event in events:
                if event.type == COMPLETED:
                    return event.duration_ms
                if event.type == FAILED:
                    raise Failed(event.error[:MAX_ERROR] or "the bridge could not play it")
                rest = max(0, event.duration_ms - event.position_ms) / 1000 if event.duration_ms else LONGEST
                limit.reschedule(clock() + (SLACK if event.type == PROGRESS else rest + SLACK))
        raise Failed("the bridge ended the playback without a word")

    async def _stop(self, request: AudioPlayRequest) -> None:
        """The answer to the app comes by the playback itself."""
        speaker = self._speaker()
        if speaker is None:
            return
        try:
            await speaker.stub.StopAudio(
                pb.StopAudioRequest(
                    user_id=self._user,
                    request_id=self._bridge_id(request),
                    reason="asked by the app",
                    track_id=request.track_id,
                ),
                timeout=STOP_TIMEOUT,
            )
        except grpc.aio.AioRpcError as error:
            self._log.info("stop failed", request_id=request.request_id, error=error.code().name)

    def _bridge_id(self, request: AudioPlayRequest) -> str:
        """Apps choose their ids without knowing of each other."""
        return f"{self._package}/{request.request_id}"
