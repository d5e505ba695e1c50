"""Does what core/phone_place.py decides: takes a place in the LiveKit room with a fresh token of the cloud, speaks
through it, leaves it."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

import aiohttp
import msgspec
import structlog

from glassbridge.core.phone_place import PlaceFailed, PlaceJoined, PlaceLeft, PlaceLost
from glassbridge.core.values import Generation, LossReason
from glassbridge.livekit.participant import (
    AudioBlock,
    Closed,
    ConnectOptions,
    Connector,
    InFlight,
    LocalTrack,
    Packet,
    Participant,
    ParticipantError,
    RemoteParticipant,
)
from glassbridge.phone.events import AgentChanged, PhoneEvent, RoomChanged
from glassbridge.phone.hearing import Hearing, SoundSink
from glassbridge.runtime.answers import TooLong, read_all
from glassbridge.runtime.tasks import TaskGroup, cancelled
from glassbridge.runtime.unreachable import stay, why
from glassbridge.runtime.world import World

log = structlog.get_logger()

TOKEN_PATH = "/api/client/livekit/token"  # noqa: S105 - a path
TOKEN_TIMEOUT = 5.0
MAX_ANSWER = 64 << 10
"""Bytes of the cloud's answer: it may be somebody else's."""
GOODBYE = 1.5
"""Seconds that a goodbye may take before the next join."""
CUT = 0.25
"""The same if nothing is announced; whatever is still to be released is released in the background."""
CATCH_UP = 2.0
"""Seconds that the sound of the microphone's track may be late, on a busy phone, without a hole in it."""
MAX_WAITING = 4 << 10
"""Bytes that may wait for the room; audio that waits there longer is better sent another way."""
AGENT = "cloud-agent:"


class _Ticket(msgspec.Struct):
    url: str
    token: str
    room: str

    def __repr__(self) -> str:
        return f"_Ticket(room={self.room!r})"


class _Answer(msgspec.Struct):
    data: _Ticket


_answer = msgspec.json.Decoder(_Answer)


class NoTicket(Exception):
    """The cloud gave no token for the room; the text holds no secret."""


async def fetch_ticket(world: World, base: str, core_token: str) -> _Ticket:
    """Asks the cloud at `base` for the way into the phone's room. Raises NoTicket. Safe to cancel."""
    headers = {"Authorization": f"Bearer {core_token}"}
    try:
        async with (
            asyncio.timeout(TOKEN_TIMEOUT),
            world.http(tune=lambda _: None, trust_env=True, middlewares=(stay,)) as http,
            http.get(base + TOKEN_PATH, headers=headers) as answer,
        ):
            if answer.status != 200:
                raise NoTicket(f"the cloud gives no LiveKit token (status {answer.status})")
            return _answer.decode(await read_all(answer.content, MAX_ANSWER)).data
    except (msgspec.DecodeError, TooLong):
        raise NoTicket("the cloud's answer holds no LiveKit token") from None
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise NoTicket(f"the cloud does not answer ({why(error)})") from None


class _Ears:
    """What happens in one place."""

    def __init__(self, tell: Callable[[PhoneEvent], None], hearing: Hearing) -> None:
        self.closed: asyncio.Future[Closed] = asyncio.get_running_loop().create_future()
        self.agent = False
        self._tell = tell
        self._hearing = hearing

    def on_packet(self, packet: Packet) -> None:
        """Phones get no data packets."""

    def on_audio(self, block: AudioBlock) -> None:
        if (heard := self._hearing.take(block.track_sid, block.pcm)) is not None:
            self._tell(heard)

    def on_participants(self, remote: Mapping[str, RemoteParticipant]) -> None:
        self.agent_is_here(any(identity.startswith(AGENT) for identity in remote))

    def agent_is_here(self, present: bool) -> None:
        if present != self.agent:
            self.agent = present
            self._tell(AgentChanged(present))

    def on_closed(self, closed: Closed) -> None:
        if not self.closed.done():
            self.closed.set_result(closed)


class Room:
    """Holds one place at a time. `post` gets its events; `tasks` must live until its clean-up is done."""

    def __init__(
        self,
        tell: Callable[[PhoneEvent], None],
        post: Callable[[PlaceJoined | PlaceFailed | PlaceLost | PlaceLeft], None],
        connect: Connector,
        tasks: TaskGroup,
        world: World,
        lag: Callable[[], float],
    ) -> None:
        """`lag` is that of ConnectOptions."""
        self.where: tuple[str, str] | None = None
        """URL and name of the room of the newest place."""
        self._tell = tell
        self._post = post
        self._connect = connect
        self._tasks = tasks
        self._world = world
        self._lag = lag
        self._holding: asyncio.Task[None] | None = None
        self._goodbye = True
        """Say it when the place is left."""
        self._participant: Participant | None = None
        self._track: LocalTrack | None = None
        self._publishing: asyncio.Task[None] | None = None
        self._hearing = Hearing()

    @property
    def joined(self) -> bool:
        return self._participant is not None and self._participant.closed is None

    @property
    def silent(self) -> float:
        """Seconds for which nothing was acknowledged although data is on its way; 0.0 if that is not known."""
        return 0.0 if self._participant is None else self._participant.silent

    @property
    def flight(self) -> InFlight | None:
        """The data packets that are on their way; None if that is not known."""
        return None if self._participant is None else self._participant.flight

    @property
    def heard_ms(self) -> int:
        """Milliseconds of sound that came out of rooms so far."""
        return self._hearing.ms

    def keep(self, keeper: SoundSink) -> None:
        """It gets all that is heard from now on."""
        self._hearing.keeper = keeper

    def join(self, place: Generation, base: str, core_token: str) -> None:
        """Begins to take a place with a token of the cloud at `base`; the one before must have been left."""
        self._goodbye = True
        self._holding = self._tasks.spawn(self._hold(place, base, core_token), f"place-{place}")

    async def leave(self, place: Generation, *, goodbye: bool) -> None:
        """Leaves the place, or gives up the join, and says so."""
        self._goodbye = goodbye
        if self._holding is not None:
            await cancelled(self._holding)
        self._post(PlaceLeft(place))

    async def vanish(self) -> None:
        """Drops the place without telling the server, if the participant can do that."""
        if self._participant is not None:
            await self._participant.vanish()

    async def _hold(self, place: Generation, base: str, core_token: str) -> None:
        ears = _Ears(self._tell, self._hearing)
        try:
            ticket = await fetch_ticket(self._world, base, core_token)
            self.where = ticket.url, ticket.room
            options = ConnectOptions(room=ticket.room, catch_up=CATCH_UP, lag=self._lag)
            participant = await self._connect(ticket.url, ticket.token, ears, options)
        except NoTicket as error:
            self._fail(place, str(error))
        except ParticipantError as error:
            log.warning("cannot join the room", place=place, reason=error.reason.code, detail=error.detail)
            self._fail(place, error.reason.text)
        else:
            reason = await self._stay(place, participant, ears)
            self._post(PlaceLost(place, reason))

    def _fail(self, place: Generation, reason: str) -> None:
        self._tell(RoomChanged("failed", reason=reason))
        self._post(PlaceFailed(place, reason))

    async def _stay(self, place: Generation, participant: Participant, ears: _Ears) -> LossReason:
        self._participant = participant
        try:
            self._tell(RoomChanged("joined", participant.room))
            self._post(PlaceJoined(place))
            ears.on_participants(participant.remote)
            return (await ears.closed).reason
        finally:
            self._participant = self._track = None
            lost = participant.closed
            leaving = participant.vanish() if lost or not self._goodbye else participant.close()
            released = self._tasks.spawn(leaving, f"leave-{place}")
            ears.agent_is_here(False)
            text = lost.reason.text if lost else ""
            self._tell(RoomChanged("lost" if lost else "left", participant.room, text))
            await asyncio.wait((released,), timeout=GOODBYE if self._goodbye and not lost else CUT)

    async def send(self, payload: bytes, topic: str, *, timeout: float) -> bool:
        """A lossy packet to all; False when the place is lost, or the link takes no more now. Safe to cancel."""
        participant = self._participant
        if participant is None or participant.waiting > MAX_WAITING:
            return False
        try:
            async with asyncio.timeout(timeout):
                await participant.send(payload, topic=topic, reliable=False)
        except (ParticipantError, TimeoutError):
            return False
        return True

    async def write(self, frame: bytes, *, timeout: float) -> bool:
        """20 ms of sound on the microphone track, which is published first; False when the place is lost."""
        participant = self._participant
        if participant is None:
            return False
        try:
            async with asyncio.timeout(timeout):
                if self._track is None:
                    self._track = await participant.publish("microphone")
                await self._track.write(frame)
        except (ParticipantError, TimeoutError):
            return False
        return True

    @property
    def has_track(self) -> bool:
        """A microphone track is published."""
        return self._track is not None

    def prepare_track(self, timeout: float) -> None:
        """Publishes the microphone track while nothing waits for it."""
        publishing = self._publishing is not None and not self._publishing.done()
        if self._participant is not None and self._track is None and not publishing:
            self._publishing = self._tasks.spawn(self._publish(self._participant, timeout), "publish")

    async def _publish(self, participant: Participant, timeout: float) -> None:
        with suppress(ParticipantError, TimeoutError):
            async with asyncio.timeout(timeout):
                track = await participant.publish("microphone")
            if participant is self._participant:
                self._track = track

    async def unpublish(self, *, timeout: float) -> None:
        """Ends the microphone track after its last sound; nothing when there is none."""
        track, self._track = self._track, None
        if track is None:
            return
        with suppress(ParticipantError, TimeoutError):
            async with asyncio.timeout(timeout):
                await track.drain()
                await track.unpublish()
