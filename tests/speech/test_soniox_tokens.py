"""What tokens of Soniox amount to."""

import random
from itertools import pairwise

import pytest

from glassbridge.speech.base import Transcript, Want
from glassbridge.speech.soniox_protocol import END, FIN, Token
from glassbridge.speech.soniox_tokens import LONGEST_UTTERANCE_MS, TokenUtterances


def token(text: str, at: int, *, final: bool = True, speaker: str | None = None, status: str | None = None) -> Token:
    """300 ms from `at`."""
    timed = status != "translation"
    return Token(
        text,
        final,
        at if timed else None,
        at + 300 if timed else None,
        speaker=speaker,
        translation_status=status,
        confidence=0.5,
    )


MARK, DONE = Token(END, is_final=True), Token(FIN, is_final=True)


def told(transcripts: list[Transcript]) -> list[tuple[str, bool]]:
    return [(said.text, said.final) for said in transcripts]


def test_provisional_tokens_are_replaced_and_final_ones_never_come_again() -> None:
    utterances = TokenUtterances(Want("en"))
    assert told(utterances.take([token("How", 0, final=False)])) == [("How", False)]
    assert told(utterances.take([token("How", 0), token(" are", 300, final=False)])) == [("How are", False)]
    assert told(utterances.take([token(" are", 300, final=False)])) == [], "nothing new"
    (said,) = utterances.take([token(" are", 300), token(" you", 600), MARK])
    assert (said.text, said.final, said.start_ms, said.end_ms, said.confidence) == ("How are you", True, 0, 900, 0.5)
    assert utterances.take([MARK, DONE]) == []


def test_an_answer_may_end_one_utterance_and_begin_the_next() -> None:
    utterances = TokenUtterances(Want("en"))
    said = utterances.take([token("yes", 0), MARK, token("but", 900, final=False)])
    assert told(said) == [("yes", True), ("but", False)]


def test_each_speaker_has_a_transcript() -> None:
    utterances = TokenUtterances(Want("en"))
    tokens = [token("Hello", 0, speaker="1"), token(" Ann", 300, speaker="1"), token("Hi", 600, speaker="2"), MARK]
    assert [(t.text, t.speaker, t.start_ms) for t in utterances.take(tokens)] == [
        ("Hello Ann", "1", 0),
        ("Hi", "2", 600),
    ]


def test_somebody_who_never_pauses_is_cut() -> None:
    utterances, finals = TokenUtterances(Want("en")), []
    for n in range(200):
        finals += [said for said in utterances.take([token(f" w{n}", n * 300)]) if said.final]
    finals += [said for said in utterances.take([DONE]) if said.final]
    assert len(finals) == 3
    assert all(said.end_ms - said.start_ms <= LONGEST_UTTERANCE_MS + 300 for said in finals)
    assert " ".join(said.text for said in finals).split() == [f"w{n}" for n in range(200)]


@pytest.mark.parametrize("late", [False, True])
def test_a_translation_waits_for_what_comes_after_the_end(late: bool) -> None:
    utterances = TokenUtterances(Want("es", "en"))
    spoken = [token("hola", 0, status="original")]
    translated = [token("hello", 0, status="translation")]
    if late:
        assert utterances.take([*spoken, MARK]) == []
        said = [*utterances.take(translated), *utterances.take([DONE])]
    else:
        said = utterances.take([*spoken, *translated, MARK])
    (final,) = (one for one in said if one.final)
    assert (final.text, final.original, final.start_ms, final.end_ms) == ("hello", "hola", 0, 300)


def test_what_needs_no_translation_is_given_as_it_is() -> None:
    (said,) = TokenUtterances(Want("auto", "en")).take([token("hello", 0, status="none"), MARK])
    assert (said.text, said.original) == ("hello", None)


@pytest.mark.parametrize("seed", range(20))
def test_no_word_is_lost_or_doubled_however_it_is_cut(seed: int) -> None:
    chance = random.Random(seed)
    utterances, finals, n = TokenUtterances(Want("en")), [], 0
    while n < 60:
        count = chance.randrange(4)
        tokens = [token(f" w{n + k}", (n + k) * 300, speaker=chance.choice("12")) for k in range(count)]
        n += count
        if chance.random() < 0.3:
            tokens.append(MARK)
        tokens += [token(" maybe", n * 300, final=False)] * chance.randrange(2)
        finals += [said for said in utterances.take(tokens) if said.final]
    finals += [said for said in utterances.take([DONE]) if said.final]
    assert " ".join(said.text for said in finals).split() == [f"w{k}" for k in range(n)], f"seed {seed}"
    assert all(a.end_ms <= b.start_ms for a, b in pairwise(finals)), f"seed {seed}"
