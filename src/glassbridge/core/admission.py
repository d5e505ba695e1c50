"""How many streams of a recogniser, and how often: one judge for all users.

Rules
- At most `streams` at a time, at most `opening` being opened, at most `per_minute` begun in any minute.
- Who comes too early is told how long to wait; nobody is queued here.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one provider."""

    streams: int = 500
    opening: int = 50
    per_minute: int = 6_000


class Admission:
    """Counts; `now` is monotonic seconds."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._begun: deque[float] = deque()
        self.opening = 0
        self.open = 0

    @property
    def full(self) -> bool:
        """All streams are in use."""
        return self.open + self.opening >= self._limits.streams

    def wait(self, now: float) -> float:
        """Seconds until a stream may be begun; 0.0: it has been let in."""
        while self._begun and self._begun[0] <= now - MINUTE:
            self._begun.popleft()
        if len(self._begun) >= self._limits.per_minute:
            return self._begun[0] + MINUTE - now
        if self.opening >= self._limits.opening:
            return 0.1
        self._begun.append(now)
        self.opening += 1
        return 0.0

    def opened(self) -> None:
        """A stream that was let in is there."""
        self.opening -= 1
        self.open += 1

    def failed(self) -> None:
        """A stream that was let in is not to be had."""
        self.opening -= 1

    def gone(self) -> None:
        """A stream has been given back."""
        self.open -= 1
