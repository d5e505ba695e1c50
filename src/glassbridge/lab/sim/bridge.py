"""A bridge's worker: what bridge/service.py, rooms.py and host.py do around the real room machine."""

from functools import partial
from itertools import count
from typing import Any

from glassbridge.bridge.config import BridgeConfig
from glassbridge.core.diagnosis import BridgeSays
from glassbridge.core.recovery import BridgeFault
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
    Refuse,
    Room,
    RoomState,
    Shutdown,
    StreamEnded,
    StreamOpened,
    Tick,
    Ticket,
)
from glassbridge.core.values import Generation, LossReason, UserId, agent_identity
from glassbridge.lab.sim.livekit import Frame, LiveKit, Participant, Token
from glassbridge.lab.sim.net import Link
from glassbridge.lab.sim.rpc import ServerCall
from glassbridge.lab.sim.world import Alarm, Process, World

CONFIG = BridgeConfig()
ANSWER_MARGIN = 0.1
"""Seconds of a caller's deadline that are kept back to answer it."""
LETTING_GO = (0.0, 0.1)
"""Seconds that a join which was called off needs to be out of the way."""


class Worker:
    """One worker process of a bridge."""

    def __init__(self, world: World, name: str) -> None:
        self.process = Process(world, name)
        self.process.boot = self._boot
        self.hosts: dict[UserId, Host] = {}
        self.memory: dict[UserId, LossReason] = {}
        self.tickets = count(1)
        self.draining = False
        self.livekit: LiveKit
        self.link: Link
        """To LiveKit."""
        self.watchful = True
        """Its participants watch their paths, as ours do; the SDK's are blind for 14 s."""

    def _boot(self) -> None:
        self.hosts = {}
        self.memory = {}
        self.tickets = count(1)
        self.draining = False

    def stop(self) -> None:
        """SIGTERM: tells the clouds to take their users elsewhere, waits a while, leaves what is left, ends."""
        if self.process.awake and not self.draining:
            self.process.note("stopping")
            self.draining = True
            for host in list(self.hosts.values()):
                host.step(HandOver())
            self._stop_when_empty(self.process.clock() + CONFIG.drain)

    def _stop_when_empty(self, deadline: float) -> None:
        if self.hosts and self.process.clock() < deadline:
            self.process.after(0.05, self._stop_when_empty, deadline)
            return
        for host in list(self.hosts.values()):
            host.step(Shutdown())
        self.process.after(0.1, self.process.kill)

    # ---- its calls

    def join(self, call: ServerCall, user: UserId, generation: Generation, token: Token, limit: float) -> None:
        """JoinRoom; `limit` is what the caller gives it, in seconds."""
        if self.draining:
            call.answer((False, LossReason.CLOSED, Generation(0)))
            return
        self.process.note("JoinRoom", user, generation)
        host = self.hosts.get(user)
        if host is None:
            host = self.hosts[user] = Host(self, user)
        host.join(call, generation, token, min(CONFIG.join_timeout, max(limit - ANSWER_MARGIN, limit * 0.8)))

    def leave(self, call: ServerCall, user: UserId, generation: Generation) -> None:
        """LeaveRoom."""
        self.process.note("LeaveRoom", user, generation)
        host = self.hosts.get(user)
        if host is not None:
            host.ask(generation, Leave(self.ticket(), generation))
        call.answer(None)

    def status(self, call: ServerCall, user: UserId) -> None:
        """GetStatus: (generation, connected, reason of the last end, what the diagnosis is told)."""
        host = self.hosts.get(user)
        last = self.memory.get(user)
        if host is None or host.seat is None or not host.seat.joined:
            call.answer((Generation(0), False, last, BridgeSays(in_room=False)))
            return
        machine = host.machine
        age = None if host.heard_at is None else self.process.clock() - host.heard_at
        says = BridgeSays(machine.state.holds_place, age, host.phone_here, False)
        call.answer((machine.generation, machine.state.holds_place, last, says))

    def stream(self, call: ServerCall, user: UserId, generation: Generation) -> None:
        """StreamAudio."""
        host = self.hosts.get(user)
        if host is None:
            call.answer(LossReason.STREAM_BROKEN)
        else:
            host.open_stream(call, generation)

    def health(self, call: ServerCall) -> None:
        """HealthCheck: rooms, and whether new ones are welcome."""
        call.answer(
            (sum(host.machine.state is not RoomState.CLOSED for host in self.hosts.values()), not self.draining)
        )

    def ticket(self) -> Ticket:
        """The next number of a join, stream or request."""
        return Ticket(next(self.tickets))


class Host:
    """One user's room on one worker."""

    def __init__(self, worker: Worker, user: UserId) -> None:
        self.worker = worker
        self.process = worker.process
        self.user = user
        self.machine = Room(CONFIG.unclaimed)
        self.seat: Participant | None = None
        self.stream: tuple[Ticket, ServerCall] | None = None
        self.heard_at: float | None = None
        self.phone_here = False
        self.leaving = False
        self._alarm = Alarm(self.process, self._tick)
        self._asked: dict[Ticket, tuple[ServerCall, Token, float]] = {}
        self._busy_until = 0.0
        """A join that was called off is out of the way by then."""

    # ---- what the cloud asks for

    def join(self, call: ServerCall, generation: Generation, token: Token, timeout: float) -> None:
        """Joins, replacing what is here."""
        ticket = self.worker.ticket()
        self._asked[ticket] = (call, token, timeout)
        call.on_cancel = partial(self._caller_gave_up, ticket)
        self.ask(generation, Join(ticket, generation))

    def _caller_gave_up(self, ticket: Ticket) -> None:
        self._asked.pop(ticket, None)
        self.step(GaveUp(ticket))

    def ask(self, generation: Generation, event: Event) -> list[Effect]:
        """One step for a request that carries a generation: the checkers hear when an older one touches the place."""
        machine = self.machine
        place, current = machine.place, machine.generation
        held = machine.state in (RoomState.JOINING, RoomState.JOINED)
        effects = self.step(event)
        if held and 0 < generation < current and machine.place != place:
            self.process.note("older won", self.user, f"{generation} touched {current}")
        return effects

    def open_stream(self, call: ServerCall, generation: Generation) -> None:
        """A stream that is now the user's only one."""
        ticket = self.worker.ticket()
        effects = self.ask(generation, StreamOpened(ticket, generation))
        refusal = next((e for e in effects if isinstance(e, Refuse) and e.ticket == ticket), None)
        if refusal is not None:
            call.answer(refusal.reason or LossReason.STREAM_BROKEN)
            return
        self.stream = (ticket, call)
        call.on_cancel = partial(self._stream_ended, ticket)
        self._tell_news()

    def _stream_ended(self, ticket: Ticket) -> None:
        if self.stream is not None and self.stream[0] == ticket:
            self.stream = None
        self.step(StreamEnded(ticket))

    # ---- the shell

    def step(self, event: Event, now: float | None = None) -> list[Effect]:
        """One step of the machine, with its effects."""
        effects = self.machine.step(event, self.process.clock() if now is None else now)
        for record in self.machine.records:
            self.process.note(
                "room",
                self.user,
                f"{record.old.label} -> {record.new.label}",
                record.event,
                record.generation,
                record.cause,
            )
        self.machine.records.clear()
        for effect in effects:
            self._perform(effect)
        self._alarm.set(self.machine.next_deadline())
        return effects

    def _tick(self, now: float) -> None:
        self.step(Tick(), now)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Connect(place):
                self._connect(place)
            case Disconnect(_, reason):
                self._disconnect(reason)
            case AnnounceLeaving():
                self.leaving = True
                self._tell_news()
            case Grant(ticket):
                self._answer(ticket, (True, None, Generation(0)))
            case Refuse(ticket):
                self._answer(ticket, (False, effect.reason or LossReason.INTERNAL, self.machine.generation))
            case EndStream(stream, reason):
                if self.stream is not None and self.stream[0] == stream:
                    call, self.stream = self.stream[1], None
                    call.answer(BridgeFault.DIED if self.worker.draining else reason)
            case Forget():
                if self.worker.hosts.get(self.user) is self:
                    del self.worker.hosts[self.user]

    def _answer(self, ticket: Ticket, answer: Any) -> None:
        asked = self._asked.get(ticket)
        if asked is not None:
            asked[0].answer(answer)

    def _connect(self, place: Ticket) -> None:
        _, token, timeout = self._asked[place]
        self.phone_here, self.heard_at = False, None
        self.seat = seat = Participant(
            self.process,
            self.worker.link,
            self.worker.livekit,
            token,
            on_packet=self._heard,
            on_closed=partial(self._lost, place),
            on_update=self._updated,
            watchful=self.worker.watchful,
        )
        wait = max(0.0, self._busy_until - self.process.clock())
        self.process.after(wait, self._take_seat, seat, place, timeout)

    def _take_seat(self, seat: Participant, place: Ticket, timeout: float) -> None:
        if not seat.closed:
            seat.connect(timeout, partial(self._connected, place))

    def _connected(self, place: Ticket, failure: LossReason | None) -> None:
        self.step(Connected(place) if failure is None else Failed(place, failure))
        self._asked.pop(place, None)

    def _lost(self, place: Ticket, reason: LossReason) -> None:
        self.step(Lost(place, reason))

    def _disconnect(self, reason: LossReason) -> None:
        seat, self.seat = self.seat, None
        if seat is None:
            return
        if seat.joined:
            self.worker.memory[self.user] = reason
        else:
            self._busy_until = self.process.clock() + self.process.world.chance.uniform(*LETTING_GO)
        seat.close()

    # ---- what the room says

    def _heard(self, frame: Frame, sender: str) -> None:
        if sender != self.user:
            return
        self.heard_at = self.process.clock()
        if self.stream is not None and self.process.world.now - frame.sent <= CONFIG.max_age:
            self.stream[1].message(frame)

    def _updated(self, present: tuple[str, ...]) -> None:
        here = self.user in present
        if here != self.phone_here:
            self.phone_here = here
            self._tell_news()

    def _tell_news(self) -> None:
        if self.stream is not None:
            self.stream[1].message((self.phone_here, self.leaving))

    # ---- for the checkers

    def stuck(self) -> str:
        """Why nothing will ever happen here, empty when something will."""
        if self.machine.state is RoomState.JOINING and (self.seat is None or self.seat.closed):
            return "a join that nobody carries out"
        if self.machine.state is RoomState.JOINED and self.stream is None and not self._alarm.is_set:
            return "a room without a stream and without a deadline"
        return ""


def agent_token(user: UserId, minted_ms: int, life: float) -> Token:
    """What a cloud gives a bridge for one join."""
    return Token(str(user), agent_identity(user), minted_ms + int(life * 1000))
