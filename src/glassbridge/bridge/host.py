"""The shell around one user's room machine (core/room.py): does its effects, tells it what happened.

Every effect is begun at once and reports back as an event, so a step and its effects are one stretch without awaits,
and nothing can come between a decision and what it decides about.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from glassbridge.bridge.config import BridgeConfig
from glassbridge.bridge.flight import Passed
from glassbridge.bridge.seat import Seat
from glassbridge.bridge.speaker import Speakers
from glassbridge.bridge.stream import AudioStream
from glassbridge.core.machine import Record
from glassbridge.core.room import (
    AnnounceLeaving,
    Connect,
    Connected,
    Disconnect,
    Effect,
    EndStream,
    Event,
    Failed,
    Forget,
    GaveUp,
    Grant,
    HandOver,
    Join,
    Leave,
    Lost,
    MoveStream,
    Refuse,
    Room,
    RoomState,
    Shutdown,
    StreamEnded,
    StreamOpened,
    Tick,
    Ticket,
)
from glassbridge.core.values import Generation, LossReason, UserId
from glassbridge.livekit.participant import Connector, ParticipantError
from glassbridge.runtime.direct import DirectShell
from glassbridge.runtime.pulse import Pulse
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.runtime.world import World
from glassbridge.telemetry import metrics, traces
from glassbridge.telemetry.traces import Span, SpanRole
from glassbridge.wire import livekit_bridge_pb2 as pb

log = structlog.get_logger()

LETTING_GO: Final = 0.5
"""Seconds that a join waits for one that was called off to leave the server: arriving late it would kick ours out."""

Drain = Callable[[], Awaitable[None]]
"""Awaits the places that are still being left."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A join whose caller waits."""

    request: pb.JoinRoomRequest
    timeout: float
    answer: asyncio.Future[Refuse | None]


class RoomHost:
    """One user's room on this worker. `ended` hears of each place that was held and is no more."""

    def __init__(
        self,
        user: UserId,
        config: BridgeConfig,
        connector: Connector,
        drain: Drain,
        pulse: Pulse,
        speakers: Speakers,
        tasks: TaskGroup,
        tickets: Callable[[], Ticket],
        world: World,
        decided: Callable[..., None],
        ended: Callable[["RoomHost", LossReason], None],
        forget: Callable[["RoomHost"], None],
    ) -> None:
        self.user = user
        self.machine = Room(config.unclaimed, config.rejoin, world.chance)
        self._shell: DirectShell[Event] = DirectShell(
            self.machine, self._perform, Tick(), self._log_record, world.monotonic, self._log_decision
        )
        self._step = self._shell.step
        self.seat: Seat | None = None
        """Of the current join."""
        self.stream: AudioStream | None = None
        self._room_name = self._session_id = ""
        self._generation = Generation(0)
        """Of the last join, for the log of what still comes after its end."""
        self._world = world
        self._clock = world.monotonic
        self._config = config
        self._connector = connector
        self._drain = drain
        self._pulse = pulse
        self._speakers = speakers
        self._tasks = tasks
        self._tickets = tickets
        self._decided = decided
        self._ended = ended
        self._forget = forget
        self._asked: dict[Ticket, _Asked] = {}
        self._current: _Asked | None = None
        """The join that gave the current place, to join again with."""
        self._connecting: asyncio.Task[None] | None = None

    @property
    def unclaimed(self) -> float:
        """Seconds for which a place is held that no stream claims; 0.0 where there is none."""
        seat = self.seat
        if self.stream is not None or seat is None or seat.joined_at is None or not self.machine.state.holds_place:
            return 0.0
        return self._clock() - seat.joined_at

    @property
    def joining(self) -> bool:
        """Whether a join is under way, or one that was called off is being cleared away."""
        return self._connecting is not None and not self._connecting.done()

    @property
    def waiting(self) -> int:
        """Frames that wait for the cloud."""
        return self.seat.microphone.waiting if self.seat is not None else 0

    # ---- what the cloud asks for

    async def join(self, request: pb.JoinRoomRequest, timeout: float) -> Refuse | None:
        """Joins, replacing what is here; None: joined. A cancelled caller leaves nothing."""
        ticket = self._tickets()
        answer: asyncio.Future[Refuse | None] = asyncio.get_running_loop().create_future()
        self._asked[ticket] = _Asked(request, timeout, answer)
        self._room_name, self._session_id = request.room_name, request.session_id
        if self.machine.state is not RoomState.CLOSED:
            metrics.REPLACEMENTS.add()
            log.info(
                "Replacing existing session",
                user_id=self.user,
                session_id=request.session_id,
                state=self.machine.state.label,
                generation=self.machine.generation,
                by_generation=request.generation,
            )
        self._step(Join(ticket, Generation(request.generation)))
        try:
            return await answer
        except asyncio.CancelledError:
            self._step(GaveUp(ticket))
            raise
        finally:
            del self._asked[ticket]

    def leave(self, generation: Generation) -> Refuse | None:
        """Leaves the room; None: left."""
        ticket = self._tickets()
        return _answer(self._step(Leave(ticket, generation)), ticket)

    def open_stream(self, generation: Generation) -> AudioStream | Refuse:
        """A stream that is now the user's only one; the caller must call stream_ended()."""
        ticket = self._tickets()
        seat = self.seat
        if (no := _answer(self._step(StreamOpened(ticket, generation)), ticket)) is not None:
            return no
        assert seat is not None, "a granted stream belongs to a place"
        current = self.machine.generation
        received, say = (lambda: seat.microphone.received), seat.say
        self.stream = AudioStream(ticket, current, seat.microphone.claim(), received, say, self._config, seat.log)
        return self.stream

    def stream_ended(self, stream: AudioStream) -> None:
        """An audio stream is over."""
        if self.stream is stream:
            self.stream = None
        self._step(StreamEnded(stream.ticket))

    def hand_over(self) -> None:
        """Tells the cloud to take the user elsewhere; where no stream can tell it, the room is left at once."""
        self._step(HandOver())

    def woke(self) -> None:
        """This process has stalled: audio that waits for the stream is old."""
        if self.seat is not None:
            self.seat.silence_live()

    def shut_down(self) -> None:
        """Ends everything; the tasks of the group do the rest."""
        self._step(Shutdown())

    @property
    def passed(self) -> Passed | None:
        """What has come out of the room and gone to the cloud so far; None without a place."""
        if self.seat is None:
            return None
        sent = self.stream.sent if self.stream is not None else 0
        return self.user, self.machine.generation, self.seat.microphone.received, sent

    # ---- the shell

    def _log_record(self, record: Record[RoomState]) -> None:
        log.debug("room", user_id=self.user, generation=record.generation, **record.fields)

    def _log_decision(self, event: Event, effects: list[Effect]) -> None:
        """One line for each step that does something: what happened, what is done about it, where that leads."""
        if not effects:
            return
        current = self.machine.generation
        decision = {
            "generation": getattr(event, "generation", 0) or current or self._generation,
            "cause": _spelled(event),
            "action": ", ".join(map(_spelled, effects)),
            "result": self.machine.state.label,
        }
        log.info(
            "room decision",
            user_id=self.user,
            session_id=self._session_id,
            room_name=self._room_name,
            **decision,
        )
        self._decided(user_id=self.user, **decision)
        self._generation = current or self._generation

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Connect(place):
                self._connect(place)
            case Disconnect(_, reason):
                self._disconnect(reason)
            case Grant(ticket):
                self._reply(ticket, None)
            case Refuse(ticket):
                self._reply(ticket, effect)
            case AnnounceLeaving():
                if self.seat is not None:
                    self.seat.microphone.announce_leaving()
            case MoveStream():
                if self.stream is not None and self.seat is not None:
                    microphone = self.seat.microphone
                    self.stream.move(microphone.claim(), lambda: microphone.received, self.seat.say)
            case EndStream(_, reason):
                if self.stream is not None:
                    self.stream.end(reason)
                    self.stream = None
            case Forget():
                self._forget_when_settled()

    def _reply(self, ticket: Ticket, refusal: Refuse | None) -> None:
        asked = self._asked.get(ticket)
        if asked is not None and not asked.answer.done():
            asked.answer.set_result(refusal)

    def _connect(self, place: Ticket) -> None:
        asked = self._current = self._asked.get(place) or self._current
        assert asked is not None, "a place is joined for a caller, or once more for the same"
        self.seat = Seat(
            place,
            self.user,
            asked.request,
            asked.timeout,
            self._config,
            self._pulse,
            self._speakers,
            self._on_lost,
            self._world,
        )
        # One at a time: a join that was called off has let go before the next one begins.
        before = self._connecting if self.joining else None
        joining = self._take_seat(self.seat, before, again=place not in self._asked)
        self._connecting = self._tasks.spawn(joining, f"join:{self.user}")
        self._connecting.add_done_callback(partial(self._connect_done, place))

    async def _take_seat(self, seat: Seat, before: asyncio.Task[None] | None, *, again: bool) -> None:
        if before is not None:
            await asyncio.wait([before])
            with suppress(TimeoutError):
                async with asyncio.timeout(LETTING_GO):
                    await self._drain()
        try:
            with Span("connect to LiveKit", traces.current(), SpanRole.CLIENT):
                await (seat.connect_again if again else seat.connect)(self._connector)
        except ParticipantError as error:
            self._step(Failed(seat.ticket, error.reason, error.detail))
        else:
            seat.log.info("Joined LiveKit room", participant_count=seat.count)
            self._step(Connected(seat.ticket))

    def _connect_done(self, place: Ticket, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:  # our fault; the group's owner logs it
            self._step(Failed(place, LossReason.INTERNAL))
        if self.machine.state is RoomState.CLOSED:
            self._forget_when_settled()

    def _forget_when_settled(self) -> None:
        if not self.joining:
            self._forget(self)

    def _disconnect(self, reason: LossReason) -> None:
        seat, self.seat = self.seat, None
        if seat is None:
            return
        if seat.participant is None:
            if self._connecting is not None and self._connecting is not asyncio.current_task():
                self._connecting.cancel()
            return
        now = self._clock()
        held = round(now - (seat.joined_at or now), 3)
        seat.log.info(
            "Disconnected from LiveKit room",
            reason=reason.code,
            detail=seat.detail,
            held_s=held,
            received=seat.microphone.received,
            dropped=seat.microphone.dropped,
            stale=seat.microphone.stale,
            malformed=seat.microphone.malformed,
        )
        self._ended(self, reason)
        seat.give_up(reason)
        self._tasks.spawn(seat.leave(reason), f"leave:{self.user}")

    def _on_lost(self, place: Ticket, reason: LossReason, unheard: float) -> None:
        self._step(Lost(place, reason, unheard))


def _spelled(thing: Event | Effect) -> str:
    """An event or effect as the log says it: `lost (network)`."""
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in type(thing).__name__).strip()
    reason = getattr(thing, "reason", None)
    return f"{words} ({reason.code})" if reason is not None else words


def _answer(effects: list[Effect], ticket: Ticket) -> Refuse | None:
    """The refusal of a request that is answered in its own step; None: granted."""
    return next((e for e in effects if isinstance(e, Refuse) and e.ticket == ticket), None)
