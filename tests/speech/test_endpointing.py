"""The rule of utterances, frame by frame."""

from glassbridge.speech.endpointing import END_FRAMES, FRAME_MS, MAX_FRAMES, START_FRAMES, Endpointer, Speech


def run(voiced: str) -> list[Speech | None]:
    """One frame for each character: x is speech, . is none; frames are numbered."""
    endpointer = Endpointer()
    return [endpointer.take(str(n).encode(), mark == "x") for n, mark in enumerate(voiced)]


def begins(taken: list[Speech | None]) -> list[int]:
    return [n for n, speech in enumerate(taken) if speech and speech.begins]


def ends(taken: list[Speech | None]) -> list[int]:
    return [n for n, speech in enumerate(taken) if speech and speech.ends]


def test_silence_is_nothing() -> None:
    assert run("." * 200) == [None] * 200


def test_clicks_are_nothing() -> None:
    assert set(run("....xx......xx....x....." * 5)) == {None}


def test_an_utterance_reaches_back_and_holds_every_frame_once() -> None:
    taken = run("." * 20 + "x" * 30 + "." * 40)
    [first] = begins(taken)
    [last] = ends(taken)
    heard = [int(frame) for speech in taken if speech for frame in speech.frames]
    assert heard == list(range(heard[0], last + 1))
    assert heard[0] <= 20, "the first word was cut"
    assert first - heard[0] == START_FRAMES - 1
    assert 49 < last <= 50 + END_FRAMES


def test_a_pause_inside_a_sentence_does_not_end_it() -> None:
    pause = 400 // FRAME_MS
    assert ends(run("x" * 30 + "." * pause + "x" * 30)) == []


def test_a_pause_between_sentences_does() -> None:
    taken = run("x" * 30 + "." * (700 // FRAME_MS) + "x" * 30)
    assert len(begins(taken)) == 2
    assert len(ends(taken)) == 1


def test_somebody_who_never_pauses_is_cut() -> None:
    taken = run("x" * (2 * MAX_FRAMES + 100))
    assert len(ends(taken)) == 2
    heard = [int(frame) for speech in taken if speech for frame in speech.frames]
    assert heard == list(range(len(taken))), "frames around the cut belong to one side or the other"


def test_reset_forgets() -> None:
    endpointer = Endpointer()
    for _ in range(20):
        endpointer.take(b"", True)
    endpointer.reset()
    assert not endpointer.in_speech
    assert endpointer.take(b"", True) is None
