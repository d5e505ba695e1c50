"""When a superseded phone of the original is kept open."""

import pytest

from glassbridge.core.rivals import KEPT, LATEST, SOONEST, TURNS, Rivals


def kept(*times: float, others: int = 0) -> list[bool]:
    rivals = Rivals()
    return [rivals.keeps(others, at) for at in times]


def test_phones_that_take_turns_are_both_kept_from_then_on() -> None:
    times = [5.0 * turn for turn in range(TURNS + 1)]
    assert kept(*times, 500.0, 500.1) == [False] * TURNS + [True] * 3


@pytest.mark.parametrize("gap", [0.0, SOONEST - 0.01, LATEST + 0.01])
def test_sockets_of_one_phone_and_a_change_of_phones_are_no_turns(gap: float) -> None:
    assert not any(kept(*[gap * turn for turn in range(20)]))


def test_a_pause_begins_the_count_anew() -> None:
    assert kept(0, 5, 10, 60, 65, 70, 75) == [False] * 6 + [True]


def test_there_is_a_limit() -> None:
    assert not any(kept(*[5.0 * turn for turn in range(20)], others=KEPT))
