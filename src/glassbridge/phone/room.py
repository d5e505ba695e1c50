"""The phone's place in its LiveKit room: a token from the current cloud, one join after the other, the old room left
before a new one is taken (two places of one phone would fight for the identity)."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Protocol, runtime_checkable

import aiohttp
import msgspec
import structlog

from glassbridge.core.backoff import Backoff
from glassbridge.livekit.participant import (
    AudioBlock,
    Closed,
    ConnectOptions,
    Connector,
    LocalTrack,
    Packet,
    Participant,
    ParticipantError,
    RemoteParticipant,
)
from glassbridge.phone.events import AgentChanged, PhoneEvent, RoomChanged
from glassbridge.phone.hearing import Hearing

log = structlog.get_logger()

TOKEN_PATH = "/api/client/livekit/token"  # noqa: S105 - a path
TOKEN_TIMEOUT = 5.0
SETTLED = 5.0
"""Seconds in the room after which a join counts as a success."""
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


@runtime_checkable
class CanVanish(Protocol):
    """A participant that can go without telling the server."""

    async def vanish(self) -> None: ...


class NoTicket(Exception):
    """The cloud gave no token for the room; the text holds no secret."""


async def fetch_ticket(base: str, core_token: str) -> _Ticket:
    """Asks the cloud at `base` for the way into the phone's room. Raises NoTicket. Safe to cancel."""
    headers = {"Authorization": f"Bearer {core_token}"}
    try:
        async with (
            asyncio.timeout(TOKEN_TIMEOUT),
            aiohttp.ClientSession() as http,
            http.get(base + TOKEN_PATH, headers=headers) as answer,
        ):
            if answer.status != 200:
                raise NoTicket(f"the cloud gives no LiveKit token (status {answer.status})")
            return _answer.decode(await answer.read()).data
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise NoTicket(f"the cloud does not answer ({type(error).__name__})") from None
    except msgspec.DecodeError:
        raise NoTicket("the cloud's answer holds no LiveKit token") from None


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
        if (heard := self._hearing.take(block.pcm)) is not None:
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
    """Keeps a place while `keep` runs; cancelling it leaves the room."""

    def __init__(self, tell: Callable[[PhoneEvent], None], connect: Connector, backoff: Backoff) -> None:
        self._tell = tell
        self._connect = connect
        self._backoff = backoff
        self._participant: Participant | None = None
        self._track: LocalTrack | None = None
        self._hearing = Hearing()
        self._one_at_a_time = asyncio.Lock()

    @property
    def joined(self) -> bool:
        return self._participant is not None and self._participant.closed is None

    @property
    def heard_ms(self) -> int:
        """Milliseconds of sound that came out of rooms so far."""
        return self._hearing.ms

    async def vanish(self) -> None:
        """The place is lost without a word to the server, where the participant can do that."""
        participant: object = self._participant
        if isinstance(participant, CanVanish):
            await participant.vanish()

    async def keep(self, base: str, core_token: str) -> None:
        """Joins, and joins again with a fresh token whenever the place is lost, until cancelled."""
        async with self._one_at_a_time:
            self._backoff.reset()
            while True:
                await asyncio.sleep(self._backoff.next_delay())
                try:
                    await self._stay(await fetch_ticket(base, core_token))
                except NoTicket as error:
                    self._tell(RoomChanged("failed", reason=str(error)))
                except ParticipantError as error:
                    log.warning("cannot join the room", reason=error.reason.code, detail=error.detail)
                    self._tell(RoomChanged("failed", reason=error.reason.text))

    async def _stay(self, ticket: _Ticket) -> None:
        """Joins and stays until the place is lost. Raises ParticipantError when there is none to be had."""
        ears = _Ears(self._tell, self._hearing)
        participant = await self._connect(ticket.url, ticket.token, ears, ConnectOptions(room=ticket.room))
        joined_at = monotonic()
        self._participant = participant
        try:
            self._tell(RoomChanged("joined", ticket.room))
            ears.on_participants(participant.remote)
            await ears.closed
        finally:
            self._participant = self._track = None
            lost = participant.closed
            try:
                await participant.close()
            finally:
                ears.agent_is_here(False)
                self._tell(RoomChanged("lost" if lost else "left", ticket.room, lost.reason.text if lost else ""))
        if monotonic() - joined_at >= SETTLED:
            self._backoff.reset()

    async def send(self, payload: bytes, topic: str, *, timeout: float) -> bool:
        """A lossy packet to all; False when the place is lost. Safe to cancel."""
        participant = self._participant
        if participant is None:
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

    async def unpublish(self, *, timeout: float) -> None:
        """Ends the microphone track after its last sound; nothing when there is none."""
        track, self._track = self._track, None
        if track is None:
            return
        with suppress(ParticipantError, TimeoutError):
            async with asyncio.timeout(timeout):
                await track.drain()
                await track.unpublish()
