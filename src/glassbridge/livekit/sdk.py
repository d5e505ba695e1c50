"""The participant on the official SDK, behind the same interface as our own: for networks that allow only ICE-TCP, for
end-to-end encryption, and as the oracle of the contract suite.

The SDK repairs by itself, and its repair steals the user from a successor (traps B3). So here the first sign of one
(`reconnecting`), of a freeze or of a silent media path ends the place: the Room is left at once, and somebody else
decides about a fresh join; what the SDK tries meanwhile ends at a fence. A Room is used once, and Room.connect() is
never cancelled: that would end the process.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import structlog

try:
    from livekit import rtc
    from livekit.rtc.participant import PublishDataError
except ImportError as error:
    raise ImportError("the official LiveKit SDK is not installed: pip install 'glassbridge[sdk]'") from error

from glassbridge.core.values import SAMPLE_RATE, LossReason
from glassbridge.core.voices import CODECS, RemoteTrack
from glassbridge.livekit import sdk_native
from glassbridge.livekit.clock_skew import explain
from glassbridge.livekit.participant import (
    DEFAULT_OPTIONS,
    FRAME_MS,
    AudioBlock,
    Closed,
    ConnectOptions,
    LocalTrack,
    Packet,
    ParticipantError,
    RemoteParticipant,
    RoomEvents,
)
from glassbridge.livekit.roster import codec_of, track_source
from glassbridge.livekit.sdk_fence import Fence
from glassbridge.livekit.sdk_track import SdkTrack
from glassbridge.livekit.signal import loss_reason
from glassbridge.livekit.upgrade import parse_url, require_jwt
from glassbridge.runtime.tasks import TaskGroup

log = structlog.get_logger()

MAX_PAYLOAD = 15_000
"""Bytes of a data packet's payload."""
MAX_BLOCKS = 50
"""Blocks of sound that may wait in a stream; the oldest go first."""
SEND_TIMEOUT = 2.0
PUBLISH_TIMEOUT = 5.0
CLOSE_TIMEOUT = 2.5
LEAVE_TIMEOUT = 10.0
"""Seconds; an attempt to resume that is under way holds the SDK for 5."""
BURST = 0.3
"""Seconds after a join in which the SDK says much. It hangs up right behind its goodbye, and a server that is busy with
what came before then misses it: a ghost for 21 s."""
WATCH_INTERVAL = 1.0
GAP = 5.0
"""Seconds of standing still after which others may hold the identity. Longer ones are resumed by the SDK: at once."""
SHORTEST_MEDIA_TIMEOUT = 6.0
"""Seconds; the SDK's keep-alives on an idle media path are 2.5 s apart, so less would say nothing."""

T = TypeVar("T")
_attempts: set[asyncio.Task[None]] = set()
"""Joins and departures under way, wanted or not; each ends by itself."""


async def connect(
    url: str, token: str, events: RoomEvents, options: ConnectOptions = DEFAULT_OPTIONS
) -> "SdkParticipant":
    """See Connector. The SDK's part of a join that is given up goes on for up to 20 s, and is then left."""
    require_jwt(token)
    fence = Fence(parse_url(url))
    sdk_native.quieten()
    participant = SdkParticipant(fence, events, options)
    attempt = _keep(participant.join(token), "join")
    try:
        async with asyncio.timeout(options.timeout):
            await asyncio.shield(attempt)
    except TimeoutError:
        participant.end(LossReason.UNREACHABLE, f"no answer within {options.timeout:g} s")
        raise participant.failure() from None  # type: ignore[misc]
    except BaseException:
        participant.end(LossReason.CLOSED)
        raise
    if (failure := participant.failure()) is not None:
        raise failure
    participant.handed_over = True
    return participant


async def drain_closing() -> None:
    """Returns when all places of this loop that are being left, or joined too late, are left; 25 s at most."""
    loop = asyncio.get_running_loop()
    while mine := [task for task in _attempts if task.get_loop() is loop]:
        await asyncio.wait(mine)


def _keep(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    task = asyncio.get_running_loop().create_task(work, name=f"sdk:{name}")
    _attempts.add(task)
    task.add_done_callback(_attempts.discard)
    return task


class SdkParticipant:
    """A place in a room; see Participant. Made by connect()."""

    def __init__(self, fence: Fence, events: RoomEvents, options: ConnectOptions) -> None:
        self._fence = fence
        self._events = events
        self._options = options
        self._room = rtc.Room()
        self._tasks = TaskGroup("sdk participant", self._task_failed)
        self._streams: dict[str, rtc.AudioStream] = {}
        self._seen: dict[str, int] = {}
        """The audio tracks of others, numbered as they were seen first."""
        self._tracks: list[SdkTrack] = []
        self._closed: Closed | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._joined_at: float | None = None
        self.handed_over = False
        """True once connect() has returned: from then on on_closed is due."""
        self.sid = self.identity = self.room = ""
        for event, handler in _HANDLERS.items():
            self._room.on(event, partial(handler, self))

    def __repr__(self) -> str:
        return f"<SdkParticipant {self.identity!r} in {self.room!r}>"

    # --- the interface ----------------------------------------------------------------------------------------------

    @property
    def closed(self) -> Closed | None:
        return self._closed

    @property
    def waiting(self) -> int:
        return 0  # the SDK does not tell

    @property
    def flight(self) -> None:
        return None

    @property
    def silent(self) -> float:
        return 0.0

    @property
    def remote(self) -> Mapping[str, RemoteParticipant]:
        people = {
            person.identity: RemoteParticipant(
                person.identity, person.sid, self._tracks_of(person), _may_publish(person.permissions)
            )
            for person in self._room.remote_participants.values()
        }
        self._seen = {track.sid: self._seen[track.sid] for person in people.values() for track in person.tracks}
        return people

    def _tracks_of(self, person: rtc.RemoteParticipant) -> tuple[RemoteTrack, ...]:
        """In the order in which they were seen first: the SDK tells no other, nor that a track is not to be had."""
        for sid in person.track_publications:
            self._seen.setdefault(sid, max(self._seen.values(), default=0) + 1)
        audio = [p for p in person.track_publications.values() if p.kind == rtc.TrackKind.KIND_AUDIO]
        return tuple(
            RemoteTrack(
                publication.sid,
                track_source(publication.source),
                publication.muted,
                publication.encryption_type != rtc.EncryptionType.NONE,
                codec_of(publication.mime_type),
            )
            for publication in sorted(audio, key=lambda publication: self._seen[publication.sid])
        )

    async def publish(self, name: str, rate: int = SAMPLE_RATE) -> LocalTrack:
        self._require_open()
        track = SdkTrack(self._room, name, self.failure, self._options.catch_up, rate)
        self._tracks.append(track)
        starting = self._tasks.spawn(track.start(), "publish")
        try:
            await self._accepted(starting)
            await track.find_listener()
        except (asyncio.CancelledError, ParticipantError):
            if self._closed is None:
                self._tasks.spawn(self._withdraw(track, starting), "withdraw")
            raise
        return track

    async def _accepted(self, starting: asyncio.Task[None]) -> None:
        await asyncio.wait([starting], timeout=PUBLISH_TIMEOUT)
        self._require_open()
        if not starting.done():
            raise ParticipantError(LossReason.TIMED_OUT, "the track was not accepted in time")
        await starting

    async def _withdraw(self, track: SdkTrack, starting: asyncio.Task[None]) -> None:
        """Takes back a track that no caller waits for any more, once it is there."""
        await asyncio.wait([starting])
        await track.unpublish()

    async def send(self, payload: bytes, *, topic: str = "", reliable: bool = True, to: tuple[str, ...] = ()) -> None:
        if len(payload) > MAX_PAYLOAD:
            raise ValueError(f"a packet carries at most {MAX_PAYLOAD} bytes, not {len(payload)}")
        self._require_open()
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await self._room.local_participant.publish_data(
                    payload, reliable=reliable, destination_identities=list(to), topic=topic
                )
        except (TimeoutError, PublishDataError):
            self._require_open()
            if reliable:
                raise ParticipantError(LossReason.TIMED_OUT, "the packet could not be sent") from None

    async def close(self) -> None:
        self.end(LossReason.CLOSED)
        if self._leaving is not None:
            await asyncio.wait([self._leaving], timeout=CLOSE_TIMEOUT)

    async def vanish(self) -> None:
        await self.close()  # the SDK always says goodbye

    # --- joining and leaving ----------------------------------------------------------------------------------------

    async def join(self, token: str) -> None:
        """Joins, to the end: not to be cancelled. A place that is not wanted any more by then is left."""
        options = rtc.RoomOptions(auto_subscribe=False)
        try:
            await self._fence.open()
            await self._room.connect(self._fence.url, token, options)
        except rtc.ConnectError as error:
            failure = explain(self._fence.failure or sdk_native.connect_failure(error), token, self._fence.date)
            self.end(failure.reason, failure.detail)
            await self._fence.close()
            return
        except OSError as error:
            self.end(LossReason.INTERNAL, f"no socket on loopback: {error.strerror}")
            return
        self._fence.shut()
        self._joined_at = monotonic()
        if self._closed is not None:
            await self._leave()
            return
        self.sid, self.identity = self._room.local_participant.sid, self._room.local_participant.identity
        self.room = self._room.name
        if self._options.room not in ("", self.room):
            self.end(LossReason.WRONG_ROOM)
            return
        self._tasks.spawn(self._watch(), "watch")
        self._tasks.spawn(self._watch_signalling(), "watch signalling")
        for person in self._room.remote_participants.values():
            for publication in person.track_publications.values():
                self._on_track_published(publication)
        self._tell(self._events.on_participants, self.remote)

    def end(self, reason: LossReason, detail: str = "") -> None:
        """The place is given up; leaving goes on in its own task. Ignored when it has ended already."""
        if self._closed is not None:
            return
        self._closed = Closed(reason, detail)
        self._fence.shut()
        log.debug("participant ended", room_name=self.room, reason=reason.code, detail=detail)
        if self._joined_at is not None:
            self._leaving = _keep(self._leave(), "leave")
        if self.handed_over:
            self._call(self._events.on_closed, self._closed)

    async def _leave(self) -> None:
        """Leaves the Room and frees what it does not free itself. Runs in tasks that nobody cancels."""
        await self._tasks.close()
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT):
                if self._room.isconnected():
                    since_joined = monotonic() - (self._joined_at or 0.0)
                    await asyncio.sleep(max(0.0, BURST - since_joined))
                    await self._room.disconnect()
                for stream in self._streams.values():
                    await stream.aclose()  # they never end by themselves (traps B2)
        except TimeoutError:
            log.warning("the SDK does not let go", room_name=self.room)
        self._streams.clear()
        for track in self._tracks:
            await track.release()
        await self._fence.close()

    def failure(self) -> ParticipantError | None:
        """Why the place is lost; None while it is held."""
        return None if self._closed is None else ParticipantError(self._closed.reason, self._closed.detail)

    def _require_open(self) -> None:
        if (failure := self.failure()) is not None:
            raise failure

    async def _watch(self) -> None:
        """Notices what the SDK does not say: that we stood still, and that nothing comes over the media path."""
        gap = min(self._options.loop_gap, GAP)
        limit = max(self._options.media_timeout, SHORTEST_MEDIA_TIMEOUT)
        signs, alive = 0, monotonic()
        while True:
            before = monotonic()
            await asyncio.sleep(WATCH_INTERVAL)
            stalled = monotonic() - before - WATCH_INTERVAL
            if stalled > gap:
                self.end(LossReason.FROZEN, f"for {stalled:.1f} s")
                return
            try:
                async with asyncio.timeout(limit):
                    seen = sdk_native.life_signs(await self._room.get_rtc_stats())
            except RuntimeError:  # not connected any more: why is about to be told
                seen = signs
            if seen != signs:
                signs, alive = seen, monotonic()
            elif monotonic() - alive > limit:
                self.end(LossReason.MEDIA_FAILED, f"nothing over the media path for {limit:g} s")
                return

    async def _watch_signalling(self) -> None:
        """The SDK would wait 14 s for a server that does not answer. When we stood still, its answer is yet unread."""
        interval, timeout = self._options.ping_interval / 2, self._options.pong_timeout
        while True:
            self._fence.ask()
            due = monotonic() + interval
            await asyncio.sleep(interval)
            if monotonic() - due < interval and self._fence.silent_for > timeout:
                self.end(LossReason.NETWORK, f"no pong for {timeout:g} s")
                return

    # --- what the SDK says ------------------------------------------------------------------------------------------

    def _on_data(self, packet: rtc.DataPacket) -> None:
        # Nameless, too, when it overtakes the news of its sender, which may come 3 s late (traps B7).
        sender = packet.participant.identity if packet.participant is not None else ""
        reliable = packet.kind == rtc.DataPacketKind.KIND_RELIABLE
        self._tell(self._events.on_packet, Packet(packet.data, packet.topic or "", sender, reliable))

    def _on_people(self, *_: object) -> None:
        self._tell(self._events.on_participants, self.remote)

    def _on_track_published(self, publication: rtc.RemoteTrackPublication, *_: object) -> None:
        # Asked for one by one, so that no video comes, nor sound that cannot be decoded.
        if self._options.subscribe_audio and publication.kind == rtc.TrackKind.KIND_AUDIO and self._closed is None:
            plain = publication.encryption_type == rtc.EncryptionType.NONE
            if plain and codec_of(publication.mime_type) in CODECS:
                publication.set_subscribed(True)
        self._on_people()

    def _on_track_subscribed(
        self, track: rtc.Track, publication: rtc.RemoteTrackPublication, sender: rtc.RemoteParticipant
    ) -> None:
        if track.kind != rtc.TrackKind.KIND_AUDIO or self._closed is not None:
            return
        stream = rtc.AudioStream.from_track(
            track=track, sample_rate=SAMPLE_RATE, num_channels=1, frame_size_ms=FRAME_MS, capacity=MAX_BLOCKS
        )
        self._streams[track.sid] = stream
        self._tasks.spawn(self._hear(stream, track.sid, sender.identity), "hear")

    async def _hear(self, stream: rtc.AudioStream, sid: str, sender: str) -> None:
        async for event in stream:
            self._tell(self._events.on_audio, AudioBlock(bytes(event.frame.data), sender, sid))

    def _on_track_unsubscribed(self, track: rtc.Track | None, publication: rtc.RemoteTrackPublication) -> None:
        stream = self._streams.pop(publication.sid, None)
        if stream is not None and self._closed is None:
            self._tasks.spawn(stream.aclose(), "close stream")

    def _on_disconnected(self, reason: rtc.DisconnectReason.ValueType) -> None:
        name = rtc.DisconnectReason.Name(reason) if reason in rtc.DisconnectReason.values() else str(reason)
        self.end(loss_reason(reason), f"the server says {name}")

    def _on_reconnecting(self) -> None:
        self.end(LossReason.NETWORK, "the SDK wants to resume")

    def _on_moved(self) -> None:
        self.end(LossReason.SERVER_SHUTDOWN, "the server has moved us to another room")

    # --- helpers ----------------------------------------------------------------------------------------------------

    def _tell(self, hear: Callable[[T], None], what: T) -> None:
        """Tells the listener; nothing comes after on_closed."""
        if self._closed is None:
            self._call(hear, what)

    def _call(self, hear: Callable[[T], None], what: T) -> None:
        # The boundary to foreign code: whatever a listener throws ends this place and no other.
        try:
            hear(what)
        except Exception as error:
            log.exception("listener failed", room_name=self.room)
            self.end(LossReason.INTERNAL, f"the listener threw {type(error).__name__}")

    def _task_failed(self, name: str, error: BaseException) -> None:
        if isinstance(error, ParticipantError):
            return  # a caller waits for that task, and is told
        if isinstance(error, TimeoutError):
            self.end(LossReason.NETWORK, "the SDK does not answer")
            return
        log.error("participant task failed", task=name, room_name=self.room, exc_info=error)
        self.end(LossReason.INTERNAL, f"{name}: {type(error).__name__}")


_HANDLERS: Mapping[Any, Callable[..., None]] = {
    "data_received": SdkParticipant._on_data,
    "participant_connected": SdkParticipant._on_people,
    "participant_disconnected": SdkParticipant._on_people,
    "track_published": SdkParticipant._on_track_published,
    "track_unpublished": SdkParticipant._on_people,
    "track_subscribed": SdkParticipant._on_track_subscribed,
    "track_unsubscribed": SdkParticipant._on_track_unsubscribed,
    "track_muted": SdkParticipant._on_people,
    "track_unmuted": SdkParticipant._on_people,
    "participant_permissions_changed": SdkParticipant._on_people,
    "disconnected": SdkParticipant._on_disconnected,
    "reconnecting": SdkParticipant._on_reconnecting,
    "moved": SdkParticipant._on_moved,
}
"""What we listen to."""


def _may_publish(permission: Any) -> bool:
    """Whether a microphone may be published; where nothing is told of permissions, it may."""
    if permission.ByteSize() == 0:
        return True
    sources = permission.can_publish_sources
    return bool(permission.can_publish) and (not sources or rtc.TrackSource.SOURCE_MICROPHONE in sources)
