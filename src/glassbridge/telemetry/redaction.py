"""Keeps secrets out of text. It is the last thing that happens to a log line, so no writer can go around it."""

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

MASK = "[redacted]"
MIN_SECRET_CHARS = 8
"""Shorter secrets are ordinary words ("secret"): removing them would say where they stood."""

LONG_S = "\u017f"
"""In Unicode it is an s of another case."""
_WORDS = ("token", "secret", "password", "api_?key", "authorization")


def _any_case(words: Iterable[str]) -> str:
    """A pattern for any of them, in any case. It starts with a plain letter: only then does `re` skip what cannot
    match."""
    return "|".join(
        f"{first}(?i:{word[1:]})"
        for word in words
        for first in f"{word[0]}{word[0].upper()}{LONG_S * (word[0] == 's')}"
    )


_NAME = f"(?:{_any_case(_WORDS)})"
"""The end of the name of a field that holds a credential. Its beginning needs no match, for names are kept: `\\w*` or
`\\\\*` in front would be tried from each character of a run again, which is quadratic."""
_PATTERNS = (
    # A JWT, whole or cut off.
    re.compile(r"()eyJ[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){0,2}"),
    re.compile(r"([bB](?<=\b.)(?i:earer|asic)\s+)(?i:[a-z0-9._~+/=%-]{4,})"),
    # ?access_token=..., and any key=value of that kind.
    re.compile(rf"({_NAME}=)[^&\s\"'#\\,;)]+"),
    # The same as JSON or as the repr of a dict, escaped or not.
    re.compile(rf"({_NAME}\\*[\"']\s*:\s*\\*[\"'])[^\"'\\]+"),
)
"""Each takes time in proportion to the text, whatever the text is: 64 KiB take under 5 ms."""
_HINTS = ("eyj", "bearer", "basic", "token", "secret", "password", "apikey", "api_key", "authorization")
"""Text without any of these has nothing for the patterns, and most text has none: looking for them takes 2 us a line
instead of 100."""
_SENSITIVE_KEY = re.compile(rf"{_NAME}\Z")


class Redactor:
    """Replaces what looks like a credential, and each of the known `secrets`, with MASK."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: frozenset[str] = frozenset()
        self._known: re.Pattern[str] | None = None
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """From now on these go too."""
        self._secrets |= frozenset(secrets)
        spellings = {
            spelling
            for secret in self._secrets
            if len(secret) >= MIN_SECRET_CHARS
            for spelling in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1])
        }
        longest_first = sorted(spellings, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if spellings else None

    def __call__(self, text: str) -> str:
        """The text without its secrets."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        folded = text.casefold()
        if any(hint in folded for hint in _HINTS):
            for pattern in _PATTERNS:
                text = pattern.sub(rf"\1{MASK}", text)
        return text


@lru_cache(1_000)
def is_sensitive(key: str) -> bool:
    """Whether a field of this name is never printed, whatever it holds."""
    return _SENSITIVE_KEY.search(key) is not None
