"""Our own participant in a LiveKit room: the shell around core/signalling.py. aiohttp signals, aiortc carries media.

Deliberately absent: resuming (`reconnect=1` is never sent: traps A1), and STUN. TURN: livekit/relay.py.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from time import monotonic
from typing import Any, TypeVar

import aiohttp
import structlog
from aioice import Connection
from aiortc.rtcicetransport import candidate_from_aioice
from google.protobuf.message import Message
from livekit.protocol import models, rtc

from glassbridge.core.machine import Record
from glassbridge.core.signalling import (
    Broke,
    Effect,
    End,
    Event,
    Joined,
    JoinStage,
    Leave,
    Left,
    Limits,
    MediaAlive,
    MediaLost,
    MediaReady,
    Pong,
    Ready,
    Refused,
    SendPing,
    Signalling,
    SocketEnded,
    Tick,
)
from glassbridge.core.values import SAMPLE_RATE, LossReason
from glassbridge.livekit import signal
from glassbridge.livekit.media import Sound
from glassbridge.livekit.participant import (
    DEFAULT_OPTIONS,
    AudioBlock,
    Closed,
    ConnectOptions,
    InFlight,
    LocalTrack,
    Packet,
    ParticipantError,
    RemoteParticipant,
    RoomEvents,
)
from glassbridge.livekit.publisher import Publisher
from glassbridge.livekit.refused import Rejected, counted
from glassbridge.livekit.relay import Relay
from glassbridge.livekit.roster import Roster
from glassbridge.livekit.signal import JoinQuery, TrackRef, UserData
from glassbridge.livekit.subscriber import Subscriber
from glassbridge.livekit.upgrade import SignalSocket, is_loopback, open_socket
from glassbridge.runtime import tcp
from glassbridge.runtime.queues import BoundedQueue
from glassbridge.runtime.shell import Shell
from glassbridge.runtime.tasks import TaskGroup

log = structlog.get_logger()

MAX_PAYLOAD = 15_000
"""Bytes of a data packet's payload: what one SCTP message is sure to carry through the server."""
SEND_TIMEOUT = 2.0
"""Seconds that the socket may take a message; a socket that does not is as good as dead."""
ABANDON_TIMEOUT = 5.0
"""Seconds that an upgrade without a waiting caller may still take, in order to be left properly (traps A4)."""
CLOSE_TIMEOUT = 1.0
"""Seconds for each step of closing."""
MAX_WORK = 1_000
MAX_WORK_BYTES = 32 << 20
"""Messages of the server, and their bytes, that may wait until there is time for them."""

T = TypeVar("T")
_leaving: set["OwnParticipant"] = set()


async def connect(
    url: str, token: str, events: RoomEvents, options: ConnectOptions = DEFAULT_OPTIONS
) -> "OwnParticipant":
    """See Connector."""
    participant = OwnParticipant(events, options)
    participant.start(url, token)
    try:
        await participant.settled()
    except BaseException:
        participant.leave()
        raise
    return participant


async def drain_closing() -> None:
    """Returns when every place of this loop that is being left is left; takes as long as the slowest, 10 s at most."""
    loop = asyncio.get_running_loop()
    while mine := [participant for participant in _leaving if participant.loop is loop]:
        await asyncio.gather(*(participant.gone() for participant in mine))


class OwnParticipant:
    """A place in a room; see Participant. Made by connect()."""

    def __init__(self, events: RoomEvents, options: ConnectOptions) -> None:
        self.loop = asyncio.get_running_loop()
        self._events = events
        self._options = options
        limits = Limits(
            join=options.timeout,
            ping_interval=options.ping_interval,
            pong_timeout=options.pong_timeout,
            media_timeout=options.media_timeout,
            loop_gap=options.loop_gap,
        )
        self._machine = Signalling(limits, monotonic(), options.room, options.lag)
        self._shell: Shell[Event] = Shell(self._machine, self._perform, Tick(), self._log_record)
        self._tasks = TaskGroup("participant", self._task_failed)
        self._life = TaskGroup("participant", self._died)
        """The shell of the machine, and our end should it die."""
        self._http: aiohttp.ClientSession | None = None
        self._socket: SignalSocket | None = None
        self._upgraded = asyncio.Event()
        self._settled = asyncio.Event()
        self._gone = asyncio.Event()
        self._handed_over = False
        self._closed: Closed | None = None
        self._subscriber: Subscriber | None = None
        self._publisher: Publisher | None = None
        self._relay = Relay(options.relay)
        self._roster = Roster()
        self._subscribed: set[TrackRef] = set()
        """The tracks that we have asked for."""
        self._work = BoundedQueue[signal.Signal](MAX_WORK, MAX_WORK_BYTES)
        self.malformed = 0
        """Messages of the server that could not be read."""
        self.sid = self.identity = self.room = ""

    def __repr__(self) -> str:
        return f"<OwnParticipant {self.identity!r} in {self.room!r}: {self._machine.stage.name.lower()}>"

    # --- the interface ----------------------------------------------------------------------------------------------

    @property
    def closed(self) -> Closed | None:
        return self._closed

    @property
    def remote(self) -> Mapping[str, RemoteParticipant]:
        return self._roster.remote

    async def publish(self, name: str, rate: int = SAMPLE_RATE) -> LocalTrack:
        self._require_open()
        return await self._sending_side().publish(name, rate)

    async def send(self, payload: bytes, *, topic: str = "", reliable: bool = True, to: tuple[str, ...] = ()) -> None:
        if len(payload) > MAX_PAYLOAD:
            raise ValueError(f"a packet carries at most {MAX_PAYLOAD} bytes, not {len(payload)}")
        self._require_open()
        data = signal.encode_data(UserData(payload, topic, to=to), reliable=reliable)
        await self._sending_side().send(data, reliable=reliable)

    @property
    def waiting(self) -> int:
        return 0 if self._publisher is None else self._publisher.waiting

    @property
    def flight(self) -> InFlight | None:
        return None if self._publisher is None else self._publisher.flight

    @property
    def silent(self) -> float:
        return 0.0 if self._publisher is None else self._publisher.silent

    async def close(self) -> None:
        self.leave()
        await self.gone()

    async def vanish(self) -> None:
        """Ends as when the network goes away: no Leave, so the server takes us for present until it misses us."""
        if not self._gone.is_set():
            _leaving.add(self)
            self._shell.post(SocketEnded("cut off"))
        await self.gone()

    # --- what connect() and drain_closing() need --------------------------------------------------------------------

    def start(self, url: str, token: str) -> None:
        """Begins to join. Called once."""
        self._life.spawn(self._shell.run(), "shell")
        self._tasks.spawn(self._signal(url, token), "signal")

    async def settled(self) -> None:
        """Returns when joined. Raises ParticipantError when not. Safe to cancel."""
        await self._settled.wait()
        self._require_open()
        self._handed_over = True

    def leave(self) -> None:
        """Begins to leave; idempotent."""
        if not self._gone.is_set():
            _leaving.add(self)
            self._shell.post(Leave())

    async def gone(self) -> None:
        """Returns when everything is released. Safe to cancel: what goes on goes on."""
        await self._gone.wait()

    # --- the connections' ears: MediaListener and Link --------------------------------------------------------------

    def media_ready(self) -> None:
        self._shell.post(MediaReady())

    def media_alive(self, ago: float) -> None:
        self._shell.post(MediaAlive(ago))

    def media_lost(self, detail: str) -> None:
        self._shell.post(MediaLost(detail))

    def data_arrived(self, data: UserData, reliable: bool) -> None:
        self._tell(self._events.on_packet, Packet(data.payload, data.topic, data.sender, reliable, data.encrypted))

    def sound_arrived(self, track: TrackRef, sound: Sound) -> None:
        speaker = self._roster.speaker(track)
        # The server goes on with silence for half a second after a track was taken out: in the midst of its successor.
        if speaker is not None and track in self._subscribed:
            self._tell(self._events.on_audio, AudioBlock(sound.pcm, speaker, track.track_sid, sound.concealed))

    def lost(self) -> ParticipantError | None:
        return None if self._closed is None else ParticipantError(self._closed.reason, self._closed.detail)

    async def request(self, **field: Message) -> None:
        if self._socket is None:
            return
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await self._socket.send_bytes(signal.encode_request(**field))
        except TimeoutError:
            self._shell.post(SocketEnded(f"it takes no message for {SEND_TIMEOUT:g} s"))
        except (ConnectionError, aiohttp.ClientError):
            pass  # closed: the reader ends too, after the server's last word

    # --- effects ----------------------------------------------------------------------------------------------------

    async def _perform(self, effect: Effect) -> None:
        match effect:
            case SendPing():
                await self.request(ping_req=rtc.Ping(timestamp=int(monotonic() * 1000)))
            case Ready():
                self._settled.set()
                if self._options.publish_ready:
                    self._sending_side()
            case End():
                await self._end(effect)

    async def _end(self, end: End) -> None:
        """Releases everything. Runs in a task that nobody cancels: so it is never cut short."""
        _leaving.add(self)
        self._closed = Closed(end.reason, end.detail, end.unheard)
        self._settled.set()
        try:
            if self._handed_over:
                self._call(self._events.on_closed, self._closed)
            await _at_most(ABANDON_TIMEOUT, self._upgraded.wait())
            if end.say_leave:
                await self.request(leave=rtc.LeaveRequest(reason=models.CLIENT_INITIATED))
            if self._socket is not None:
                await _at_most(CLOSE_TIMEOUT, self._socket.close())
            await self._tasks.close(CLOSE_TIMEOUT)
            connections = (side.close() for side in (self._publisher, self._subscriber) if side is not None)
            await _at_most(CLOSE_TIMEOUT, *connections)
            if self._http is not None:
                await _at_most(CLOSE_TIMEOUT, self._http.close())
        finally:
            self._shell.stop()
            _leaving.discard(self)
            self._gone.set()

    def _died(self, _task: str, error: BaseException) -> None:
        """The shell of the machine has failed: nothing but we can end this place now."""
        log.error("participant machine failed", room_name=self.room, error=type(error).__name__, exc_info=error)
        if self._closed is None:
            end = End(LossReason.INTERNAL, type(error).__name__, say_leave=self._socket is not None)
            self._life.spawn(self._end(end), "end")

    # --- signalling -------------------------------------------------------------------------------------------------

    async def _signal(self, url: str, token: str) -> None:
        params = JoinQuery(auto_subscribe=False).params() | dict(self._options.extra)
        try:
            self._http, self._socket = await open_socket(url, token, params)
        except ParticipantError as error:
            self._shell.post(Refused(error.reason, error.detail))
            return
        finally:
            self._upgraded.set()
        self._subscriber = Subscriber(self, self._relay, loopback=is_loopback(self._socket))
        self._tasks.spawn(self._work_off(), "negotiate")
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                self._read(message.data)
            elif message.type is aiohttp.WSMsgType.ERROR:
                counted[Rejected.MESSAGE] += 1
                large = self._socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
                what = f"sends more than {signal.MAX_MESSAGE} bytes at once" if large else "breaks the protocol"
                self._shell.post(SocketEnded(f"the server {what}"))
                return
        self._shell.post(SocketEnded(f"close code {self._socket.close_code}"))

    def _read(self, data: bytes) -> None:
        """Takes one message, and never waits: slow work goes to _work_off()."""
        with self._unless_malformed():
            message = signal.decode_response(data)
            if (take := _NEWS.get(message.kind)) is not None:
                take(self, message.body)
            elif message.kind in _WORK and not self._work.put(message, message.body.ByteSize()):
                counted[Rejected.WORK] += 1
                self._shell.post(MediaLost("the server asks for more than can be done"))

    async def _work_off(self) -> None:
        """Does what takes time, in the order in which the server asks for it."""
        while True:
            message = await self._work.get()
            with self._unless_malformed():
                await _WORK[message.kind](self, message.body)

    @contextmanager
    def _unless_malformed(self) -> Iterator[None]:
        """A message that cannot be read is passed over; the first one is logged."""
        try:
            yield
        except signal.SignalError as error:
            counted[Rejected.UNREADABLE] += 1
            self.malformed += 1
            if self.malformed == 1:
                log.warning("signalling message refused", room_name=self.room, error=str(error))

    def _on_join(self, join: rtc.JoinResponse) -> None:
        if self.sid:
            return  # said twice: the first one counts
        self._relay.learn(join.ice_servers, self._round_trip)
        self.sid, self.identity, self.room = join.participant.sid, join.participant.identity, join.room.name
        may_hear = join.participant.permission.can_subscribe or not join.participant.HasField("permission")
        self._shell.post(Joined(self.room, may_hear))
        self._met([join.participant], join.other_participants)

    def _on_update(self, update: rtc.ParticipantUpdate) -> None:
        self._met(update.participants)

    def _on_subscription_permission(self, update: rtc.SubscriptionPermissionUpdate) -> None:
        self._roster.allow(TrackRef(update.participant_sid, update.track_sid), update.allowed)
        self._tell(self._events.on_participants, self.remote)

    async def _on_offer(self, offer: rtc.SessionDescription) -> None:
        signal.require_description(offer.sdp)
        if self._subscriber is None:
            return
        first = self._subscriber.ice is None
        await self.request(answer=await self._subscriber.answer(offer))
        if first and (ice := self._subscriber.ice) is not None:
            self._tasks.spawn(self._detour(ice, rtc.SUBSCRIBER), "detour in")

    async def _on_answer(self, answer: rtc.SessionDescription) -> None:
        signal.require_description(answer.sdp)
        if self._publisher is not None:
            self._publisher.answered(answer)

    async def _on_trickle(self, trickle: rtc.TrickleRequest) -> None:
        candidate = signal.parse_candidate_init(trickle.candidateInit)
        if candidate is None:
            return
        if trickle.target == rtc.SUBSCRIBER and self._subscriber is not None:
            await self._subscriber.add_candidate(candidate, final=trickle.final)
        elif trickle.target == rtc.PUBLISHER and self._publisher is not None:
            await self._publisher.add_candidate(candidate)

    async def _on_wish(self, wish: rtc.UpdateSubscription) -> None:
        await self.request(subscription=wish)

    def _on_track_published(self, published: rtc.TrackPublishedResponse) -> None:
        if self._publisher is not None:
            self._publisher.published(published.cid, published.track.sid)

    def _on_track_subscribed(self, subscribed: rtc.TrackSubscribed) -> None:
        if self._publisher is not None:
            self._publisher.subscribed(subscribed.track_sid)

    def _on_request_response(self, response: rtc.RequestResponse) -> None:
        if self._publisher is not None and response.HasField("add_track") and response.reason != rtc.RequestResponse.OK:
            reason = rtc.RequestResponse.Reason.Name(response.reason)
            self._publisher.refused(response.add_track.cid, f"the track is not accepted ({reason})")

    def _on_pong(self, pong: rtc.Pong) -> None:
        self._shell.post(Pong())

    def _on_leave(self, leave: rtc.LeaveRequest) -> None:
        reason = models.DisconnectReason.Name(leave.reason) if leave.reason in signal.LOSS_REASONS else leave.reason
        self._shell.post(Left(signal.loss_reason(leave.reason), f"the server says {reason}"))

    def _on_room_moved(self, moved: rtc.RoomMovedResponse) -> None:
        self._shell.post(Left(LossReason.SERVER_SHUTDOWN, "the server moves us to another room"))

    def _met(self, *told: Sequence[models.ParticipantInfo]) -> None:
        """Never as one list: 20,000 people as objects of Python take 10 MB, which the allocator keeps."""
        for person in chain(*told):
            if person.identity == self.identity and person.sid == self.sid and person.HasField("permission"):
                self._roster.permit(person.permission)
        self._roster.meet(person for person in chain(*told) if person.identity != self.identity)
        self._tell(self._events.on_participants, self.remote)
        if self._options.subscribe_audio:
            self._subscribe()

    def _subscribe(self) -> None:
        """Asks for the tracks that can be decoded, one by one: so no video comes."""
        wanted = self._roster.understood()
        dropped = {track for track in self._subscribed - wanted if self._roster.speaker(track) is not None}
        for tracks, subscribe in ((wanted - self._subscribed, True), (dropped, False)):
            if tracks:
                self._work.put(signal.Signal("wish", signal.subscription_wish(sorted(tracks), subscribe=subscribe)), 0)
        self._subscribed = wanted

    # --- helpers ----------------------------------------------------------------------------------------------------

    def _log_record(self, record: Record[JoinStage]) -> None:
        log.debug("participant stage", room_name=self.room, **record.fields)

    @property
    def _round_trip(self) -> float:
        """Seconds, of the signalling; 0 where it is not known."""
        raw = self._socket.get_extra_info("socket") if self._socket is not None else None
        trip = tcp.round_trip(raw) if raw is not None else None
        return 0.0 if trip is None else trip.now

    async def _detour(self, ice: Connection, target: rtc.SignalTarget) -> None:
        """Offers the address at a TURN server to LiveKit, where the connection needs one."""
        if (candidate := await self._relay.stand_by(ice)) is not None:
            offered = candidate_from_aioice(candidate)
            offered.sdpMid, offered.sdpMLineIndex = "0", 0
            trickle = rtc.TrickleRequest(candidateInit=signal.candidate_init(offered), target=target)
            await self.request(trickle=trickle)

    def _sending_side(self) -> Publisher:
        if self._publisher is None:
            loopback = self._socket is not None and is_loopback(self._socket)
            self._publisher = Publisher(
                self, self._tasks, self._relay, loopback=loopback, catch_up=self._options.catch_up
            )
            self._tasks.spawn(self._detour(self._publisher.ice, rtc.PUBLISHER), "detour out")
        return self._publisher

    def _require_open(self) -> None:
        if (lost := self.lost()) is not None:
            raise lost

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
            self._shell.post(Broke(f"the listener threw {type(error).__name__}"))

    def _task_failed(self, name: str, error: BaseException) -> None:
        if isinstance(error, ParticipantError):
            self._shell.post(MediaLost(error.detail))
        else:
            self._shell.post(Broke(f"{name}: {type(error).__name__}"))
            log.error("participant task failed", task=name, room_name=self.room, exc_info=error)


_NEWS: Mapping[str, Callable[[OwnParticipant, Any], None]] = {
    "join": OwnParticipant._on_join,
    "update": OwnParticipant._on_update,
    "subscription_permission_update": OwnParticipant._on_subscription_permission,
    "track_published": OwnParticipant._on_track_published,
    "track_subscribed": OwnParticipant._on_track_subscribed,
    "request_response": OwnParticipant._on_request_response,
    "pong_resp": OwnParticipant._on_pong,
    "leave": OwnParticipant._on_leave,
    "room_moved": OwnParticipant._on_room_moved,
}
"""What the reader takes at once."""

_WORK: Mapping[str, Callable[[OwnParticipant, Any], Coroutine[Any, Any, None]]] = {
    "offer": OwnParticipant._on_offer,
    "answer": OwnParticipant._on_answer,
    "trickle": OwnParticipant._on_trickle,
    "wish": OwnParticipant._on_wish,
}
"""What takes time; everything else that a server says is safe to pass over."""


async def _at_most(seconds: float, *steps: Awaitable[object]) -> None:
    """Does steps of closing side by side; one that fails or takes too long does not keep the rest from being done."""
    try:
        async with asyncio.timeout(seconds):
            done = await asyncio.gather(*steps, return_exceptions=True)
    except TimeoutError:
        log.warning("closing takes too long", seconds=seconds)
        return
    for error in done:
        if isinstance(error, BaseException):
            log.warning("closing failed", error=type(error).__name__)
