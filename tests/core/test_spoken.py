"""What a new stream is given, what time it is there, and who may have one: the small rules around a recognition."""

from itertools import pairwise

import pytest

from glassbridge.core.admission import Admission, Limits
from glassbridge.core.speech_clock import Lag, LagBook, StreamClock
from glassbridge.core.spoken import BEHIND, PRE_ROLL, RECENT, Piece, Spoken

SECOND = 16_000


def pieces(start: float, stop: float) -> list[Piece]:
    """100 ms each; their bytes tell their positions."""
    return [
        Piece(n * 1_600, n.to_bytes(2, "little") * 1_600, n / 10) for n in range(round(start * 10), round(stop * 10))
    ]


def keep(spoken: Spoken, start: float, stop: float) -> None:
    for piece in pieces(start, stop):
        spoken.keep(piece)


def pass_by(spoken: Spoken, start: float, stop: float) -> None:
    for piece in pieces(start, stop):
        spoken.pass_by(piece)


def span(spoken: Spoken) -> tuple[float, float] | None:
    """Seconds of the session that are given now."""
    taken = list(spoken.take())
    assert all(a.end == b.start for a, b in pairwise(taken)), "a hole"
    return (taken[0].start / SECOND, taken[-1].end / SECOND) if taken else None


def test_a_speech_begins_with_its_pre_roll() -> None:
    spoken = Spoken()
    pass_by(spoken, 0.0, 6.0)
    spoken.begins(6 * SECOND)
    keep(spoken, 6.0, 6.5)
    assert span(spoken) == (6.0 - PRE_ROLL, 6.5)
    keep(spoken, 6.5, 7.0)
    assert span(spoken) == (6.5, 7.0)
    assert not spoken.waiting
    assert spoken.dropped == 0


def test_the_pre_roll_never_repeats_what_was_given() -> None:
    spoken = Spoken()
    keep(spoken, 0.0, 6.0)
    span(spoken)
    spoken.begins(6 * SECOND)
    keep(spoken, 6.0, 6.5)
    assert span(spoken) == (6.0, 6.5)


def test_somebody_who_had_no_room_begins_with_what_was_said_lately() -> None:
    spoken = Spoken()
    spoken.begins(0)
    keep(spoken, 0.0, 20.0)
    spoken.crowded_out()
    assert span(spoken) == (20.0 - RECENT, 20.0)
    assert spoken.dropped == (20.0 - RECENT) * SECOND, "it is not told that words are missing"
    keep(spoken, 20.0, 24.0)
    spoken.crowded_out()
    assert span(spoken) == (24.0 - RECENT, 24.0)


def test_somebody_who_lost_a_stream_and_had_no_room_begins_with_what_was_said_lately_too() -> None:
    """Captions of what was said 12 s ago would be 12 s late, and those of the others, too."""
    spoken = Spoken()
    keep(spoken, 0.0, 4.0)
    assert span(spoken) == (0.0, 4.0)
    spoken.lost()
    keep(spoken, 4.0, 12.0)
    spoken.crowded_out()
    assert span(spoken) == (12.0 - RECENT, 12.0)
    assert spoken.dropped == (12.0 - RECENT) * SECOND, "it is not told that words are missing"
    spoken.lost()
    assert span(spoken) == (12.0 - RECENT, 12.0)


def test_a_lost_stream_leaves_what_it_did_not_understand_once() -> None:
    spoken = Spoken()
    keep(spoken, 0.0, 4.0)
    assert span(spoken) == (0.0, 4.0)
    spoken.understood(3 * SECOND)
    spoken.lost()
    keep(spoken, 4.0, 5.0)
    assert span(spoken) == (3.0, 5.0)
    spoken.lost()
    assert span(spoken) == (4.0, 5.0), "what broke two streams is not given to a third"


def test_silence_takes_nothing_from_what_a_stream_that_proves_dead_has_not_understood() -> None:
    spoken = Spoken()
    keep(spoken, 0.0, 4.0)
    assert span(spoken) == (0.0, 4.0)
    spoken.understood(1 * SECOND)
    pass_by(spoken, 4.0, 12.0)
    assert not spoken.waiting
    spoken.lost()
    assert span(spoken) == (1.0, 12.0)


def test_silence_takes_nothing_from_what_no_stream_was_given() -> None:
    spoken = Spoken()
    keep(spoken, 0.0, 2.0)
    pass_by(spoken, 2.0, 10.0)
    spoken.begins(10 * SECOND)
    keep(spoken, 10.0, 11.0)
    assert span(spoken) == (0.0, 11.0)
    assert spoken.dropped == 0


def test_of_silence_after_what_was_understood_only_the_pre_roll_is_kept() -> None:
    spoken = Spoken()
    keep(spoken, 0.0, 4.0)
    span(spoken)
    spoken.understood(4 * SECOND)
    pass_by(spoken, 4.0, 4.0 + BEHIND)
    assert len(spoken._pieces) <= PRE_ROLL * 10 + 1
    spoken.lost()
    assert not spoken.waiting


def test_what_nobody_took_in_time_is_counted() -> None:
    spoken = Spoken()
    keep(spoken, 0.0, BEHIND + 3.0)
    assert spoken.dropped == 3 * SECOND
    assert span(spoken) == (3.0, BEHIND + 3.0)


def test_times_are_continuous_across_what_was_not_fed_and_across_streams() -> None:
    first = StreamClock()
    first.fed(SECOND, 1 * SECOND, came_at=1.0, fed_at=1.0)
    first.fed(SECOND, 8 * SECOND, came_at=8.0, fed_at=8.0)
    assert [first.end(ms) // 16 for ms in (500, 1000, 1500, 2000, 2100)] == [500, 1000, 7500, 8000, 8100]
    assert [first.begin(ms) // 16 for ms in (0, 500, 1000)] == [0, 500, 7000]
    second = StreamClock()
    second.fed(SECOND, 9 * SECOND, came_at=9.0, fed_at=9.4)
    assert second.begin(0) == 8 * SECOND
    assert second.end(1000) == 9 * SECOND


def test_lag_is_split_by_hop() -> None:
    clock, book = StreamClock(), LagBook()
    assert clock.lag(0, 1.0) is None
    clock.fed(SECOND, SECOND, came_at=1.0, fed_at=1.5)
    lag = clock.lag(900, 2.25)
    assert lag == Lag(0.5, 0.75)
    book.note(lag)
    book.note(Lag(0.0, 0.25))
    assert (book.answers, book.worst.total, book.mean) == (2, 1.25, Lag(0.25, 0.5))


def test_what_ends_with_audio_that_came_late_is_late_by_that_and_not_by_the_recogniser() -> None:
    """Whether an utterance has ended is known by the silence after it. A link that stood still held that up."""
    clock = StreamClock()
    clock.fed(2 * SECOND, 2 * SECOND, came_at=2.0, fed_at=2.0)
    assert clock.lag(1_700, 2.5) == Lag(0.0, 0.5)
    clock.fed(SECOND, 3 * SECOND, came_at=13.0, fed_at=13.0)
    late = [lag.total for end_ms in (1_700, 2_000, 2_900) if (lag := clock.lag(end_ms, 13.2)) is not None]
    assert late == pytest.approx([1.2, 1.2, 0.2]), "the second that came is the speaker's"


def test_a_silence_that_was_not_fed_is_no_delay_of_the_recogniser_either() -> None:
    clock = StreamClock()
    clock.fed(SECOND, SECOND, came_at=1.0, fed_at=1.1)
    clock.fed(SECOND // 10, 20 * SECOND, came_at=20.0, fed_at=20.0)
    lag = clock.lag(1_000, 20.2)
    assert lag is not None
    assert lag.total < 1.2


def test_streams_are_let_in_by_number_by_pace_and_by_the_minute() -> None:
    admission = Admission(Limits(streams=3, opening=2, per_minute=4))
    assert [admission.wait(0.0), admission.wait(0.0)] == [0.0, 0.0]
    assert admission.wait(0.0) > 0.0, "two are being opened"
    admission.opened()
    admission.failed()
    assert [admission.wait(1.0), admission.wait(1.0)] == [0.0, 0.0]
    assert admission.full
    admission.opened()
    admission.failed()
    assert admission.wait(2.0) == 58.0, "four in the last minute"
    assert admission.wait(60.0) == 0.0
    assert admission.open == 2
