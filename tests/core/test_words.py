"""Words as they are compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbridge.core.words import normalised, word_errors


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Good morning.", "good morning"),
        ("Remind me to call my mother at five o\u2019clock!", "remind me to call my mother at five o'clock"),
        ("And Mr. John Dashwood", "and mister john dashwood"),
        ("an ill-disposed, rather cold\u2013hearted man", "an ill disposed rather cold hearted man"),
        ("To-day, to-morrow and To-night", "today tomorrow and tonight"),
        ("at 5 o'clock on the 21st", "at five o'clock on the twenty first"),
        ("1,250 of 3.5 at 50%", "one thousand two hundred fifty of three point five at fifty percent"),
        ("the 12th, the 30th, 100 and 0", "the twelfth the thirtieth one hundred and zero"),
        ("\u201cCaf\u00e9\u201d \u2026 '' -- _", "caf\u00e9"),
        ("at 5 p.m. or 6 a.m", "at five pm or six am"),
        ("call 12345678901234", "call one two three four five six seven eight nine zero one two three four"),
    ],
)
def test_what_counts_as_the_same(text: str, words: str) -> None:
    assert normalised(text) == words.split()


@given(st.text(max_size=60))
def test_any_text_has_words_and_they_are_settled(text: str) -> None:
    words = normalised(text)
    assert normalised(" ".join(words)) == words


@pytest.mark.parametrize(
    ("spoken", "heard", "errors"),
    [
        ("a b c", "a b c", 0),
        ("a b c", "a c", 1),
        ("a b c", "a x c", 1),
        ("a b c", "a b d c", 1),
        ("a b", "", 2),
        ("", "a", 1),
    ],
)
def test_replaced_left_out_and_added_words_are_errors(spoken: str, heard: str, errors: int) -> None:
    assert word_errors(spoken.split(), heard.split()) == errors
