"""Where words are missing: the holes in a phone's audio, as people and transcripts are told of them.

Rules
- A hole of LEAST seconds or more is a gap, known as soon as the ledger gives it up. Nothing shorter holds a word.
- A gap lies where its audio was captured: captions of what came later are after it.
- It is filled when all but SCRAP seconds of it have come: the phone has sent them again, and their words follow in
  their place. It stays when the phone cannot have it any more, or has begun to count anew.

It does not know audio, phones or time.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from glassbridge.core.uplink import REPLAYABLE
from glassbridge.core.values import SAMPLE_RATE

LEAST: Final = 1.0
SCRAP: Final = 0.2
MOST_OPEN: Final = 64
"""Gaps that may still be filled; beyond that the oldest stays."""


class GapState(Enum):
    """The outcome."""

    OPEN = "open"
    FILLED = "filled"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of speech that did not come."""

    id: str
    at_ms: int
    """Of the session's audio: earlier speech is before it."""
    seconds: float
    state: GapState = GapState.OPEN


@dataclass(frozen=True, slots=True)
class _Open:
    gap: Gap
    start: int
    stop: int


class Gaps:
    """Of one session."""

    __slots__ = ("_epoch", "_known_to", "_open")

    def __init__(self) -> None:
        self._epoch: int | None = None
        self._open: list[_Open] = []
        self._known_to = 0
        """Everything before was looked at."""

    def note(
        self, epoch: int, position: int, missing: Iterable[tuple[int, int]], place_ms: Callable[[int, int], int]
    ) -> list[Gap]:
        """Everything before `position` was delivered or given up, and these stretches of it never came; returns what is
        new. `place_ms(epoch, position)` says where in the session's audio one lies."""
        holes = list(missing)
        news: list[Gap] = []
        if epoch != self._epoch:
            news += [self._settle(one, GapState.KEPT) for one in self._open]
            self._epoch, self._open, self._known_to = epoch, [], 0
        news += self._look(holes, position)
        for start, stop in holes:
            start = max(start, self._known_to)
            if stop - start >= LEAST * SAMPLE_RATE:
                gap = Gap(f"{epoch:x}-{start:x}", place_ms(epoch, start), round((stop - start) / SAMPLE_RATE, 1))
                self._open.append(_Open(gap, start, stop))
                news.append(gap)
        self._known_to = max(self._known_to, position)
        if len(self._open) > MOST_OPEN:
            news.append(self._settle(self._open.pop(0), GapState.KEPT))
        return news

    def _look(self, holes: list[tuple[int, int]], position: int) -> list[Gap]:
        """The fate of those that are open."""
        news, still = [], []
        for one in self._open:
            left = sum(max(0, min(stop, one.stop) - max(start, one.start)) for start, stop in holes)
            if one.stop <= position - REPLAYABLE:
                news.append(self._settle(one, GapState.KEPT))
            elif left <= SCRAP * SAMPLE_RATE:
                news.append(self._settle(one, GapState.FILLED))
            else:
                still.append(one)
        self._open = still
        return news

    @staticmethod
    def _settle(one: _Open, state: GapState) -> Gap:
        return replace(one.gap, state=state)
