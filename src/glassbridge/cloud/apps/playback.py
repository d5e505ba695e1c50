"""What one app plays to its user: each request goes to the bridge in the user's room, and its true end to the app.

A bridge that lost the room holds its playbacks for the next place. One that died, or is not the one in the room any
more, is forgotten: whichever is there next is asked to begin where the sound ended.
"""

import asyncio
import math
from collections.abc import AsyncIterable, Callable
from typing import Any, Final, Protocol

import grpc
import structlog

from glassbridge.core.values import LossReason, UserId
from glassbridge.runtime.tasks import TaskGroup, cancelled
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.apps import MUSIC_RATE, VOICE_RATE, AudioPlayRequest, AudioPlayResponse, AudioStopRequest

log = structlog.get_logger()

AT_ONCE = 10
"""Playbacks of one app."""
MAX_ID = 100
MAX_URL = 4_096
SLACK = 15.0
"""Seconds that a playback may go on in silence beyond what the bridge last promised."""
MAX_ERROR = 200
LONGEST = 900.0
"""Seconds for a clip of unknown length, on a bridge that tells no progress (the original's)."""
STOP_TIMEOUT = 2.0
AGAIN_WITHIN = 15.0
"""Seconds that a playback waits for a bridge in the room: at its start where one is coming, or when one is lost."""
TRIES = 6
"""Places in a row that may be lost without a sound."""
ASK_AGAIN = 1.0
"""Seconds after which a place where a playback was lost is asked again, if it is still the newest."""
PROGRESS_EVERY = 1.0
REASON, PAUSED = "reason", "paused"
"""Keys in the metadata of events: why a playback failed; that it waits for the room."""
PLACE_LOST: Final = frozenset(
    {
        "session_not_found",
        *(
            reason.code
            for reason in (
                LossReason.SUPERSEDED,
                LossReason.REMOVED,
                LossReason.ROOM_DELETED,
                LossReason.TOKEN_EXPIRED,
                LossReason.SERVER_SHUTDOWN,
                LossReason.NETWORK,
                LossReason.MEDIA_FAILED,
                LossReason.FROZEN,
                LossReason.CLOSED,
                LossReason.STREAM_BROKEN,
            )
        ),
    }
)
"""Reasons of a failure after which another place can do better; `replaced` is none: a newer sound has the track."""

STARTED, PROGRESS = pb.PlayAudioEvent.STARTED, pb.PlayAudioEvent.PROGRESS
COMPLETED, FAILED = pb.PlayAudioEvent.COMPLETED, pb.PlayAudioEvent.FAILED


class Speaker(Protocol):
    """A bridge that is in the user's room."""

    @property
    def stub(self) -> Any:
        """Of the bridge's gRPC service."""


class JoinedRoom(Protocol):
    """A bridge's place in the user's room; each join makes a new one."""

    @property
    def bridge(self) -> Speaker: ...


class Room(Protocol):
    """The user's room."""

    @property
    def place(self) -> JoinedRoom | None:
        """Where something can be played; None when no bridge is there."""

    @property
    def coming(self) -> bool:
        """Whether a bridge is on its way into it."""

    async def changed(self) -> None:
        """Returns when that may be otherwise. Safe to cancel."""


class Failed(Exception):
    """The playback did not end well; the text is for the app's developer."""


class Lost(Exception):
    """The bridge, or its place in the room: another one may go on."""


class PlaybackProgress:
    """How far a playback has come. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._position = 0
        self._since: float | None = None
        """When it was there; None: it does not move."""
        self.moved = False
        """Anything was heard since forget_moves()."""

    @property
    def position(self) -> int:
        """Milliseconds that were heard so far."""
        passed = 0.0 if self._since is None else min(self._clock() - self._since, PROGRESS_EVERY)
        return self._position + round(passed * 1000)

    def go_on_at(self, position_ms: int) -> None:
        """It has come so far elsewhere."""
        self._position = position_ms

    def hear(self, event: pb.PlayAudioEvent) -> None:
        """What the bridge tells."""
        self._position = max(self._position, event.position_ms) if event.type == STARTED else event.position_ms
        self._since = None if PAUSED in event.metadata else self._clock()
        self.moved = True

    def stop(self) -> int:
        """It is over there; the milliseconds that were heard. A bridge that still spoke would have told of the next
        second."""
        self._position, self._since = self.position, None
        return self._position


class Playing:
    """One request, until it is answered."""

    def __init__(self, request: AudioPlayRequest, clock: Callable[[], float]) -> None:
        self.request = request
        self.progress = PlaybackProgress(clock)
        self.error: str | None = "the user's session has ended"
        """The app's message when nothing better is known."""
        self.task: asyncio.Task[None] | None = None
        self.moved_here = False
        """It began at another cloud: a bridge will come."""
        self.stopping: asyncio.Task[None] | None = None
        """Asks the bridge to stop it: one at a time, however often the app asks."""


class Playbacks:
    """Owned by one app. `answer` gets exactly one response for each request; `vouch` makes of a URL what the bridge is
    given: a URL, and the cloud's own address where the sound is the cloud's."""

    def __init__(
        self,
        user: UserId,
        package: str,
        room: Room,
        answer: Callable[[AudioPlayResponse], None],
        vouch: Callable[[str], tuple[str, str]],
        tasks: TaskGroup,
        start_within: float,
        clock: Callable[[], float],
    ) -> None:
        self._user = user
        self._package = package
        self._room = room
        self._answer = answer
        self._vouch = vouch
        self._tasks = tasks
        self._start_within = start_within
        self._running: dict[str, Playing] = {}
        self._clock = clock
        self._log = log.bind(user_id=user, package=package)

    def play(self, request: AudioPlayRequest) -> None:
        """Begins; errors are answered at once. One that is being played already is asked for by an app that
        came back and cannot know: it is played once."""
        running = self._running.get(request.request_id)
        if running is not None and running.request == request:
            return
        wrong = self._wrong(request)
        if wrong is not None:
            self._answer(AudioPlayResponse(request_id=request.request_id[:MAX_ID], success=False, error=wrong))
            return
        self._begin(Playing(request, self._clock))

    def handed_over(self) -> list[tuple[AudioPlayRequest, int]]:
        """The current sounds, and the milliseconds that were heard of each."""
        playing = self._running.values()
        return [(one.request, one.progress.position) for one in playing if one.stopping is None]

    def go_on(self, request: AudioPlayRequest, position_ms: int) -> None:
        """Another cloud has played so much of this; what is wrong with it is not told again."""
        if self._wrong(request) is None:
            playing = Playing(request, self._clock)
            playing.moved_here = True
            playing.progress.go_on_at(position_ms)
            self._begin(playing)

    def leave(self) -> None:
        """Another cloud goes on with this. It falls silent here by its own call: a word to the bridge could come late
        and stop what is played next."""
        for playing in self._running.values():
            if playing.task is not None:
                playing.task.cancel()

    def _begin(self, playing: Playing) -> None:
        request = playing.request
        self._running[request.request_id] = playing
        playing.task = self._tasks.spawn(self._serve(playing), f"play:{request.request_id}")

    def stop(self, request: AudioStopRequest) -> None:
        """Stops what this app plays and the request means; other apps' sounds are not touched."""
        for playing in list(self._running.values()):
            mine = playing.request
            meant = request.request_id in (None, mine.request_id) and request.track_id in (None, mine.track_id)
            if meant and (playing.stopping is None or playing.stopping.done()):
                playing.stopping = self._tasks.spawn(self._stop(playing), f"stop:{mine.request_id}")

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
        if request.sample_rate not in (VOICE_RATE, MUSIC_RATE):
            return f"sampleRate is {VOICE_RATE} or {MUSIC_RATE}"
        if len(self._running) >= AT_ONCE:
            return f"an app plays at most {AT_ONCE} sounds at once: stop one first"
        return None

    async def _serve(self, playing: Playing) -> None:
        """Whatever happens, the app hears of it, once."""
        request_id = playing.request.request_id
        duration: int | None = None
        try:
            duration = await self._play(playing)
            playing.error = None
        except Failed as failed:
            playing.error = str(failed)
        finally:
            del self._running[request_id]
            self._log.info("playback", request_id=request_id, result=playing.error or "completed")
            self._answer(
                AudioPlayResponse(
                    request_id=request_id, success=playing.error is None, error=playing.error, duration=duration
                )
            )

    async def _play(self, playing: Playing) -> int:
        """Milliseconds of the whole sound. Raises Failed."""
        if self._room.place is None and not self._room.coming and not playing.moved_here:
            raise Failed("the user's room is not connected: try again when audio_state is live")
        tries = 0
        place: JoinedRoom | None = None
        while True:
            place = await self._find_place(place)
            playing.progress.moved = False
            try:
                return await self._play_by(place.bridge, playing)
            except Lost as lost:
                position = playing.progress.stop()
                tries = 0 if playing.progress.moved else tries + 1
                if tries >= TRIES:
                    raise Failed(f"the bridge was lost while it played ({lost})") from None
                self._log.info(
                    "playback lost its bridge",
                    request_id=playing.request.request_id, cause=str(lost), action="go on there", position_ms=position,
                )  # fmt: skip

    async def _find_place(self, lost: JoinedRoom | None) -> JoinedRoom:
        """Another than the lost one or, some time later, that one again. Raises Failed."""
        deadline = self._clock() + AGAIN_WITHIN
        while (place := self._room.place) is None or place is lost:
            if self._clock() > deadline:
                raise Failed("the user's room was lost and did not come back in time")
            try:
                async with asyncio.timeout(ASK_AGAIN):
                    await self._room.changed()
            except TimeoutError:
                lost = None
        return place

    async def _play_by(self, speaker: Speaker, playing: Playing) -> int:
        """Raises Failed and Lost."""
        request = playing.request
        url, own_address = self._vouch(request.audio_url)
        call = speaker.stub.PlayAudio(
            pb.PlayAudioRequest(
                request_id=self._bridge_id(request),
                audio_url=url,
                own_address=own_address,
                volume=request.volume,
                stop_other=request.stop_other_audio,
                user_id=self._user,
                track_id=request.track_id,
                sample_rate=request.sample_rate,
                position_ms=playing.progress.stop(),
            )
        )
        following = asyncio.create_task(self._follow(call, playing.progress))
        leaving = asyncio.create_task(self._taken_over(speaker))
        try:
            await asyncio.wait((following, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                raise Lost("another bridge is in the room")
            return following.result()
        finally:
            call.cancel()
            await cancelled(following, leaving)

    async def _taken_over(self, speaker: Speaker) -> None:
        """Returns when another bridge is in the room. While none is, this one holds what it plays."""
        while (place := self._room.place) is None or place.bridge is speaker:
            await self._room.changed()

    async def _follow(self, events: AsyncIterable[pb.PlayAudioEvent], progress: PlaybackProgress) -> int:
        """Each event says how long the next may take. Raises Failed and Lost."""
        try:
            async with asyncio.timeout(self._start_within) as limit:
                async for event in events:
                    if event.type == COMPLETED:
                        return event.duration_ms
                    if event.type == FAILED:
                        self._fail(event)
                    progress.hear(event)
                    rest = max(0, event.duration_ms - event.position_ms) / 1000 if event.duration_ms else LONGEST
                    limit.reschedule(self._clock() + (SLACK if event.type == PROGRESS else rest + SLACK))
        except TimeoutError:
            raise Failed("the bridge says nothing about this playback any more") from None
        except grpc.aio.AioRpcError as error:
            raise Lost(error.code().name) from None
        raise Failed("the bridge ended the playback without a word")

    def _fail(self, event: pb.PlayAudioEvent) -> None:
        """Raises Failed, and Lost where it was the room that failed."""
        fault = Lost if event.metadata.get(REASON) in PLACE_LOST else Failed
        raise fault(event.error[:MAX_ERROR] or "the bridge could not play it")

    async def _stop(self, playing: Playing) -> None:
        """The answer to the app comes by the playback itself, which ends here when no bridge ends it."""
        place, request = self._room.place, playing.request
        playing.error = "stopped"
        try:
            if place is not None:
                answer = await place.bridge.stub.StopAudio(
                    pb.StopAudioRequest(
                        user_id=self._user,
                        request_id=self._bridge_id(request),
                        reason="asked by the app",
                        track_id=request.track_id,
                    ),
                    timeout=STOP_TIMEOUT,
                )
                if answer.success:
                    return
        except grpc.aio.AioRpcError as error:
            self._log.info("stop failed", request_id=request.request_id, error=error.code().name)
        if playing.task is not None:
            playing.task.cancel()

    def _bridge_id(self, request: AudioPlayRequest) -> str:
        """Apps choose their ids without knowing of each other."""
        return f"{self._package}/{request.request_id}"
