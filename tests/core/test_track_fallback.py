"""By which way a phone with a track sends its audio: each cell of the table, and whole stories."""

import random
from bisect import bisect
from dataclasses import dataclass
from math import inf

import pytest

from glassbridge.core.machine import Cell, missing_cells
from glassbridge.core.track_fallback import (
    ALONE,
    ASK_EVERY,
    BEHIND,
    EVENTS,
    SETTLED,
    TABLE,
    UNHEARD,
    Ask,
    Effect,
    Event,
    FallbackState,
    HeardUpTo,
    Replay,
    RoomLost,
    Tick,
    TrackFallback,
    TrackReady,
)


def play(machine: TrackFallback, until: float, *story: tuple[float, Event]) -> list[tuple[float, Effect]]:
    """Steps at the given seconds, ticks when they are due; the effects and when they came."""
    out: list[tuple[float, Effect]] = []
    for at, event in (*story, (until, None)):
        while (due := machine.next_deadline()) is not None and due <= at:
            out += [(round(due, 3), effect) for effect in machine.step(Tick(), due)]
        out += [(at, effect) for effect in machine.step(event, at)] if event is not None else []
    return out


def state_of(machine: TrackFallback) -> FallbackState:
    return machine.state


def by_track() -> TrackFallback:
    """One whose track carries at second 0.1."""
    machine = TrackFallback(0.0)
    assert play(machine, 0.1, (0.1, TrackReady(0.0))) == []
    assert state_of(machine) is FallbackState.TRACK
    return machine


def test_the_table_is_total() -> None:
    assert missing_cells(TABLE, FallbackState, EVENTS) == []


def test_every_step_ends_where_the_table_says() -> None:
    rng = random.Random(11)
    for _ in range(200):
        machine, now = TrackFallback(0.0), 0.0
        for _ in range(40):
            now += rng.choice((0.0, 0.1, 0.4, 2.0))
            event = rng.choice(
                (
                    RoomLost(spoke=True),
                    RoomLost(spoke=False),
                    TrackReady(0.0),
                    TrackReady(1.0),
                    HeardUpTo(),
                    HeardUpTo(1.3),
                    Tick(),
                )
            )
            before = machine.state
            cell = TABLE[before, type(event)]
            machine.step(event, now)
            allowed = cell.to if isinstance(cell, Cell) else (before,)
            assert machine.state in allowed
            assert (machine.state is FallbackState.ASKING) <= (machine.next_deadline() is not None)


def test_a_room_that_is_never_there_is_told_after_a_while() -> None:
    machine = TrackFallback(0.0)
    play(machine, ALONE - 0.1, (0.5, RoomLost(spoke=False)))
    assert state_of(machine) is FallbackState.WAITING
    play(machine, ALONE + 0.1)
    assert state_of(machine) is FallbackState.SOCKET


def test_what_was_not_heard_goes_first_once_the_cloud_has_told_how_far_it_heard() -> None:
    machine = by_track()
    found = play(machine, 2.0, (1.0, RoomLost(spoke=True)), (1.1, HeardUpTo()), (1.2, TrackReady(0.0)))
    asked = [at for at, effect in found if effect == Ask()]
    assert asked == [1.0 + SETTLED, round(1.0 + SETTLED + ASK_EVERY, 3)], "and it is asked until it answers"
    assert state_of(machine) is FallbackState.ASKING, "an answer that comes too soon, or a room, does not do"
    assert play(machine, 2.1, (2.1, HeardUpTo())) == [(2.1, Replay())]
    assert state_of(machine) is FallbackState.WAITING
    play(machine, 1.0 + ALONE)
    assert state_of(machine) is FallbackState.SOCKET


def test_a_track_of_which_nothing_is_heard_is_dead_whatever_its_room_says() -> None:
    machine = by_track()
    assert play(machine, 2.0, (1.0, HeardUpTo(0.3)), (2.0, HeardUpTo(UNHEARD))) == []
    assert state_of(machine) is FallbackState.TRACK
    assert play(machine, 2.1, (2.1, HeardUpTo(UNHEARD + 0.01))) == [(2.1, Replay())], "nothing is on its way"
    assert state_of(machine) is FallbackState.WAITING
    play(machine, 2.1 + ALONE - UNHEARD)
    assert state_of(machine) is FallbackState.SOCKET, "it has been dead for so long when it is known"


@dataclass
class Path:
    """How packets go from the phone to the cloud."""

    trip: float = 0.05
    loss: float = 0.0
    jitter: float = 0.0
    burst: float = 0.0
    """Seconds of total loss in each 7."""
    dies_at: float = inf


@pytest.mark.parametrize(
    "path",
    [
        Path(),
        Path(loss=0.2),
        Path(jitter=0.2),
        Path(burst=1.0),
        Path(trip=0.8),
        Path(trip=0.8, loss=0.2, jitter=0.2),
        Path(loss=0.1, burst=1.0),
    ],
    ids=str,
)
def test_a_path_that_only_loses_and_delays_is_not_dead(path: Path) -> None:
    assert known_dead(path, 600.0) is None


@pytest.mark.parametrize("trip", [0.02, 0.3, 0.8])
def test_a_path_that_dies_is_known_to_be_dead_within_a_moment_of_the_least(trip: float) -> None:
    for tenth in range(20):
        died = 30.0 + tenth / 10
        known = known_dead(Path(trip=trip, dies_at=died), 60.0)
        assert known is not None
        assert known - died < UNHEARD + 2.0 * trip + 0.1, f"died at {died}"


def known_dead(path: Path, seconds: float) -> float | None:
    """When a phone that writes its track all the time, and asks as it is to, knows that it is dead; None: never.
    Questions and answers are only delayed, as by another route."""
    chance, packets = random.Random(11), list[float]()
    for number in range(round(seconds / 0.02)):
        sent = number * 0.02
        lost = chance.random() < path.loss or sent % 7.0 < path.burst or sent >= path.dies_at
        if not lost:
            packets.append(sent + path.trip / 2 + chance.random() * path.jitter)
    packets.sort()
    machine, asked = by_track(), 1.0
    while asked < seconds:
        at_cloud = asked + path.trip / 2
        came = bisect(packets, at_cloud)
        now, told = asked + path.trip, HeardUpTo(at_cloud - packets[came - 1])
        if machine.step(told, now):
            return now
        asked = now + told.asks_again_in
    return None


def test_where_nothing_went_by_the_track_nothing_waits() -> None:
    machine = by_track()
    assert play(machine, 1.5, (1.0, RoomLost(spoke=False))) == []
    assert state_of(machine) is FallbackState.WAITING


def test_the_track_overtakes_nothing() -> None:
    machine = TrackFallback(0.0)
    play(machine, 3.0, (0.1, RoomLost(spoke=False)), (2.0, TrackReady(BEHIND + 0.01)))
    assert state_of(machine) is FallbackState.SOCKET
    play(machine, 3.0, (3.0, TrackReady(BEHIND)))
    assert state_of(machine) is FallbackState.TRACK
