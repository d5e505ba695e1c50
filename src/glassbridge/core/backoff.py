"""When to try again: at once the first time, then full jitter under a growing ceiling, for ever.

Full jitter spreads a thousand retries over the whole ceiling, so that a server that comes back is not hit by all of
them at once. Chance is an argument: a machine with the same numbers does the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

EACH: Final = 0.02
"""Seconds over which tries are spread, for each of many that are called at once."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """Ceilings in seconds: `base` for the second attempt, doubling up to `cap`."""

    base: float = 0.5
    cap: float = 7.0
    patient_cap: float = 60.0
    """For tries that cannot succeed before an operator has corrected something."""

    def ceiling(self, attempt: int, *, patient: bool = False) -> float:
        """The longest wait before this attempt; 0.0 for the first (attempt 0)."""
        if attempt <= 0:
            return 0.0
        return min(self.patient_cap if patient else self.cap, self.base * 2.0 ** min(attempt - 1, 32))


class Backoff:
    """Counts attempts; one instance for each thing that is tried. `chance` gives numbers in [0, 1)."""

    __slots__ = ("_chance", "_ladder", "attempt")

    def __init__(self, ladder: Ladder, chance: Callable[[], float]) -> None:
        self._ladder = ladder
        self._chance = chance
        self.attempt = 0
        """Attempts since the last success."""

    def next_delay(self, *, patient: bool = False) -> float:
        """Seconds to wait before the next attempt, which counts from now on."""
        delay = self._ladder.ceiling(self.attempt, patient=patient) * self._chance()
        self.attempt += 1
        return delay

    def spread(self, among: int) -> float:
        """Seconds to wait when so many are called at once: none for one alone, for many at most the first rung. No
        attempt is counted."""
        return min(self._ladder.base, EACH * max(0, among - 1)) * self._chance()

    def not_at_once(self) -> None:
        """The next attempt is not a first one: at once it would fail."""
        self.attempt = max(self.attempt, 1)

    def reset(self) -> None:
        """It worked: the next attempt is again at once."""
        self.attempt = 0
