"""What people are told of late captions, in virtual time."""

import pytest

from glassbridge.core.machine import Cell, missing_cells
from glassbridge.core.slowness import (
    CALM,
    EVENTS,
    FINALS_ONLY,
    LATE,
    TABLE,
    USUAL,
    Answered,
    Effect,
    Event,
    InTime,
    Paced,
    Slow,
    Slowness,
    SlownessState,
    Tick,
)


def play(machine: Slowness, *story: tuple[float, Event], until: float = 100.0) -> list[tuple[float, Effect]]:
    """Steps at the given seconds, ticks when they are due; the effects and when they came."""
    found: list[tuple[float, Effect]] = []
    for at, event in (*story, (until, None)):
        while (due := machine.next_deadline()) is not None and due <= at:
            found += [(due, effect) for effect in machine.step(Tick(), due)]
        if event is not None:
            found += [(at, effect) for effect in machine.step(event, at)]
    return found


def test_the_table_is_total_and_holds_what_it_says() -> None:
    assert missing_cells(TABLE, SlownessState, EVENTS) == []
    for (state, event), cell in TABLE.items():
        machine = Slowness()
        machine.state = state
        events: dict[type, Event] = {Answered: Answered(9.0), Paced: Paced(None), Tick: Tick()}
        machine.step(events[event], 1.0)
        assert machine.state in (cell.to if isinstance(cell, Cell) else (state,))


@pytest.mark.parametrize("event", [Answered(LATE), Answered(0.0), Paced(USUAL), Paced(0.0)])
def test_what_is_usual_is_not_told(event: Event) -> None:
    assert play(Slowness(), (1.0, event)) == []


def test_slower_partials_are_told_and_their_end_too() -> None:
    story = [(1.0, Paced(1.0)), (2.0, Paced(2.0)), (3.0, Paced(None)), (30.0, Paced(2.0)), (50.0, Paced(0.5))]
    assert play(Slowness(), *story) == [
        (1.0, Slow(1.0, False)),
        (2.0, Slow(2.0, False)),
        (3.0, Slow(FINALS_ONLY, True)),
        (30.0, Slow(2.0, False)),
        (50.0 + CALM, InTime()),
    ]


def test_late_answers_are_told_once_unless_they_become_much_worse_or_better() -> None:
    story = [
        (1.0, Answered(3.0)),
        (2.0, Answered(4.0)),
        (3.0, Answered(6.5)),
        (4.0, Answered(7.0)),
        (5.0, Answered(3.0)),
    ]
    assert play(Slowness(), *story) == [
        (1.0, Slow(3.0, False)),
        (3.0, Slow(6.5, False)),
        (5.0, Slow(3.0, False)),
        (5.0 + CALM, InTime()),
    ]


def test_an_answer_in_time_does_not_make_it_well_at_once() -> None:
    story = [(1.0, Answered(3.0)), (2.0, Answered(0.5)), (4.0, Answered(3.0))]
    assert play(Slowness(), *story) == [(1.0, Slow(3.0, False)), (4.0 + CALM, InTime())]
