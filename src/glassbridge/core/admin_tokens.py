"""Whether an admin token opens, at the cloud and at a bridge.

Each peer has ten wrong tokens, and gets one back every six seconds; without any left its token is not looked at, right
or wrong. The wrong tokens of one peer cost others nothing.
"""

import hmac
from collections.abc import Iterable
from enum import Enum
from typing import Final

from glassbridge.core.addresses import subject_of
from glassbridge.core.allowance import Allowances, Rate

WRONG: Final = Rate(10 / 60, burst=10)
"""Wrong tokens of one peer."""


class TokenVerdict(Enum):
    """What comes of a request."""

    ALLOWED = "allowed"
    DISABLED = "disabled"
    """No admin token is set here."""
    MISSING = "missing"
    """It shows nothing."""
    WRONG = "wrong_token"
    TOO_MANY = "too_many"
    """Its peer has shown too many wrong tokens."""


class AdminTokens:
    """Any of them opens; without one no caller is let in. `now` is monotonic seconds."""

    def __init__(self, tokens: Iterable[str]) -> None:
        self.known = tuple(as_bytes(token) for token in tokens if token)
        self._wrong = Allowances(WRONG)

    def judge(self, shown: str, peer: str, now: float) -> TokenVerdict:
        """A token is counted against its peer when it is wrong."""
        if not self.known:
            return TokenVerdict.DISABLED
        if self.wait(peer, now) > 0.0:
            return TokenVerdict.TOO_MANY
        if any(hmac.compare_digest(as_bytes(shown), token) for token in self.known):
            return TokenVerdict.ALLOWED
        self._wrong.of(subject_of(peer), now).take(now)
        return TokenVerdict.WRONG

    def wait(self, peer: str, now: float) -> float:
        """Seconds until a token of this peer is looked at again."""
        return self._wrong.wait(subject_of(peer), now)


def as_bytes(text: str) -> bytes:
    """Of what came in a header, too, which may be no text at all."""
    return text.encode(errors="backslashreplace")
