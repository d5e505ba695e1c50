"""The room machine, cell by cell and rule by rule."""

import itertools
import random
from collections.abc import Iterator

import pytest

from glassbridge.core.machine import Ignored, missing_cells
from glassbridge.core.room import (
    DOUBTFUL,
    EVENTS,
    NOBODY,
    REJOIN,
    REPAIRABLE,
    TABLE,
    UNCLAIMED,
    AnnounceLeaving,
    Connect,
    Connected,
    Disconnect,
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
from glassbridge.core.values import Generation, LossReason
from tests.support.walk import walk

T, G, R = Ticket, Generation, LossReason
NOW = 1000.0
JOIN = Join(T(1), G(5))
STREAM = T(2)


def room_in(state: RoomState, stream: bool = False, generation: int = 5) -> Room:
    """A room of join 1, with stream 2 when asked for. One that is joined again has both, and no generation."""
    room = Room()
    if state is RoomState.REJOINING:
        stream, generation = True, 0
    if state is not RoomState.CLOSED:
        room.step(Join(T(1), G(generation)), NOW)
    if state in (RoomState.JOINED, RoomState.LOST, RoomState.REJOINING):
        room.step(Connected(T(1)), NOW)
        if stream:
            room.step(StreamOpened(STREAM, G(0)), NOW)
    if state in (RoomState.LOST, RoomState.REJOINING):
        room.step(Lost(T(1), R.NETWORK), NOW)
    assert room.state is state
    return room


def some(kind: type, room: Room) -> Event:
    """An event of this kind that is meant for the room as it is."""
    made: dict[type, Event] = {
        Join: Join(T(9), G(6)),
        Connected: Connected(room.place),
        Failed: Failed(room.place, R.UNREACHABLE),
        GaveUp: GaveUp(room.place),
        Lost: Lost(room.place, R.SUPERSEDED),
        Leave: Leave(T(9), G(0)),
        StreamOpened: StreamOpened(T(9), G(0)),
        StreamEnded: StreamEnded(room.stream),
        HandOver: HandOver(),
        Shutdown: Shutdown(),
        Tick: Tick(),
    }
    return made[kind]


def cells() -> Iterator[tuple[RoomState, type, bool]]:
    for state, kind in itertools.product(RoomState, EVENTS):
        yield state, kind, False
        if state in (RoomState.JOINED, RoomState.LOST):
            yield state, kind, True


def test_the_table_is_total() -> None:
    assert missing_cells(TABLE, RoomState, EVENTS) == []
    assert len(TABLE) == len(RoomState) * len(EVENTS)


@walk("state, kind, stream", cells())
@pytest.mark.parametrize("later", [0.0, UNCLAIMED + 1])
def test_every_cell_keeps_its_word(state: RoomState, kind: type, stream: bool, later: float) -> None:
    room = room_in(state, stream)
    before = (room.place, room.stream, room.generation, room.next_deadline())
    cell = TABLE[state, kind]
    effects = room.step(some(kind, room), NOW + later)
    if isinstance(cell, Ignored):
        assert cell.because
        assert effects == []
        assert (room.place, room.stream, room.generation, room.next_deadline()) == before
        assert room.state is state
    else:
        assert room.state in cell.to
    holds_nothing = room.state is RoomState.CLOSED
    assert holds_nothing == (room.place == NOBODY)
    assert room.next_deadline() is None or room.state not in (RoomState.CLOSED, RoomState.JOINING)
    assert holds_nothing == (Forget() in effects) or state is RoomState.CLOSED


@walk("state, kind, stream", cells())
def test_the_past_touches_nothing(state: RoomState, kind: type, stream: bool) -> None:
    if kind not in (Connected, Failed, GaveUp, Lost, StreamEnded):
        return
    room = room_in(state, stream)
    before = (room.state, room.place, room.stream, room.generation, room.next_deadline())
    stale: dict[type, Event] = {
        Connected: Connected(T(77)),
        Failed: Failed(T(77), R.NETWORK),
        GaveUp: GaveUp(T(77)),
        Lost: Lost(T(77), R.SUPERSEDED),
        StreamEnded: StreamEnded(T(77)),
    }
    assert room.step(stale[kind], NOW + 99) == []
    assert (room.state, room.place, room.stream, room.generation, room.next_deadline()) == before
    assert room.stale[kind.__name__] == 1


def test_a_join() -> None:
    room = Room()
    assert room.step(JOIN, NOW) == [Connect(T(1))]
    assert room.step(Connected(T(1)), NOW) == [Grant(T(1))]
    assert (room.generation, room.place) == (5, 1)


def test_a_failed_join_is_answered_with_its_reason_and_forgotten() -> None:
    room = room_in(RoomState.JOINING)
    effects = room.step(Failed(T(1), R.TOKEN_REFUSED, "why"), NOW)
    assert effects == [Refuse(T(1), R.TOKEN_REFUSED, "why"), Disconnect(T(1), R.TOKEN_REFUSED), Forget()]


def test_a_newer_join_replaces_a_joined_room_with_its_stream() -> None:
    room = room_in(RoomState.JOINED, stream=True)
    effects = room.step(Join(T(3), G(6)), NOW)
    assert effects == [EndStream(STREAM, R.REPLACED), Disconnect(T(1), R.REPLACED), Connect(T(3))]
    assert room.step(StreamEnded(STREAM), NOW) == [], "the late end of the old stream is of the past"
    assert room.step(Lost(T(1), R.SUPERSEDED), NOW) == []
    assert room.state is RoomState.JOINING


def test_a_newer_join_replaces_one_that_is_under_way() -> None:
    room = room_in(RoomState.JOINING)
    effects = room.step(Join(T(3), G(5)), NOW)
    assert effects == [Refuse(T(1), R.REPLACED), Disconnect(T(1), R.REPLACED), Connect(T(3))]
    assert room.step(Connected(T(1)), NOW) == []


@pytest.mark.parametrize("state", [RoomState.JOINING, RoomState.JOINED, RoomState.LOST])
def test_an_older_generation_is_refused_an_equal_or_unfenced_one_is_not(state: RoomState) -> None:
    room = room_in(state)
    (no,) = room.step(Join(T(3), G(4)), NOW)
    assert isinstance(no, Refuse)
    assert (no.ticket, no.reason) == (3, R.REPLACED)
    assert room.state is state
    for generation in (5, 0):
        room = room_in(state)
        assert Connect(T(3)) in room.step(Join(T(3), G(generation)), NOW)


@pytest.mark.parametrize("state", [RoomState.JOINING, RoomState.JOINED, RoomState.LOST])
def test_leave_is_fenced(state: RoomState) -> None:
    room = room_in(state)
    for generation in (4, 6):
        (no,) = room.step(Leave(T(3), G(generation)), NOW)
        assert isinstance(no, Refuse)
        assert room.state is state
    assert Grant(T(3)) in room.step(Leave(T(3), G(5)), NOW)
    assert room.state is RoomState.CLOSED


def test_leave_calls_a_join_off_and_answers_its_caller() -> None:
    room = room_in(RoomState.JOINING)
    effects = room.step(Leave(T(3), G(0)), NOW)
    assert [type(effect) for effect in effects] == [Grant, Refuse, Disconnect, Forget]


def test_a_caller_who_gave_up_leaves_nothing_unless_a_stream_proves_otherwise() -> None:
    for state in (RoomState.JOINING, RoomState.JOINED):
        room = room_in(state)
        assert room.step(GaveUp(T(1)), NOW) == [Disconnect(T(1), R.CLOSED), Forget()]
    room = room_in(RoomState.JOINED, stream=True)
    assert room.step(GaveUp(T(1)), NOW) == []


def test_a_lost_room_tells_its_stream_and_ends_with_it() -> None:
    room = room_in(RoomState.JOINED, stream=True)
    effects = room.step(Lost(T(1), R.SUPERSEDED), NOW)
    assert effects == [Disconnect(T(1), R.SUPERSEDED), EndStream(STREAM, R.SUPERSEDED)]
    assert room.step(StreamEnded(STREAM), NOW) == [Forget()]
    assert (room.state, room.reason) == (RoomState.CLOSED, R.SUPERSEDED)


def test_a_late_stream_hears_why_the_room_was_lost() -> None:
    room = room_in(RoomState.LOST)
    assert room.step(StreamOpened(T(3), G(0)), NOW) == [Refuse(T(3), R.NETWORK)]
    assert room.state is RoomState.LOST


def test_a_second_stream_supersedes_the_first() -> None:
    room = room_in(RoomState.JOINED, stream=True)
    assert room.step(StreamOpened(T(3), G(5)), NOW) == [EndStream(STREAM, R.REPLACED), Grant(T(3))]
    assert room.step(StreamEnded(STREAM), NOW) == []
    assert room.step(StreamEnded(T(3)), NOW) == [Disconnect(T(1), R.STREAM_BROKEN), Forget()]


def test_a_stream_of_another_generation_is_refused() -> None:
    room = room_in(RoomState.JOINED)
    (no,) = room.step(StreamOpened(T(3), G(4)), NOW)
    assert isinstance(no, Refuse)
    assert no.reason is None


@pytest.mark.parametrize("state", [RoomState.JOINED, RoomState.LOST])
def test_what_no_stream_claims_is_given_up_in_time(state: RoomState) -> None:
    room = room_in(state)
    assert room.next_deadline() == NOW + UNCLAIMED
    assert room.step(Tick(), NOW + UNCLAIMED - 0.1) == []
    assert Forget() in room.step(Tick(), NOW + UNCLAIMED)


def test_a_claimed_room_waits_for_ever() -> None:
    room = room_in(RoomState.JOINED, stream=True)
    assert room.next_deadline() is None
    assert room.step(Tick(), NOW + 1e9) == []


@pytest.mark.parametrize("state", [RoomState.JOINING, RoomState.JOINED, RoomState.LOST])
def test_shutdown_ends_everything(state: RoomState) -> None:
    room = room_in(state, stream=state is not RoomState.JOINING)
    effects = room.step(Shutdown(), NOW)
    assert room.state is RoomState.CLOSED
    assert effects[-1] == Forget()
    assert any(isinstance(effect, EndStream | Refuse) for effect in effects)


def test_a_hand_over_tells_the_stream_and_ends_what_nobody_hears() -> None:
    room = room_in(RoomState.JOINED, stream=True)
    assert room.step(HandOver(), NOW) == [AnnounceLeaving(STREAM)]
    assert room.state is RoomState.JOINED, "its audio goes on until the cloud has moved"
    assert room.step(StreamEnded(STREAM), NOW) == [Disconnect(T(1), R.STREAM_BROKEN), Forget()]
    for state in (RoomState.JOINING, RoomState.JOINED, RoomState.LOST):
        room = room_in(state)
        assert room.step(HandOver(), NOW)[-1] == Forget()
        assert room.state is RoomState.CLOSED


def unfenced() -> Room:
    return room_in(RoomState.JOINED, stream=True, generation=0)


def test_a_lost_unfenced_place_is_joined_again_and_keeps_its_stream() -> None:
    room = unfenced()
    assert room.step(Lost(T(1), R.NETWORK), NOW) == [Disconnect(T(1), R.NETWORK)]
    assert room.step(Tick(), NOW) == [Connect(T(1))], "the first time at once"
    assert room.step(Failed(T(1), R.UNREACHABLE), NOW) == [Disconnect(T(1), R.UNREACHABLE)]
    assert room.next_deadline() == NOW + 0.5
    assert room.step(Tick(), NOW + 0.5) == [Connect(T(1))]
    assert room.step(Connected(T(1)), NOW + 1) == [MoveStream(STREAM)]
    assert (room.state, room.stream, room.next_deadline()) == (RoomState.JOINED, STREAM, None)


def test_joining_again_has_an_end() -> None:
    room, now, tries = unfenced(), NOW, 0
    room.step(Lost(T(1), R.SERVER_SHUTDOWN), now)
    while room.state is RoomState.REJOINING:
        due = room.next_deadline()
        assert due is not None
        now = max(now, due)
        effects = room.step(Tick(), now)
        if Connect(T(1)) in effects:
            tries += 1
            now += 0.1
            effects = room.step(Failed(T(1), R.UNREACHABLE), now)
    assert (now - NOW, EndStream(STREAM, R.SERVER_SHUTDOWN) in effects, effects[-1]) == (REJOIN, True, Forget())
    assert 5 <= tries <= 15


@pytest.mark.parametrize("unheard", [0.0, 3.5, DOUBTFUL + 1])
def test_a_livekit_that_is_silent_is_not_asked_for_long(unheard: float) -> None:
    """Another bridge may hold the user by then."""
    room, now = unfenced(), NOW
    room.step(Lost(T(1), R.NETWORK, unheard), now)
    while room.state is RoomState.REJOINING:
        due = room.next_deadline()
        assert due is not None
        now = max(now, due)
        effects = room.step(Tick(), now)
        if Connect(T(1)) in effects:
            now += 0.1
            effects = room.step(Failed(T(1), R.TIMED_OUT), now)
    assert EndStream(STREAM, R.NETWORK) in effects
    assert now - NOW == pytest.approx(max(0.0, DOUBTFUL - unheard))


def test_a_join_under_way_is_called_off_when_its_time_is_over() -> None:
    room = unfenced()
    room.step(Lost(T(1), R.NETWORK, 3.0), NOW)
    assert room.step(Tick(), NOW) == [Connect(T(1))]
    assert room.next_deadline() == NOW + DOUBTFUL - 3.0
    effects = room.step(Tick(), NOW + DOUBTFUL - 3.0)
    assert effects == [EndStream(STREAM, R.NETWORK), Disconnect(T(1), R.NETWORK), Forget()]


def test_a_livekit_that_refuses_is_down_for_everybody() -> None:
    room, now = unfenced(), NOW
    room.step(Lost(T(1), R.NETWORK, 3.5), now)
    while now < NOW + 2 * DOUBTFUL:
        now = max(now, room.next_deadline() or 0.0)
        if Connect(T(1)) in room.step(Tick(), now):
            room.step(Failed(T(1), R.UNREACHABLE), now)
    assert room.state is RoomState.REJOINING


@pytest.mark.parametrize("reason", [reason for reason in R if reason not in REPAIRABLE])
def test_what_hints_at_another_owner_or_needs_another_token_is_never_joined_again(reason: LossReason) -> None:
    assert unfenced().step(Lost(T(1), reason), NOW) == [Disconnect(T(1), reason), EndStream(STREAM, reason)]
    room = room_in(RoomState.REJOINING)
    room.step(Tick(), NOW)
    assert EndStream(STREAM, reason) in room.step(Failed(T(1), reason), NOW)
    assert room.state is RoomState.CLOSED


@pytest.mark.parametrize("reason", list(R))
def test_a_fenced_place_is_never_joined_again(reason: LossReason) -> None:
    room = room_in(RoomState.JOINED, stream=True)
    assert EndStream(STREAM, reason) in room.step(Lost(T(1), reason), NOW)


class World:
    """What the effects of a room do outside, and what must always be true of it."""

    def __init__(self, chance: random.Random) -> None:
        self.room = Room()
        self.now = NOW
        self.waiting: set[Ticket] = set()
        """Callers without an answer."""
        self.held: set[Ticket] = set()
        self.streams: set[Ticket] = set()
        self._chance = chance

    def event(self, number: int) -> Event:
        """Any event, of the present or of the past."""
        ticket, some = Ticket(number), Ticket(self._chance.randint(1, number))
        place, stream = (self._chance.choice([some, now]) for now in (self.room.place, self.room.stream))
        events: list[Event] = [
            Join(ticket, G(self._chance.choice([0, number, max(1, number - 30)]))),
            Connected(place),
            Failed(place, R.NETWORK),
            GaveUp(place),
            Lost(place, R.NETWORK),
            Leave(ticket, G(self._chance.choice([0, some]))),
            StreamOpened(ticket, G(0)),
            StreamEnded(stream),
            HandOver(),
            Shutdown(),
            Tick(),
        ]
        return self._chance.choice(events)

    def happen(self, event: Event) -> None:
        """One step and what it does."""
        self.now += self._chance.choice([0.0, 0.5, 20.0])
        match event:
            case Join(ticket) | Leave(ticket) | StreamOpened(ticket):
                self.waiting.add(ticket)
            case GaveUp(place):
                self.waiting.discard(place)
            case StreamEnded(stream):
                self.streams.discard(stream)
        for effect in self.room.step(event, self.now):
            match effect:
                case Connect(place):
                    assert not self.held, f"{event}: two places at once"
                    self.held.add(place)
                case Disconnect(place):
                    self.held.discard(place)
                case Grant(ticket):
                    if isinstance(event, StreamOpened):
                        self.streams.add(ticket)
                    self.answered(ticket)
                case Refuse(ticket):
                    self.answered(ticket)
                case EndStream(stream):
                    self.streams.discard(stream)
                case Forget():
                    assert not self.held | self.streams, f"{event}: forgot what is still there"
        assert len(self.streams) <= 1
        assert self.held <= {self.room.place}
        # Whoever waits, waits for the join that is under way.
        joining = {self.room.place} if self.room.state is RoomState.JOINING else set()
        assert self.waiting <= joining, f"{event}: somebody waits for ever"

    def answered(self, ticket: Ticket) -> None:
        assert ticket in self.waiting, f"{ticket} was answered twice"
        self.waiting.discard(ticket)


def test_any_history_leaves_at_most_one_place_and_answers_everybody() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(300):
        world = World(chance)
        for number in range(1, 120):
            world.happen(world.event(number))
        world.happen(Shutdown())
        assert not world.held | world.streams | world.waiting
