"""The room machine against the books of a bridge: who holds a place, who waits for an answer, whose stream is open."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from glassbridge.core.room import (
    UNCLAIMED,
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
from glassbridge.core.values import Generation, LossReason

GENERATIONS = st.integers(0, 6).map(Generation)
LATE = st.integers(0, 4)


class RoomModel(RuleBasedStateMachine):
    """Books only: it draws tickets, answers for LiveKit, and holds the machine to what no bridge may do."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Room()
        self.now = 50.0
        self.tickets = 0
        self.joins: list[Ticket] = []
        self.waiting: set[Ticket] = set()
        """Joins whose caller has no answer yet."""
        self.connecting: Ticket | None = None
        self.held: Ticket | None = None
        self.streams: list[Ticket] = []
        self.open: Ticket | None = None
        self.ending: Ticket | None = None
        """It was told to end; once more does no harm."""
        self.generation = 0
        self.idle_since: float | None = None

    def ticket(self) -> Ticket:
        self.tickets += 1
        return Ticket(self.tickets)

    def step(self, event: Event) -> list[Effect]:
        before = self.machine.state
        effects = self.machine.step(event, self.now)
        for effect in effects:
            self.book(effect)
        if self.machine.state is not before and self.machine.state in (RoomState.JOINED, RoomState.LOST):
            self.idle_since = self.now
        return effects

    def book(self, effect: Effect) -> None:
        match effect:
            case Connect(place):
                assert self.connecting is None, "a second join while one is under way"
                assert self.held is None, "two places of one user"
                self.connecting = place
            case Disconnect(place):
                assert place in (self.connecting, self.held), "a place is left that is not ours"
                self.connecting = self.held = None
            case Grant(ticket) | Refuse(ticket):
                if ticket in self.joins:
                    assert ticket in self.waiting, "a join is answered twice"
                    self.waiting.discard(ticket)
            case AnnounceLeaving(stream):
                assert stream == self.open, "somebody else is told"
            case EndStream(stream):
                assert stream in (self.open, self.ending), "a stream is ended that is not open"
                self.open, self.ending = None, stream
            case Forget():
                assert self.machine.state is RoomState.CLOSED

    # ---- clouds

    @rule(generation=GENERATIONS)
    def join(self, generation: Generation) -> None:
        ticket, held = self.ticket(), (self.connecting, self.held)
        self.joins.append(ticket)
        self.waiting.add(ticket)
        older = 0 < generation < self.machine.generation
        effects = self.step(Join(ticket, generation))
        if older:
            assert [type(effect) for effect in effects] == [Refuse]
            assert (self.connecting, self.held) == held, "an older join touched a newer place"
        else:
            assert self.connecting == ticket

    @rule(generation=GENERATIONS)
    def leave(self, generation: Generation) -> None:
        here, matches = self.machine.state is not RoomState.CLOSED, generation in (0, self.machine.generation)
        held = (self.connecting, self.held)
        answer = self.step(Leave(self.ticket(), generation))[0]
        assert isinstance(answer, Grant if here and matches else Refuse)
        if isinstance(answer, Refuse):
            assert (self.connecting, self.held) == held, "a refused leave touched the place"

    @rule(late=LATE)
    def a_caller_gives_up(self, late: int) -> None:
        if self.joins:
            ticket = self.joins[max(0, len(self.joins) - 1 - late)]
            current = ticket == self.machine.place
            effects = self.step(GaveUp(ticket))
            self.waiting.discard(ticket)
            assert current or effects == []

    @rule(generation=GENERATIONS)
    def a_stream_opens(self, generation: Generation) -> None:
        ticket, place = self.ticket(), self.held
        effects = self.step(StreamOpened(ticket, generation))
        if Grant(ticket) in effects:
            assert place is not None, "a stream without a place"
            assert generation in (0, self.machine.generation)
            assert self.open is None
            self.open = ticket
            self.streams.append(ticket)

    @rule(late=LATE)
    def a_stream_ends(self, late: int) -> None:
        if self.streams:
            stream = self.streams[max(0, len(self.streams) - 1 - late)]
            current = stream == self.machine.stream
            if stream == self.open:
                self.open = None
            effects = self.step(StreamEnded(stream))
            assert current or effects == [], "the end of an old stream touched something"

    # ---- LiveKit

    @precondition(lambda self: self.connecting is not None)
    @rule()
    def the_place_is_had(self) -> None:
        assert self.connecting is not None
        self.held, self.connecting = self.connecting, None
        effects = self.step(Connected(self.held))
        assert effects == [Grant(self.held)]

    @precondition(lambda self: self.connecting is not None)
    @rule(reason=st.sampled_from(list(LossReason)))
    def the_join_fails(self, reason: LossReason) -> None:
        assert self.connecting is not None
        place = self.connecting
        effects = self.step(Failed(place, reason))
        assert Refuse(place, reason) in effects
        assert self.machine.state is RoomState.CLOSED

    @rule(late=LATE, reason=st.sampled_from(list(LossReason)), failed=st.booleans())
    def news_of_any_place(self, late: int, reason: LossReason, failed: bool) -> None:
        """Of the current one or of one long gone."""
        if not self.joins:
            return
        place = self.joins[max(0, len(self.joins) - 1 - late)]
        current = place == self.machine.place
        if current and failed and self.connecting is None:
            return
        effects = self.step(Failed(place, reason) if failed else Lost(place, reason))
        assert current or effects == [], "news of an old place touched something"

    # ---- the bridge itself

    @rule()
    def it_is_about_to_stop(self) -> None:
        effects, stream = self.step(HandOver()), self.open
        if stream is not None and self.machine.state is RoomState.JOINED:
            assert effects == [AnnounceLeaving(stream)]
        else:
            assert self.machine.state is RoomState.CLOSED

    @rule()
    def it_hands_over(self) -> None:
        claimed = self.machine.state is RoomState.JOINED and self.machine.stream != 0
        self.step(HandOver())
        assert claimed or not self.machine.state.holds_place, "a place that nobody claims is kept by a bridge that goes"

    @rule()
    def it_shuts_down(self) -> None:
        self.step(Shutdown())
        assert self.machine.state is RoomState.CLOSED

    @rule(seconds=st.sampled_from([0.0, 0.5, 9.9, 10.0, 25.0]), rings=st.booleans())
    def time_passes(self, seconds: float, rings: bool) -> None:
        self.now += seconds
        if rings:
            due = self.machine.next_deadline()
            effects = self.step(Tick())
            assert bool(effects) is (due is not None and self.now >= due)

    # ---- what must hold

    @invariant()
    def the_books_agree(self) -> None:
        machine = self.machine
        if machine.state is RoomState.CLOSED:
            assert self.connecting is self.held is None, "a closed room holds a place"
            assert self.open is None, "a closed room has a stream"
            assert not self.waiting, "a closed room owes an answer"
            assert machine.generation == 0
        assert (machine.state is RoomState.JOINING) is (self.connecting is not None)
        assert machine.state.holds_place is (self.held is not None)
        assert self.waiting <= ({self.connecting} if self.connecting is not None else set()), "a join is never answered"

    @invariant()
    def nothing_waits_for_ever(self) -> None:
        if self.machine.state in (RoomState.JOINED, RoomState.LOST) and not self.machine.stream:
            assert self.machine.next_deadline() == self.idle_since + UNCLAIMED if self.idle_since is not None else False


TestRoom = RoomModel.TestCase
TestRoom.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
