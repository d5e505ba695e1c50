"""The machine of the phone's socket: each cell of its table, its ladder and its doubts in virtual time."""

import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from glassbridge.core.machine import Cell, Ignored, missing_cells
from glassbridge.core.phone_socket import (
    ASLEEP,
    EVENTS,
    LADDER,
    PATIENCE,
    PROBE,
    REACHES,
    ROUND_TRIPS,
    SETTLED,
    SILENCE,
    SPREAD,
    TABLE,
    Accepted,
    CloseSocket,
    ComeBack,
    Effect,
    Event,
    MessageReceived,
    NetworkChanged,
    NetworkLost,
    OpenSocket,
    PhoneSocket,
    Ping,
    SocketClosed,
    SocketFailed,
    SocketState,
    Start,
    Stop,
    Switch,
    Tick,
    Woke,
)
from glassbridge.core.values import Generation
from tests.support.walk import walk

S = SocketState
ONE, TWO, THREE = Generation(1), Generation(2), Generation(3)
WAYS: dict[SocketState, list[Event]] = {
    S.IDLE: [],
    S.OPENING: [Start()],
    S.READY: [Start(), Accepted(ONE, True), MessageReceived(ONE, 1)],
    S.DOUBTFUL: [Start(), Accepted(ONE, True), MessageReceived(ONE, 1), Woke(2.0)],
    S.WAITING: [Start(), Accepted(ONE, True), SocketClosed(ONE, ComeBack.NOW, "drained")],
    S.OFFLINE: [Start(), NetworkLost()],
    S.ENDED: [Start(), SocketFailed(ONE, True, "refused")],
}
EXAMPLES: dict[type, Event] = {
    Start: Start(),
    Accepted: Accepted(ONE, True),
    SocketFailed: SocketFailed(ONE, False, "connection refused"),
    SocketClosed: SocketClosed(ONE, ComeBack.LATER, "the connection broke"),
    MessageReceived: MessageReceived(ONE, 2),
    NetworkChanged: NetworkChanged(),
    NetworkLost: NetworkLost(),
    Woke: Woke(2.0),
    Switch: Switch(),
    Stop: Stop(),
    Tick: Tick(),
}


def in_state(state: SocketState, chance: float = 0.5) -> PhoneSocket:
    """A machine that came to `state` at second 0 with socket 1; its cloud answers pings."""
    machine = PhoneSocket(lambda: chance)
    for event in WAYS[state]:
        machine.step(event, 0.0)
    assert machine.state is state
    machine.records.clear()
    return machine


def cut(number: Generation) -> CloseSocket:
    return CloseSocket(number, goodbye=False)


def bye(number: Generation) -> CloseSocket:
    return CloseSocket(number, goodbye=True)


def test_the_table_is_total() -> None:
    assert missing_cells(TABLE, SocketState, EVENTS) == []


@pytest.mark.parametrize(
    ("state", "event", "now", "effects", "after"),
    [
        (S.IDLE, Start(), 1.0, [OpenSocket(ONE)], S.OPENING),
        (S.IDLE, Stop(), 1.0, [], S.ENDED),
        (S.OPENING, Accepted(ONE, True), 1.0, [Ping(ONE, 1)], S.READY),
        (S.OPENING, SocketFailed(ONE, False, "refused"), 0.05, [], S.WAITING),
        (S.OPENING, SocketFailed(ONE, False, "timed out"), 2.0, [OpenSocket(TWO)], S.OPENING),
        (S.OPENING, SocketFailed(ONE, True, "bad token"), 1.0, [], S.ENDED),
        (S.OPENING, SocketClosed(ONE, ComeBack.LATER, "broke"), 1.0, [], S.WAITING),
        (S.OPENING, SocketClosed(ONE, ComeBack.NO, "superseded"), 1.0, [], S.ENDED),
        (S.OPENING, NetworkChanged(), 1.0, [cut(ONE), OpenSocket(TWO)], S.OPENING),
        (S.OPENING, NetworkLost(), 1.0, [cut(ONE)], S.OFFLINE),
        (S.OPENING, Switch(), 1.0, [bye(ONE), OpenSocket(TWO)], S.OPENING),
        (S.OPENING, Stop(), 1.0, [bye(ONE)], S.ENDED),
        (S.OPENING, Tick(), PATIENCE[0] - 0.1, [], S.OPENING),
        (S.OPENING, Tick(), PATIENCE[0], [cut(ONE), OpenSocket(TWO)], S.OPENING),
        (S.READY, SocketClosed(ONE, ComeBack.LATER, "broke"), SETTLED, [OpenSocket(TWO)], S.OPENING),
        (S.READY, SocketClosed(ONE, ComeBack.LATER, "broke"), SETTLED - 0.1, [], S.WAITING),
        (S.READY, SocketClosed(ONE, ComeBack.NOW, "drained"), 9.0, [], S.WAITING),
        (S.READY, SocketClosed(ONE, ComeBack.NO, "superseded"), 1.0, [], S.ENDED),
        (S.READY, MessageReceived(ONE, 2), 1.0, [], S.READY),
        (S.READY, NetworkChanged(), 1.0, [cut(ONE), OpenSocket(TWO)], S.OPENING),
        (S.READY, NetworkLost(), 1.0, [cut(ONE)], S.OFFLINE),
        (S.READY, Woke(2.0), 1.0, [Ping(ONE, 2)], S.DOUBTFUL),
        (S.READY, Switch(), 1.0, [bye(ONE), OpenSocket(TWO)], S.OPENING),
        (S.READY, Stop(), 1.0, [bye(ONE)], S.ENDED),
        (S.READY, Tick(), 0.9, [], S.READY),
        (S.READY, Tick(), 1.0, [Ping(ONE, 2)], S.READY),
        (S.READY, Tick(), 2.0, [Ping(ONE, 2)], S.READY),
        (S.DOUBTFUL, SocketClosed(ONE, ComeBack.LATER, "broke"), 6.0, [OpenSocket(TWO)], S.OPENING),
        (S.DOUBTFUL, SocketClosed(ONE, ComeBack.NO, "superseded"), 0.5, [], S.ENDED),
        (S.DOUBTFUL, MessageReceived(ONE), 0.5, [], S.DOUBTFUL),
        (S.DOUBTFUL, MessageReceived(ONE, 1), 0.5, [], S.DOUBTFUL),
        (S.DOUBTFUL, MessageReceived(ONE, 2), 0.5, [], S.READY),
        (S.DOUBTFUL, NetworkChanged(), 0.5, [cut(ONE), OpenSocket(TWO)], S.OPENING),
        (S.DOUBTFUL, NetworkLost(), 0.5, [cut(ONE)], S.OFFLINE),
        (S.DOUBTFUL, Woke(2.0), 0.5, [Ping(ONE, 3)], S.DOUBTFUL),
        (S.DOUBTFUL, Switch(), 0.5, [bye(ONE), OpenSocket(TWO)], S.OPENING),
        (S.DOUBTFUL, Stop(), 0.5, [bye(ONE)], S.ENDED),
        (S.DOUBTFUL, Tick(), PROBE - 0.1, [], S.DOUBTFUL),
        (S.DOUBTFUL, Tick(), PROBE, [cut(ONE)], S.WAITING),
        (S.WAITING, NetworkChanged(), 0.1, [OpenSocket(TWO)], S.OPENING),
        (S.WAITING, NetworkLost(), 0.1, [], S.OFFLINE),
        (S.WAITING, Switch(), 0.1, [OpenSocket(TWO)], S.OPENING),
        (S.WAITING, Stop(), 0.1, [], S.ENDED),
        (S.WAITING, Tick(), SPREAD / 2 - 0.01, [], S.WAITING),
        (S.WAITING, Tick(), SPREAD / 2, [OpenSocket(TWO)], S.OPENING),
        (S.OFFLINE, NetworkChanged(), 9.0, [OpenSocket(TWO)], S.OPENING),
        (S.OFFLINE, Stop(), 9.0, [], S.ENDED),
    ],
)
def test_cell(state: SocketState, event: Event, now: float, effects: list[Effect], after: SocketState) -> None:
    machine = in_state(state)
    cell = TABLE[state, type(event)]
    assert machine.step(event, now) == effects
    assert machine.state is after
    assert isinstance(cell, Cell)
    assert after in cell.to
    assert [(r.old, r.new, r.at) for r in machine.records if r.old is not r.new] == (
        [(state, after, now)] if after is not state else []
    )


@pytest.mark.parametrize(
    ("state", "event"), [(s, e) for (s, e), cell in TABLE.items() if isinstance(cell, Ignored)], ids=str
)
def test_ignored_cells_change_nothing(state: SocketState, event: type) -> None:
    machine = in_state(state)
    before = machine.next_deadline()
    assert machine.step(EXAMPLES[event], 100.0) == []
    assert (machine.state, machine.records, machine.next_deadline()) == (state, [], before)


@pytest.mark.parametrize("state", [s for s in SocketState if s not in (S.IDLE, S.ENDED)])
@pytest.mark.parametrize("kind", [Accepted, SocketFailed, SocketClosed, MessageReceived])
def test_an_older_socket_is_not_heard(state: SocketState, kind: type) -> None:
    """So the close of a socket that our own newer one superseded ends nothing."""
    machine = in_state(state)
    machine.step(Switch(), 1.0) if state is not S.OFFLINE else machine.step(NetworkChanged(), 1.0)
    newest = machine.state, machine.generation
    for event in (EXAMPLES[kind], SocketClosed(ONE, ComeBack.NO, "superseded")):
        assert machine.step(event, 2.0) == []
    assert (machine.state, machine.generation) == newest
    assert machine.stale.total() == 2


@dataclass
class World:
    """Turns a machine in virtual time; nothing answers unless told."""

    machine: PhoneSocket
    now: float = 0.0
    done: list[tuple[float, Effect]] = field(default_factory=list)

    def step(self, event: Event) -> None:
        self.done += [(self.now, effect) for effect in self.machine.step(event, self.now)]

    def until(self, end: float, answer: Any = None) -> None:
        while (due := self.machine.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            before = len(self.done)
            self.step(Tick())
            for _, effect in self.done[before:]:
                if answer is not None and (event := answer(effect)) is not None:
                    self.step(event)
        self.now = end

    def times(self, kind: type) -> list[float]:
        return [at for at, effect in self.done if isinstance(effect, kind)]


def refused(effect: Effect) -> Event | None:
    return SocketFailed(effect.socket, False, "refused") if isinstance(effect, OpenSocket) else None


def test_attempts_go_up_a_ladder_with_full_jitter_and_a_cap() -> None:
    world = World(PhoneSocket(lambda: 0.999))
    world.step(Start())
    world.step(SocketFailed(ONE, False, "refused"))
    world.until(20.0, refused)
    times = world.times(OpenSocket)
    gaps = [b - a for a, b in pairwise(times)]
    assert gaps[:3] == pytest.approx([0.25, 0.5, 1.0], rel=0.01)
    assert all(gap == pytest.approx(LADDER.cap, rel=0.01) for gap in gaps[3:])
    assert times[0] == 0.0


def test_a_thousand_phones_do_not_come_in_step() -> None:
    chance = random.Random(5)
    seconds = [0] * 40
    for _ in range(1000):
        world = World(PhoneSocket(chance.random))
        world.step(Start())
        world.step(SocketFailed(ONE, False, "refused"))
        world.until(10.0, refused)
        for at in world.times(OpenSocket):
            seconds[int(at * 4)] += 1
    late = seconds[16:40]
    assert max(late) < 1.3 * sum(late) / len(late), "seed 5: no quarter of a second has many more than its share"


def test_a_network_that_swallows_everything_is_tried_often_enough_to_be_met_within_two_seconds() -> None:
    """TCP itself repeats its greeting 1 and 3 s after the start of an attempt."""
    world = World(PhoneSocket(random.Random(7).random))
    world.step(Start())
    world.until(120.0)
    ends = [*world.times(OpenSocket)[1:], 120.0]
    greetings = [
        at + after
        for at, end in zip(world.times(OpenSocket), ends, strict=True)
        for after in (0, 1, 3)
        if at + after < end
    ]
    gaps = [b - a for a, b in pairwise(greetings)]
    assert max(gaps) <= 2.0, "seed 7"
    assert sum(gaps) / len(gaps) < 1.2


def test_a_half_open_socket_is_known_within_three_and_a_half_seconds() -> None:
    world = World(in_state(S.READY))
    world.until(60.0, lambda effect: MessageReceived(ONE, effect.number) if isinstance(effect, Ping) else None)
    assert world.times(Ping) == [float(second) for second in range(1, 61)]
    world.until(70.0)
    assert world.times(OpenSocket)[0] == 61.0 + SILENCE, "it had settled: at once"


def silent() -> World:
    """A socket that has not answered since 61 s, and an attempt to replace it."""
    world = World(in_state(S.READY))
    world.until(60.0, lambda effect: MessageReceived(ONE, effect.number) if isinstance(effect, Ping) else None)
    world.until(61.1 + SILENCE)
    assert (world.machine.state, world.machine.generation, world.machine.kept) == (S.OPENING, TWO, ONE)
    assert world.times(CloseSocket) == []
    return world


@pytest.mark.parametrize("waiting", [False, True])
def test_a_socket_that_fell_silent_counts_again_when_it_answers(waiting: bool) -> None:
    """A way that became 2 s longer: TCP repeats once too early, and a ping comes back after 4.3 s."""
    world = silent()
    if waiting:
        world.step(SocketFailed(TWO, False, "timed out"))
    effects = world.machine.step(MessageReceived(ONE, 62), 65.3)
    assert effects[:-1] == ([] if waiting else [cut(TWO)])
    assert (world.machine.state, world.machine.generation, world.machine.kept) == (S.READY, ONE, None)
    assert isinstance(effects[-1], Ping)
    world.machine.step(MessageReceived(ONE, effects[-1].number), 69.6)
    world.now, world.done = 69.6, []
    with_round_trips(world, 4.3)
    assert world.times(OpenSocket) == [], "it is known to be slow now"


SUPERSEDED = SocketClosed(ONE, ComeBack.NO, "a newer socket took over")


def revived() -> World:
    """A socket that had fallen silent and counts again since 65.3 s; the attempt to replace it was given up."""
    world = silent()
    world.machine.step(MessageReceived(ONE, 62), 65.3)
    return world


def test_an_attempt_that_was_given_up_may_yet_supersede_the_socket_that_counts_again() -> None:
    machine = revived().machine
    machine.step(SUPERSEDED, 65.3 + REACHES - 1)
    assert machine.state is S.WAITING, "the newer one was our own attempt"
    assert isinstance(machine.retry_at, float)
    assert machine.step(Tick(), machine.retry_at) == [OpenSocket(THREE)], "and its number is not used again"


def test_another_phone_that_comes_later_keeps_the_user() -> None:
    """However long ago a socket fell silent: this phone came back, and took the user from the newer one."""
    machine = revived().machine
    machine.step(SUPERSEDED, 65.3 + REACHES)
    assert machine.state is S.ENDED


def test_where_no_attempt_was_made_another_phone_keeps_the_user() -> None:
    world = World(in_state(S.READY))
    world.machine.step(Tick(), 1.0)
    world.machine.step(Tick(), 1.0 + SILENCE)
    assert (world.machine.state, world.machine.kept) == (S.WAITING, ONE), "it had not settled"
    world.machine.step(Accepted(ONE, True, True), 3.6)
    world.machine.step(SUPERSEDED, 4.0)
    assert world.machine.state is S.ENDED


@pytest.mark.parametrize("waiting", [False, True])
def test_a_socket_that_fell_silent_counts_again_when_it_is_greeted_again(waiting: bool) -> None:
    """The cloud had missed the phone, too, and now hears it."""
    world = silent()
    if waiting:
        world.step(SocketFailed(TWO, False, "timed out"))
    effects = world.machine.step(Accepted(ONE, True, True), 66.0)
    assert effects[:-1] == ([] if waiting else [cut(TWO)])
    assert (world.machine.state, world.machine.generation, world.machine.kept) == (S.READY, ONE, None)


def test_a_socket_that_fell_silent_is_closed_once_another_is_acknowledged() -> None:
    world = silent()
    assert world.machine.step(Accepted(TWO, True), 64.0) == [cut(ONE), Ping(TWO, 65)]
    assert world.machine.step(MessageReceived(ONE, 62), 65.0) == []


@pytest.mark.parametrize("end", [NetworkChanged(), NetworkLost(), Switch(), Stop()])
def test_a_socket_that_fell_silent_goes_when_all_else_does(end: Event) -> None:
    world = silent()
    assert cut(ONE) in world.machine.step(end, 64.0)
    assert world.machine.kept is None


def test_a_socket_that_fell_silent_may_break_meanwhile() -> None:
    world = silent()
    assert world.machine.step(SocketClosed(ONE, ComeBack.LATER, "broke"), 64.0) == []
    assert (world.machine.state, world.machine.kept) == (S.OPENING, None)


def with_round_trips(world: World, *trips: float) -> None:
    """Pings are answered after so many seconds each, 30 s long for each of `trips`."""
    answers: list[tuple[float, Event]] = []
    end = world.now + 30.0 * len(trips)
    begun = world.now
    while world.now < end:
        seen = len(world.done)
        due = world.machine.next_deadline()
        assert due is not None
        if answers and answers[0][0] <= due:
            world.now = answers[0][0]
            world.step(answers.pop(0)[1])
        else:
            world.now = max(world.now, due)
            world.step(Tick())
        for at, effect in world.done[seen:]:
            if isinstance(effect, Ping):
                trip = trips[min(int((at - begun) / 30.0), len(trips) - 1)]
                answers.append(
                    (max(at + trip, answers[-1][0] if answers else 0.0), MessageReceived(ONE, effect.number))
                )


@pytest.mark.parametrize("trips", [(0.05, 0.8), (0.05, 2.05), (0.05, 2.4), (0.05, 2.05, 0.05, 2.4), (2.4, 4.5)])
def test_a_slow_path_is_not_a_dead_one(trips: tuple[float, ...]) -> None:
    """Also one that becomes slow from one moment to the next."""
    world = World(in_state(S.READY))
    with_round_trips(world, *trips)
    assert world.times(CloseSocket) == []


def test_who_was_on_a_slow_path_gives_attempts_the_time_that_they_need() -> None:
    world = World(in_state(S.READY))
    with_round_trips(world, 2.0)
    world.step(SocketClosed(ONE, ComeBack.LATER, "broke"))
    assert world.machine.state is S.OPENING
    assert world.machine.next_deadline() == pytest.approx(world.now + PATIENCE[0] + ROUND_TRIPS * 2.0)


def test_an_acknowledgement_that_came_soon_proves_a_short_way() -> None:
    """A socket that answered after a cut of 5 s had made the way look 3 s long: the next cut was known after 4.4 s."""
    world = silent()
    world.step(MessageReceived(ONE, 62))
    world.step(SocketClosed(ONE, ComeBack.NO, "a newer socket took over"))
    world.until(world.now + 1.0)
    assert world.machine.state is S.OPENING
    opened = world.times(OpenSocket)[-1]
    world.now = opened + 0.01
    world.step(Accepted(world.machine.generation, True, answers=True))
    world.until(opened + 10.0)
    again = next(at for at in world.times(OpenSocket) if at > opened)
    assert again == pytest.approx(opened + 0.01 + SILENCE, abs=0.02)


def test_a_cloud_that_talks_but_does_not_answer_hears_us_no_more() -> None:
    machine = in_state(S.READY)
    for second in (1.0, 2.0):
        machine.step(Tick(), second)
        machine.step(MessageReceived(ONE), second)
    assert machine.step(Tick(), 1.0 + SILENCE) == []
    assert machine.state is S.WAITING


def test_a_cloud_that_says_that_it_answers_pings_is_missed_before_its_first_answer() -> None:
    machine = PhoneSocket(lambda: 0.5)
    machine.step(Start(), 0.0)
    machine.step(Accepted(ONE, True, answers=True), 0.0)
    assert [effect for at in (1.0, 2.0) for effect in machine.step(Tick(), at)] == [Ping(ONE, 2), Ping(ONE, 3)]
    assert machine.next_deadline() == SILENCE
    machine.step(Tick(), SILENCE)
    assert not machine.state.here


def test_a_cloud_that_never_answers_pings_is_left_in_peace_and_opened_anew_when_in_doubt() -> None:
    world = World(PhoneSocket(lambda: 0.5))
    world.step(Start())
    world.step(Accepted(ONE, True))
    world.step(MessageReceived(ONE))
    world.until(100.0)
    assert world.times(CloseSocket) == []
    assert world.machine.step(Woke(ASLEEP - 0.1), 100.0) == []
    assert world.machine.step(Woke(ASLEEP), 100.0) == [cut(ONE), OpenSocket(TWO)]
    world.machine.step(Accepted(TWO, True), 100.1)
    assert world.machine.step(NetworkChanged(), 101.0) == [cut(TWO), OpenSocket(THREE)]


def test_a_socket_in_doubt_is_not_saved_by_what_came_before_the_doubt() -> None:
    machine = in_state(S.READY)
    machine.step(Tick(), 1.0)
    assert machine.step(Woke(60.0), 61.0) == [Ping(ONE, 3)]
    machine.step(MessageReceived(ONE, 2), 61.0)
    assert machine.state is S.DOUBTFUL
    assert machine.next_deadline() == 61.0 + PROBE
    assert machine.step(Tick(), 61.0 + PROBE) == [cut(ONE), OpenSocket(TWO)]


def test_what_waits_longest_is_over_at_once_when_the_network_is_back() -> None:
    world = World(PhoneSocket(lambda: 0.999))
    world.step(Start())
    world.step(SocketFailed(ONE, False, "refused"))
    world.until(10.05, refused)
    assert world.machine.state is S.WAITING
    world.step(NetworkChanged())
    assert world.times(OpenSocket)[-1] == 10.05
    world.step(refused(OpenSocket(world.machine.generation)) or Tick())
    assert world.machine.retry_at == pytest.approx(10.05 + 0.25, abs=0.01), "and the ladder counts anew"


@walk("seed", range(100))
def test_any_sequence_keeps_to_the_table(seed: int) -> None:
    """One socket at a time, and one that fell silent: each is closed by us or by itself; a deadline is never stuck."""
    chance = random.Random(seed)
    machine = PhoneSocket(chance.random)
    now, live = 0.0, set[Generation]()
    for _ in range(200):
        number = Generation(max(1, machine.generation - chance.choice((0, 0, 0, 1))))
        events: list[Event] = [
            Start(),
            Accepted(number, True),
            SocketFailed(number, chance.random() < 0.02, "x"),
            SocketClosed(number, chance.choice((ComeBack.NOW, ComeBack.LATER)), "x"),
            MessageReceived(number, chance.randint(1, 5)),
            NetworkChanged(),
            NetworkLost(),
            Woke(3.0),
            Switch(),
            Tick(),
            Tick(),
        ]
        event = chance.choice(events)
        due = machine.next_deadline()
        now = max(now, due) if isinstance(event, Tick) and due is not None else now + chance.random()
        old, generation = machine.state, machine.generation
        if isinstance(event, SocketFailed | SocketClosed) and event.socket in (generation, machine.kept):
            live.discard(generation)
        cell = TABLE[old, type(event)]
        for effect in machine.step(event, now):
            if isinstance(effect, CloseSocket):
                live.discard(effect.socket)
            if isinstance(effect, OpenSocket):
                assert live <= {machine.kept}, f"seed {seed}: {live} and {effect}"
                live.add(effect.socket)
        if isinstance(cell, Cell):
            assert machine.state in cell.to or getattr(event, "socket", generation) != generation, (
                f"seed {seed}: {event}"
            )
        if machine.state in (S.OPENING, S.READY, S.DOUBTFUL, S.WAITING):
            assert machine.next_deadline() is not None, f"seed {seed}: stuck in {machine.state}"
        assert (machine.state is S.ENDED) <= (not live), f"seed {seed}"
