"""How many streams of a recogniser, and how often: one judge for all users.

Rules
- At most `streams` at a time, at most `opening` being opened, at most `per_minute` begun in any minute.
- Callers that come too early are told how long to wait; nothing is queued here.
- Clouds that use one account have a share of it each, by their sessions: together they stay within its limits, without
  asking each other.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

MINUTE: Final = 60.0


def share_of(own: int, others: Iterable[int]) -> float:
    """The part of an account for a cloud with so many sessions, beside others with so many. One that has none yet gets
    a little, too."""
    weights = [own + 1, *(load + 1 for load in others)]
    return weights[0] / sum(weights)


@dataclass(slots=True)
class Share:
    """The part of an account that this cloud may use now."""

    now: Callable[[], float] = lambda: 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one provider."""

    streams: int = 500
    opening: int = 50
    per_minute: int = 6_000
    of_account: bool = False
    """`streams` and `per_minute` are those of an account, which other clouds may use, too."""
    share: Share = field(default_factory=Share, compare=False)

    def shared(self, limit: int) -> int:
        """This cloud's share of a limit of the account."""
        return max(1, int(limit * self.share.now())) if self.of_account else limit


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
        return self.open + self.opening >= self._limits.shared(self._limits.streams)

    def wait(self, now: float) -> float:
        """Seconds until a stream may be begun; 0.0: it has been let in."""
        while self._begun and self._begun[0] <= now - MINUTE:
            self._begun.popleft()
        if len(self._begun) >= (most := self._limits.shared(self._limits.per_minute)):
            return self._begun[len(self._begun) - most] + MINUTE - now
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
