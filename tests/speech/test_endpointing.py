"""The rule of utterances, frame by frame."""

import pytest

from glassbridge.speech.endpointing import (
    CUT_MARGIN,
    FRAME_MS,
    FULL_FRAMES,
    LEAD,
    PAUSES,
    TAIL,
    Endpointer,
    Mark,
)

LONGEST_PAUSE = PAUSES[0][1]


def run(voiced: str, endpointer: Endpointer | None = None) -> list[Mark]:
    """One frame for each character: x is speech, + may be, . is none."""
    endpointer = endpointer or Endpointer()
    power = {"x": 1e-2, "+": 1e-3, ".": 1e-6}
    return [endpointer.take({"x": 0.9, "+": 0.35, ".": 0.02}[mark], power[mark]) for mark in voiced]


def at(marks: list[Mark], mark: Mark) -> list[int]:
    return [n for n, found in enumerate(marks) if found is mark]


@pytest.mark.parametrize("voiced", ["." * 200, "....xx......xx....x....." * 5, "+" * 200])
def test_silence_clicks_and_murmur_are_nothing(voiced: str) -> None:
    assert set(run(voiced)) == {Mark.SILENCE}


def test_an_utterance_reaches_back_and_takes_some_silence_with_it() -> None:
    endpointer = Endpointer()
    marks = run("." * 20 + "x" * 30 + "." * 40, endpointer)
    assert at(marks, Mark.BEGINS) == [22]
    assert at(marks, Mark.ENDS) == [49 + LONGEST_PAUSE]
    utterance = endpointer.utterance
    assert (utterance.start, utterance.first, utterance.last) == (20 - LEAD, 20, 49)
    assert utterance.end == 50 + TAIL


def test_the_end_of_speech_is_known_within_600_ms_in_noise_too() -> None:
    for between in (1e-6, 5e-3):
        endpointer = Endpointer()
        marks = []
        for mark in "." * 40 + "x" * 100 + "." * 40:
            marks.append(endpointer.take(0.9 if mark == "x" else 0.02, 1e-2 if mark == "x" else between))
        assert endpointer.noisy == (between > 1e-4)
        [end] = at(marks, Mark.ENDS)
        assert (end + 1 - 140) * FRAME_MS <= 600


def test_what_may_be_speech_goes_on_but_does_not_begin() -> None:
    assert at(run("x" * 10 + "+" * 60 + "x" * 10), Mark.ENDS) == []


def test_a_pause_inside_a_sentence_does_not_end_it_but_one_between_sentences_does() -> None:
    assert at(run("x" * 30 + "." * (480 // FRAME_MS) + "x" * 30), Mark.ENDS) == []
    marks = run("x" * 30 + "." * (700 // FRAME_MS) + "x" * 30)
    assert len(at(marks, Mark.BEGINS)) == 2
    assert len(at(marks, Mark.ENDS)) == 1


def test_no_frame_belongs_to_two_utterances() -> None:
    endpointer = Endpointer()
    ends, starts = [], []
    for mark in ("x" * 30 + "." * (LONGEST_PAUSE + 2)) * 4:
        took = run(mark, endpointer)[0]
        if took is Mark.BEGINS:
            starts.append(endpointer.utterance.start)
        if took is Mark.ENDS:
            ends.append(min(endpointer.utterance.end, endpointer.count))
    assert len(starts) == 4
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))


@pytest.mark.parametrize(("seconds", "pause"), [(8.5, 15), (10, 10), (13, 4)])
def test_a_long_utterance_ends_with_a_shorter_pause(seconds: float, pause: int) -> None:
    long = "x" * int(seconds * 1000 / FRAME_MS)
    assert len(at(run(long + "." * pause + "x"), Mark.ENDS)) == (seconds > 9)


def test_somebody_who_never_pauses_is_cut_where_it_is_quietest() -> None:
    endpointer = Endpointer()
    for frame in range(FULL_FRAMES + 20):
        quiet = {300: 1e-5, 200: 1e-6, 380: 1e-4, 40: 1e-9}.get(frame, 1e-2)
        mark = endpointer.take(0.9, quiet)
    assert mark is Mark.FULL
    assert endpointer.quietest(2) == [300, 380], "the first half is no place, and the quieter comes first"
    endpointer.cut(300)
    assert endpointer.utterance.start == 300
    assert endpointer.take(0.9, 1e-2) is Mark.GOES_ON
    assert all(frame <= endpointer.count - CUT_MARGIN for frame in endpointer.quietest(4))


def test_reset_forgets() -> None:
    endpointer = Endpointer()
    run("x" * 20, endpointer)
    endpointer.reset()
    assert not endpointer.in_speech
    assert run("x", endpointer) == [Mark.SILENCE]
    run("xx", endpointer)
    assert endpointer.utterance.start == 20, "what was heard before a reset is no part of the next"
