"""What an app reads of a session, with the gaps in it."""

from glassbridge.app.events import Gap, Transcription
from glassbridge.app.transcript import Transcript


def said(text: str, begin: int, *, final: bool = True) -> Transcription:
    return Transcription(text, final, "en-US", begin, begin + 1_000, None, None)


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
