"""Words as they are compared: what was spoken against what was understood. The one rule of the demo, the tests and
`glassbridge bench speech` (docs/speech.md).

Rules
- Case, punctuation and typographic variants do not count; an apostrophe inside a word does.
- A hyphen separates words; `to-day`, `to-morrow` and `to-night` are one word each.
- Numbers in digits are spelt out, and so are the abbreviations of SPELT.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

SPELT: Final = {
    "mr": "mister", "mrs": "missus", "dr": "doctor", "st": "saint", "vs": "versus", "ok": "okay", "%": "percent",
    "&": "and", "a.m": "am", "p.m": "pm",
}  # fmt: skip
_ONES: Final = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS: Final = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = ((10**9, "billion"), (10**6, "million"), (1_000, "thousand"), (100, "hundred"))
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip
_MOST_DIGITS = 12
_OLD_SPELLING = re.compile(r"\bto-(day|morrow|night)\b")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_TOKEN = re.compile(r"\d+\.\d+|\d+(?:st|nd|rd|th)\b|\d+|[ap]\.m\b|[^\W\d_]+(?:'[^\W\d_]+)*|[%&]")


def normalised(text: str) -> list[str]:
    """The words of a text, as they are compared."""
    text = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'").replace("\u2018", "'")
    text = _THOUSANDS.sub("", _OLD_SPELLING.sub(r"to\1", text))
    return [word for token in _TOKEN.findall(text) for word in _spell(token)]


def _spell(token: str) -> Iterator[str]:
    if not token[0].isdecimal():
        yield SPELT.get(token, token)
        return
    whole, _, fraction = token.partition(".")
    digits = whole.rstrip("stndrh")
    if len(digits) > _MOST_DIGITS:
        yield from (_ONES[int(digit)] for digit in digits)
        return
    words = list(_number(int(digits)))
    if digits != whole:
        words[-1] = _ordinal(words[-1])
    yield from words
    if fraction:
        yield "point"
        yield from (_ONES[int(digit)] for digit in fraction)


def _number(number: int) -> Iterator[str]:
    for scale, name in _SCALES:
        if number >= scale:
            yield from _number(number // scale)
            yield name
            number %= scale
            if number == 0:
                return
    if number < len(_ONES):
        yield _ONES[number]
        return
    yield _TENS[number // 10]
    if number % 10:
        yield _ONES[number % 10]


def _ordinal(word: str) -> str:
    return _ORDINALS.get(word) or (f"{word[:-1]}ieth" if word.endswith("y") else f"{word}th")


def word_errors(spoken: Sequence[str], heard: Sequence[str]) -> int:
    """How many words were replaced, left out or added: the word error rate is this by the words spoken."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(spoken, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]
