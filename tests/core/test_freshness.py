"""When audio is called late, and when in time again."""

from collections.abc import Iterable

from glassbridge.core.freshness import LASTING, Freshness


def judged(ages: Iterable[float], every: float = 0.125) -> list[tuple[float, bool]]:
    """What `Freshness` says of pieces with these ages that come each `every` seconds: (seconds, late)."""
    freshness, news = Freshness(), []
    freshness.begin(0.0)
    for index, age in enumerate(ages):
        if freshness.judge(age, index * every):
            news.append((round(index * every, 3), freshness.is_late))
    return news


def test_late_audio_is_said_once_it_lasts() -> None:
    assert judged([1.2] * 40) == [(1.125, True)]
    assert judged([1.2] * 8 + [0.1] * 40) == [], "no longer than LASTING"
    assert judged([0.9] * 40) == [], "never older than LATE"


def test_ages_that_go_up_and_down_are_late_all_the_same() -> None:
    """Measured at 24 kbit/s by WebSocket: 94 % of the audio was over half a second old, some of it 2 s, and nobody was
    told, because in each second some was younger than LATE."""
    assert judged([0.8, 0.9, 1.4, 2.0, 1.5, 1.1, 0.9] * 10) == [(1.125, True)]


def test_one_piece_in_time_begins_the_count_anew() -> None:
    assert judged(([1.5] * 7 + [0.4]) * 10) == []


def test_it_is_in_time_again_when_nothing_was_late_for_a_while() -> None:
    assert judged([1.5] * 16 + [0.4] * 24) == [(1.125, True), (3.0, False)]
    assert judged([1.5] * 16 + [0.9] * 24) == [(1.125, True)], "of ages about LATE people are told once"
    assert judged([1.5] * 16 + [0.1, 0.1, 0.1, 1.5] * 10) == [(1.125, True)]


def test_after_a_pause_the_first_piece_says_that_it_is_in_time() -> None:
    freshness = Freshness()
    freshness.judge(2.0, 0.0)
    assert freshness.is_late
    assert freshness.judge(0.1, 3 * LASTING)
    assert not freshness.is_late
