"""What an app reads of a session, with the gaps in it."""

from typing import Any

from glassbridge.app.events import Gap, Transcription
from glassbridge.app.transcript import Transcript


def said(text: str, begin: int, *, final: bool = True, **about: Any) -> Transcription:
    return Transcription(text, final, "en-US", begin, begin + 1_000, None, None, **about)


def test_finals_in_order_and_each_once() -> None:
    transcript = Transcript()
    for line in (said("Good", 0, final=False), said("Good morning.", 0), said("Good morning.", 0), said("Yes.", 3_000)):
        transcript.note(line)
    assert transcript.text == "Good morning. Yes."


def test_a_gap_is_shown_and_goes_when_its_words_have_come() -> None:
    transcript = Transcript()
    transcript.note(said("One.", 0))
    transcript.note(Gap("a", 1_000, 30.0, "open"))
    assert transcript.text == "One. [30 s are missing]"
    transcript.note(Gap("a", 1_000, 30.0, "filled"))
    transcript.note(said("Two.", 2_000))
    assert transcript.text == "One. Two."


def test_a_gap_that_stays_is_kept_at_its_place() -> None:
    transcript = Transcript()
    transcript.note(Gap("a", 1_000, 3.0, "open"))
    transcript.note(said("Two.", 4_000))
    transcript.note(Gap("a", 1_000, 3.0, "kept"))
    assert [type(line).__name__ for line in transcript.lines] == ["Gap", "Transcription"]
    first = transcript.lines[0]
    assert isinstance(first, Gap)
    assert first.state == "kept"


def test_what_came_late_stands_in_its_place_and_in_place_of_what_it_spoilt() -> None:
    transcript = Transcript()
    for line in (said("One.", 0, id="u1"), said("Tw", 2_000, id="u2"), said("or.", 9_000, id="u3")):
        transcript.note(line)
    transcript.note(said("Five.", 15_000, id="u4"))
    transcript.note(Gap("a", 3_000, 6.0, "open"))
    late = [
        said("Two.", 2_000, id="u5", inserts="a", replaces=("u2", "u3")),
        said("Three.", 5_000, id="u6", inserts="a"),
        said("Four.", 8_000, id="u7", inserts="a"),
    ]
    for line in (*late, *late):
        transcript.note(line)
    assert transcript.text == "One. Two. [6 s are missing] Three. Four. Five."
    transcript.note(Gap("a", 3_000, 6.0, "filled"))
    assert transcript.text == "One. Two. Three. Four. Five."
    transcript.note(said("Six.", 18_000, id="u8"))
    assert transcript.text.endswith("Five. Six.")
