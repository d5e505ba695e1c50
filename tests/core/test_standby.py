"""Which of two recognisers is believed: each cell of the table, and stories in virtual time."""

import pytest

from glassbridge.core.machine import Cell, missing_cells
from glassbridge.core.recogniser import Reason
from glassbridge.core.standby import (
    EVENTS,
    HELD,
    PATIENCE,
    TABLE,
    Accompany,
    Agreed,
    Believe,
    Drop,
    Effect,
    Event,
    Late,
    Lost,
    Open,
    Opened,
    Return,
    Standby,
    StandbyState,
    TakeOver,
    Tick,
)

S = StandbyState


def play(*story: tuple[float, Event], trusted: bool = True) -> tuple[Standby, list[tuple[float, Effect]]]:
    """From 0.0 on; ticks come when they are due."""
    machine = Standby(lambda: 0.999, trusted=trusted)
    found = [(0.0, effect) for effect in machine.begin(0.0)]
    for at, event in story:
        while (due := machine.next_deadline()) is not None and due <= at:
            found += [(due, effect) for effect in machine.step(Tick(), due)]
        found += [(at, effect) for effect in machine.step(event, at)]
    return machine, found


def kinds(found: list[tuple[float, Effect]]) -> list[type]:
    return [type(effect) for _, effect in found]


def test_the_table_is_total_and_holds_what_it_says() -> None:
    assert missing_cells(TABLE, StandbyState, EVENTS) == []
    every: list[Event] = [Opened(0), Late(0), Agreed(0), Tick()]
    every += [Lost(0, reason) for reason in Reason]
    events: dict[type, list[Event]] = {kind: [event for event in every if type(event) is kind] for kind in EVENTS}
    for (state, kind), cell in TABLE.items():
        for event in events[kind]:
            machine = Standby(lambda: 0.5, trusted=True)
            machine.state, machine._due = state, 0.0
            machine.step(event, 100.0)
            assert machine.state in (cell.to if isinstance(cell, Cell) else (state,)), (state, event)


def test_the_hosted_one_is_believed_as_soon_as_it_is_there() -> None:
    machine, found = play((0.3, Opened(1)))
    assert found == [(0.0, Open(1)), (0.3, Believe(1))]
    assert not machine.state.offline


def test_nobody_waits_long_for_the_hosted_one() -> None:
    machine, found = play((PATIENCE + 2.0, Opened(1)))
    assert kinds(found) == [Open, TakeOver, Accompany]
    assert found[1][0] == PATIENCE
    assert machine.state is S.PROBATION


@pytest.mark.parametrize("reason", [r for r in Reason if r not in (Reason.SILENCE, Reason.CAP, Reason.RESTART)])
def test_whatever_goes_wrong_the_offline_one_takes_over_at_once(reason: Reason) -> None:
    machine, found = play((0.1, Opened(1)), (5.0, Lost(1, reason)))
    assert found[-1] == (5.0, TakeOver(reason.text))
    assert machine.state is (S.ABANDONED if reason.again.value == "never" else S.ALONE)


@pytest.mark.parametrize("reason", [Reason.SILENCE, Reason.CAP, Reason.RESTART])
def test_what_it_ends_for_its_own_good_it_opens_anew(reason: Reason) -> None:
    _, found = play((0.1, Opened(1)), (5.0, Lost(1, reason)), (5.2, Opened(2)))
    assert kinds(found) == [Open, Believe, Open, Believe]
    _, found = play((0.1, Opened(1)), (5.0, Lost(1, reason)), (5.2, Lost(2, Reason.NETWORK)))
    assert kinds(found) == [Open, Believe, Open, TakeOver]


def test_what_is_late_is_dropped() -> None:
    _, found = play((0.1, Opened(1)), (5.0, Late(1)))
    assert kinds(found) == [Open, Believe, Drop, TakeOver]


def test_it_is_back_at_a_pause_after_it_has_held() -> None:
    story: list[tuple[float, Event]] = [(0.1, Opened(1)), (5.0, Lost(1, Reason.NETWORK)), (7.0, Opened(2))]
    _, found = play(*story, (7.0 + HELD - 0.1, Agreed(2)))
    assert kinds(found)[3:] == [Open, Accompany], "it is back too early"
    machine, found = play(*story, (7.0 + HELD, Agreed(2)))
    assert kinds(found)[3:] == [Open, Accompany, Return]
    assert machine.state is S.HOSTED
    machine, _ = play(*story, (7.0 + HELD, Agreed(1)))
    assert machine.state is S.PROBATION


def test_what_fails_again_starts_to_hold_anew_and_is_not_taken_over_twice() -> None:
    machine, found = play(
        (0.1, Opened(1)), (5.0, Lost(1, Reason.NETWORK)), (6.0, Opened(2)), (20.0, Late(2)), (40.0, Opened(3)),
        (40.0 + HELD / 2, Agreed(3)),
    )  # fmt: skip
    assert kinds(found).count(TakeOver) == 1
    assert machine.state is S.PROBATION


def test_a_refused_key_is_never_tried_again() -> None:
    machine, found = play((0.1, Lost(1, Reason.UNAUTHORISED)), (500.0, Agreed(1)))
    assert kinds(found) == [Open, TakeOver]
    assert machine.next_deadline() is None


def test_what_failed_lately_is_not_waited_for() -> None:
    machine, found = play((0.2, Opened(1)), trusted=False)
    assert kinds(found) == [TakeOver, Open, Accompany]
    assert machine.state is S.PROBATION


def test_an_older_stream_touches_nothing() -> None:
    _, found = play((0.1, Opened(1)), (5.0, Late(1)), (8.0, Lost(1, Reason.NETWORK)), (8.1, Opened(1)))
    assert kinds(found) == [Open, Believe, Drop, TakeOver, Open]
