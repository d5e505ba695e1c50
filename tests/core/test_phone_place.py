"""The machine of the phone's place in the room: each cell of its table, one place at a time, its suspicions."""

import random
from itertools import pairwise

import pytest

from glassbridge.core.machine import Cell, Ignored, missing_cells
from glassbridge.core.phone_place import (
    CONTESTED,
    EVENTS,
    LADDER,
    PATIENCE,
    SETTLED,
    TABLE,
    UNHEARD,
    AudioTold,
    Away,
    Blame,
    Doubted,
    Effect,
    Event,
    Join,
    Leave,
    PhonePlace,
    PlaceFailed,
    PlaceJoined,
    PlaceLeft,
    PlaceLost,
    PlaceState,
    Tick,
    Unwanted,
    Wanted,
)
from glassbridge.core.values import AudioState, Generation, LossReason
from tests.support.walk import walk

P = PlaceState
ONE, TWO, THREE = Generation(1), Generation(2), Generation(3)
WAYS: dict[PlaceState, list[Event]] = {
    P.OUT: [],
    P.JOINING: [Wanted(True)],
    P.HELD: [Wanted(True), PlaceJoined(ONE)],
    P.LEAVING: [Wanted(True), PlaceJoined(ONE), Doubted("test")],
    P.WAITING: [Wanted(True), PlaceFailed(ONE, "refused")],
}
LIVE = AudioTold(ONE, AudioState.LIVE)
SILENT = AudioTold(ONE, AudioState.INTERRUPTED, reason="nothing arrives")
OURS = AudioTold(ONE, AudioState.INTERRUPTED, Blame.PHONE, "the phone is not in its room")
THEIRS = AudioTold(ONE, AudioState.INTERRUPTED, Blame.ELSEWHERE, "the bridge died")
EXAMPLES: dict[type, Event] = {
    Wanted: Wanted(True),
    Away: Away(),
    Unwanted: Unwanted(True),
    PlaceJoined: PlaceJoined(ONE),
    PlaceFailed: PlaceFailed(ONE, "refused"),
    PlaceLost: PlaceLost(ONE, LossReason.NETWORK),
    PlaceLeft: PlaceLeft(ONE),
    Doubted: Doubted("test"),
    AudioTold: OURS,
    Tick: Tick(),
}


def in_state(state: PlaceState, chance: float = 0.5) -> PhonePlace:
    """A machine that came to `state` at second 0 with place 1; WAITING until 0.125."""
    machine = PhonePlace(lambda: chance)
    for event in WAYS[state]:
        machine.step(event, 0.0)
    assert machine.state is state
    machine.records.clear()
    return machine


def cut(place: Generation) -> Leave:
    return Leave(place, goodbye=False)


def bye(place: Generation) -> Leave:
    return Leave(place, goodbye=True)


def test_the_table_is_total() -> None:
    assert missing_cells(TABLE, PlaceState, EVENTS) == []


@pytest.mark.parametrize(
    ("state", "event", "now", "effects", "after"),
    [
        (P.OUT, Wanted(False), 1.0, [Join(ONE)], P.JOINING),
        (P.JOINING, Wanted(True), 1.0, [], P.JOINING),
        (P.JOINING, Wanted(False), 1.0, [bye(ONE)], P.LEAVING),
        (P.JOINING, Away(), 1.0, [], P.JOINING),
        (P.JOINING, Unwanted(True), 1.0, [bye(ONE)], P.LEAVING),
        (P.JOINING, PlaceJoined(ONE), 1.0, [], P.HELD),
        (P.JOINING, PlaceFailed(ONE, "refused"), 0.1, [], P.WAITING),
        (P.JOINING, PlaceFailed(ONE, "timed out"), 3.0, [Join(TWO)], P.JOINING),
        (P.JOINING, Doubted("network"), 1.0, [cut(ONE)], P.LEAVING),
        (P.JOINING, OURS, 1.0, [], P.JOINING),
        (P.JOINING, Tick(), PATIENCE[0] - 0.1, [], P.JOINING),
        (P.JOINING, Tick(), PATIENCE[0], [bye(ONE)], P.LEAVING),
        (P.HELD, Wanted(True), 1.0, [], P.HELD),
        (P.HELD, Wanted(False), 1.0, [bye(ONE)], P.LEAVING),
        (P.HELD, Away(), 1.0, [], P.HELD),
        (P.HELD, Unwanted(False), 1.0, [cut(ONE)], P.LEAVING),
        (P.HELD, PlaceLost(ONE, LossReason.NETWORK), SETTLED, [Join(TWO)], P.JOINING),
        (P.HELD, PlaceLost(ONE, LossReason.NETWORK), SETTLED - 0.1, [], P.WAITING),
        (P.HELD, PlaceLost(ONE, LossReason.SUPERSEDED), 60.0, [], P.WAITING),
        (P.HELD, Doubted("network"), 1.0, [cut(ONE)], P.LEAVING),
        (P.HELD, LIVE, 1.0, [], P.HELD),
        (P.HELD, OURS, UNHEARD - 0.1, [], P.HELD),
        (P.HELD, OURS, UNHEARD, [cut(ONE)], P.LEAVING),
        (P.HELD, THEIRS, 1.0, [], P.HELD),
        (P.HELD, Tick(), 1.0, [], P.HELD),
        (P.LEAVING, Wanted(True), 1.0, [], P.LEAVING),
        (P.LEAVING, Away(), 1.0, [], P.LEAVING),
        (P.LEAVING, Unwanted(True), 1.0, [], P.LEAVING),
        (P.LEAVING, PlaceLeft(ONE), 1.0, [Join(TWO)], P.JOINING),
        (P.LEAVING, Doubted("network"), 1.0, [], P.LEAVING),
        (P.LEAVING, OURS, 1.0, [], P.LEAVING),
        (P.WAITING, Wanted(True), 0.1, [Join(TWO)], P.JOINING),
        (P.WAITING, Away(), 0.1, [], P.OUT),
        (P.WAITING, Unwanted(True), 0.1, [], P.OUT),
        (P.WAITING, Doubted("network"), 0.1, [Join(TWO)], P.JOINING),
        (P.WAITING, OURS, 0.1, [], P.WAITING),
        (P.WAITING, Tick(), 0.1, [], P.WAITING),
        (P.WAITING, Tick(), 0.13, [Join(TWO)], P.JOINING),
    ],
)
def test_cell(state: PlaceState, event: Event, now: float, effects: list[Effect], after: PlaceState) -> None:
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
def test_ignored_cells_change_nothing(state: PlaceState, event: type) -> None:
    machine = in_state(state)
    before = machine.next_deadline()
    assert machine.step(EXAMPLES[event], 0.1) == []
    assert (machine.state, machine.records, machine.next_deadline()) == (state, [], before)


@pytest.mark.parametrize("state", [P.JOINING, P.HELD, P.LEAVING, P.WAITING])
@pytest.mark.parametrize("kind", [PlaceJoined, PlaceFailed, PlaceLost, PlaceLeft])
def test_a_former_place_is_not_heard(state: PlaceState, kind: type) -> None:
    machine = in_state(state)
    for event in (Unwanted(True), PlaceLeft(ONE), Wanted(True)):
        machine.step(event, 1.0)
    assert (machine.state, machine.generation) == (P.JOINING, TWO)
    assert machine.step(EXAMPLES[kind], 2.0) == []
    assert (machine.state, machine.stale) == (P.JOINING, {kind.__name__: 1})


def test_the_next_place_is_taken_only_when_the_one_before_is_left() -> None:
    machine = in_state(P.HELD)
    assert machine.step(Unwanted(True), 1.0) == [bye(ONE)]
    assert machine.step(Wanted(False), 1.1) == []
    assert machine.step(PlaceLeft(ONE), 2.6) == [Join(TWO)]


def test_without_an_acknowledged_socket_no_place_is_sought() -> None:
    machine = in_state(P.HELD)
    machine.step(Away(), 1.0)
    assert machine.step(PlaceLost(ONE, LossReason.NETWORK), 9.0) == []
    assert (machine.state, machine.next_deadline()) == (P.OUT, None)
    assert machine.step(Wanted(True), 10.0) == [Join(TWO)]


def test_a_contested_place_is_not_taken_back_before_the_cloud_could_say_who_is_the_phone() -> None:
    machine = in_state(P.HELD, chance=0.0)
    assert machine.step(PlaceLost(ONE, LossReason.SUPERSEDED), 60.0) == []
    assert machine.next_deadline() == 60.0 + CONTESTED
    assert machine.step(Unwanted(True), 60.1) == [], "a newer phone is here"
    assert (machine.state, machine.next_deadline()) == (P.OUT, None)


def test_silence_that_nobody_is_named_for_is_ours_after_a_while() -> None:
    machine = in_state(P.HELD)
    machine.step(LIVE, 1.0)
    machine.step(SILENT, 10.0)
    assert machine.next_deadline() == 10.0 + UNHEARD
    assert machine.step(Tick(), 10.0 + UNHEARD) == [cut(ONE)]
    assert machine.step(PlaceLeft(ONE), 13.1) == [Join(TWO)]
    machine.step(PlaceJoined(TWO), 13.2)
    assert machine.next_deadline() == 13.2 + UNHEARD, "it is still told that nothing is heard"


def test_a_place_that_is_blamed_is_renewed_although_audio_goes_by_the_socket() -> None:
    machine = in_state(P.HELD)
    machine.step(AudioTold(ONE, AudioState.LIVE, Blame.PHONE, "nothing comes from the phone in its room"), 10.0)
    assert machine.state is P.LEAVING
    machine.step(PlaceLeft(ONE), 10.1)
    machine.step(PlaceJoined(TWO), 10.2)
    assert machine.next_deadline() == 10.2 + UNHEARD, "it is still blamed"
    machine.step(LIVE, 10.4)
    assert machine.next_deadline() is None


@pytest.mark.parametrize("news", [LIVE, THEIRS, AudioTold(ONE, AudioState.UNAVAILABLE)])
def test_silence_that_is_over_or_somebody_elses_renews_nothing(news: AudioTold) -> None:
    machine = in_state(P.HELD)
    machine.step(SILENT, 10.0)
    machine.step(news, 10.5)
    assert machine.next_deadline() is None


def test_renewals_that_do_not_help_go_up_the_ladder() -> None:
    machine = in_state(P.HELD, chance=0.999)
    now, joins = 10.0, list[float]()
    machine.step(LIVE, 1.0)
    for _ in range(7):
        place = machine.generation
        now += UNHEARD
        machine.step(OURS, now)
        assert machine.step(PlaceLeft(place), now) == ([Join(Generation(place + 1))] if not joins else [])
        if (due := machine.next_deadline()) is not None and machine.state is P.WAITING:
            now = due
            machine.step(Tick(), now)
        joins.append(now)
        machine.step(PlaceJoined(machine.generation), now)
    waits = [b - a - UNHEARD for a, b in pairwise(joins)]
    assert waits == pytest.approx([0.25, 0.5, 1.0, *[LADDER.cap] * 3], rel=0.01)
    machine.step(LIVE, now)
    assert machine.step(PlaceLost(machine.generation, LossReason.NETWORK), now + SETTLED) != [], "it helped at last"


def test_a_new_place_is_not_blamed_for_what_the_cloud_saw_of_the_one_before() -> None:
    machine = in_state(P.HELD)
    assert machine.step(OURS, 1.0) == []
    assert machine.next_deadline() == UNHEARD
    machine.step(LIVE, 1.1)
    assert machine.next_deadline() is None
    machine.step(OURS, 1.2)
    assert machine.step(Tick(), UNHEARD) == [cut(ONE)]


def test_a_join_that_hangs_is_given_up_and_the_next_one_begins_at_once() -> None:
    machine = in_state(P.JOINING)
    assert machine.step(Tick(), PATIENCE[0]) == [bye(ONE)]
    assert machine.step(PlaceLeft(ONE), PATIENCE[0] + 0.1) == [Join(TWO)]
    assert machine.next_deadline() == PATIENCE[0] + 0.1 + PATIENCE[1]


@walk("seed", range(100))
def test_any_sequence_keeps_to_the_table(seed: int) -> None:
    """Never two places at a time; whoever is wanted and waits has a deadline."""
    chance = random.Random(seed)
    machine = PhonePlace(chance.random)
    now, held = 0.0, set[Generation]()
    for _ in range(300):
        place = Generation(max(1, machine.generation - chance.choice((0, 0, 0, 1))))
        events: list[Event] = [
            Wanted(chance.random() < 0.5),
            Away(),
            Unwanted(chance.random() < 0.5),
            PlaceJoined(place),
            PlaceFailed(place, "x"),
            PlaceLost(place, chance.choice((LossReason.NETWORK, LossReason.SUPERSEDED))),
            PlaceLeft(place),
            PlaceLeft(place),
            Doubted("x"),
            chance.choice((LIVE, SILENT, OURS, THEIRS)),
            Tick(),
            Tick(),
        ]
        event = chance.choice(events)
        if isinstance(event, PlaceLeft) and machine.state is not P.LEAVING:
            continue  # a shell answers Leave once
        if isinstance(event, PlaceLost | PlaceFailed) and (machine.state is P.HELD) != isinstance(event, PlaceLost):
            continue  # a shell tells the end of what there is
        due = machine.next_deadline()
        now = max(now, due) if isinstance(event, Tick) and due is not None else now + chance.random()
        old, generation = machine.state, machine.generation
        if isinstance(event, PlaceFailed | PlaceLost | PlaceLeft) and event.place == generation:
            held.discard(generation)
        cell = TABLE[old, type(event)]
        for effect in machine.step(event, now):
            if isinstance(effect, Join):
                assert not held, f"seed {seed}: {held} and {effect}"
                held.add(effect.place)
        if isinstance(cell, Cell) and getattr(event, "place", generation) == generation:
            assert machine.state in cell.to, f"seed {seed}: {event}"
        if machine.state in (P.JOINING, P.WAITING):
            assert machine.next_deadline() is not None, f"seed {seed}: stuck in {machine.state}"
        if machine.state is P.OUT:
            assert not held, f"seed {seed}"


def test_a_place_whose_way_became_long_has_time_until_what_it_sent_has_come() -> None:
    machine = in_state(P.HELD)
    machine.step(Away(), 20.0)
    assert machine.step(Wanted(same=True, late=True), 25.0) == []
    assert machine.step(OURS, 25.1) == []
    assert machine.next_deadline() == 25.0 + UNHEARD
    assert machine.step(LIVE, 25.5) == []
    assert machine.next_deadline() is None


def test_a_place_that_is_unheard_on_a_new_socket_is_renewed_at_once() -> None:
    machine = in_state(P.HELD)
    machine.step(Away(), 20.0)
    machine.step(Wanted(same=True), 25.0)
    assert machine.step(OURS, 25.1) == [cut(ONE)]
