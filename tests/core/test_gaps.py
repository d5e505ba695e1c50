"""Where words are missing, from what the ledger says of a phone's audio."""

from collections.abc import Callable

from glassbridge.core.gaps import LEAST, MOST_OPEN, Gap, Gaps, GapState
from glassbridge.core.uplink import REPLAYABLE

SECOND = 16_000


def at(ms: int) -> Callable[[int, int], int]:
    return lambda _epoch, _position: ms


def states(news: list[Gap]) -> list[tuple[float, GapState]]:
    return [(gap.seconds, gap.state) for gap in news]


def test_a_hole_is_told_once_at_its_place_and_again_when_it_is_filled() -> None:
    gaps = Gaps()
    assert gaps.note(7, 10 * SECOND, [], at(10_000)) == []
    [gap] = gaps.note(7, 41 * SECOND, [(10 * SECOND, 40 * SECOND)], at(10_000))
    assert (gap.at_ms, gap.seconds, gap.state) == (10_000, 30.0, GapState.OPEN)
    assert gaps.note(7, 42 * SECOND, [(10 * SECOND, 40 * SECOND)], at(10_000)) == []
    assert gaps.note(7, 43 * SECOND, [(20 * SECOND, 40 * SECOND)], at(10_000)) == [], "a part of it is no news"
    [filled] = gaps.note(7, 44 * SECOND, [], at(40_000))
    assert (filled.id, filled.at_ms, filled.state) == (gap.id, 10_000, GapState.FILLED)
    assert gaps.note(7, 45 * SECOND, [], at(45_000)) == []


def test_what_holds_no_word_is_not_told() -> None:
    assert Gaps().note(7, 10 * SECOND, [(SECOND, SECOND + int(LEAST * SECOND) - 1)], at(9_000)) == []


def test_a_hole_that_grows_is_told_as_another_one_and_no_sample_of_it_twice() -> None:
    gaps = Gaps()
    assert states(gaps.note(7, 5 * SECOND, [(2 * SECOND, 5 * SECOND)], at(2_000))) == [(3.0, GapState.OPEN)]
    assert states(gaps.note(7, 9 * SECOND, [(2 * SECOND, 9 * SECOND)], at(2_000))) == [(4.0, GapState.OPEN)]
    assert states(gaps.note(7, 10 * SECOND, [], at(9_000))) == [(3.0, GapState.FILLED), (4.0, GapState.FILLED)]


def test_what_the_phone_cannot_have_any_more_stays() -> None:
    gaps = Gaps()
    gaps.note(7, 5 * SECOND, [(2 * SECOND, 5 * SECOND)], at(2_000))
    assert states(gaps.note(7, 5 * SECOND + REPLAYABLE, [], at(90_000))) == [(3.0, GapState.KEPT)]
    gaps.note(8, 5 * SECOND, [(2 * SECOND, 5 * SECOND)], at(92_000))
    assert states(gaps.note(9, SECOND, [], at(95_000))) == [(3.0, GapState.KEPT)], "another epoch"


def test_their_number_is_bounded() -> None:
    gaps = Gaps()
    kept = 0
    for number in range(2 * MOST_OPEN):
        holes = [(n * 2 * SECOND, (n * 2 + 1) * SECOND) for n in range(max(0, number - 40), number + 1)]
        kept += sum(gap.state is not GapState.OPEN for gap in gaps.note(7, (number * 2 + 1) * SECOND, holes, at(0)))
    assert kept >= MOST_OPEN
