"""The utterances of one recognition, and which of them a hole has spoilt.

Rules
- A hole cuts the utterances beside it: what ended within CLEAR samples of it, began so soon after it, or goes on across
  it is understood anew, together with what came late. So no half of a word stays.
- If the user was silent beside the hole, a short lead is heard with it.
- Which utterance comes after a hole is known once one has ended there or begun later, the speech has ended, or none has
  begun there although so much was said since that the longest one would have ended.

It does not know words, sound or time. Positions are samples of the session.
"""

from dataclasses import dataclass
from typing import Final

from glassbridge.core.newest import Newest
from glassbridge.core.values import SAMPLE_RATE

CLEAR: Final = SAMPLE_RATE // 2
LEAD: Final = 3 * SAMPLE_RATE // 10
"""Of silence before and after an utterance that is understood anew."""
ALONE: Final = 2 * SAMPLE_RATE
"""Before and after a hole beside which the user is silent."""
LONGEST: Final = 16 * SAMPLE_RATE
MOST: Final = 200


@dataclass(frozen=True, slots=True)
class Utterance:
    """That was finally understood."""

    id: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Spoilt:
    """A stretch that is to be understood anew, and the utterances that it takes the place of."""

    start: int
    stop: int
    utterances: tuple[Utterance, ...]

    def touches(self, start: int, stop: int) -> bool:
        """Whether a hole from here to there lies in it or at its edge."""
        return start <= self.stop and stop >= self.start

    def with_(self, other: "Spoilt") -> "Spoilt":
        """Both, and what is between."""
        utterances = sorted({*self.utterances, *other.utterances}, key=lambda one: (one.start, one.stop))
        return Spoilt(min(self.start, other.start), max(self.stop, other.stop), tuple(utterances))


class Utterances:
    """Of one recognition; the last MOST."""

    def __init__(self, since: int) -> None:
        self.since = since
        """Where it began: of what was said before it knows nothing."""
        self._known: Newest[Utterance] = Newest(MOST)
        """In order."""
        self._open: int | None = None
        """Where the one begins that is not final yet, as far as is known."""

    def ended(self, utterance: Utterance) -> None:
        """It was finally understood."""
        self._open = None
        self._known.append(utterance)

    def goes_on(self, start: int) -> None:
        """It is understood so far."""
        self._open = start

    def spoilt(self, start: int, stop: int, *, end: int, answered: int, settled: bool) -> Spoilt | None:
        """By a hole from `start` to `stop`; None: not known yet. `end`: of what was said so far; `answered`: of what
        there was time to answer; `settled`: everything is understood."""
        touched = [one for one in self._known if one.stop > start - CLEAR and one.start < stop + CLEAR]
        after = [one.start for one in self._known if one.start >= stop + CLEAR]
        if self._open is not None and self._open >= stop + CLEAR:
            after.append(self._open)
        passed = bool(touched) and touched[-1].stop > stop
        nothing_begins = self._open is None and answered - stop > LONGEST
        if not (passed or after or settled or nothing_begins):
            return None
        before = max((one.stop for one in self._known if one.stop <= start - CLEAR), default=self.since)
        begin = touched[0].start - LEAD if touched and touched[0].start < start else start - ALONE
        until = touched[-1].stop + LEAD if passed else stop + ALONE
        return Spoilt(max(before, begin), min([until, *after, max(end, stop)]), tuple(touched))

    def replace(self, old: tuple[Utterance, ...], new: list[Utterance]) -> None:
        """These were understood in their place."""
        gone = {one.id for one in old}
        known = [one for one in self._known if one.id not in gone]
        self._known = Newest(MOST, sorted([*known, *new], key=lambda one: (one.start, one.stop)))
