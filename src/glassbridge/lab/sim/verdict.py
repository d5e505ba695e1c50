"""What the checkers say."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

TOLD_WITHIN: Final = 4.0
"""Seconds in which a phone must know that its audio does not flow."""
SLACK: Final = 0.35
"""Seconds that a message and its answer may be on their way."""
BACK_WITHIN: Final = 2.5
"""Seconds from healing to audio, at the very most. Seldom more than 1 s: TCP hears nothing of healing before it repeats
a greeting that was lost, and the longest time between two greetings is 2 s (livekit/upgrade.py)."""
SDK_BACK_WITHIN: Final = 4.2
"""The same where bridges are in the room with the SDK: what it asks for TCP repeats after 1, 3 and 7 s."""
GONE_WITHIN: Final = 5.0
"""Seconds from the end of a session until nothing of it is left in its cloud."""
RELEASED_AFTER: Final = 25.0
"""Seconds from the end of the last session until nothing is left anywhere."""
FREE_JOINS: Final = 3
JOINS_PER_FAULT: Final = 2
EVENTS_OF_A_SPAN: Final = 128
CALM_AFTER: Final = 11.0
"""Seconds after healing by when all is as it should be."""


class Checker(Enum):
    """What must hold, by name."""

    ONE_OWNER = "one owner"
    """One bridge serves a user's session; what an older generation does late touches nothing."""
    GRACE = "grace"
    """A session outlives its socket by 60 s, to the tick."""
    TRUTH = "truth"
    """A phone that is told to be live is heard, or knows better within 4 s."""
    DEADLOCK = "deadlock"
    """Whatever is wanted has a deadline or somebody who works at it."""
    RELEASED = "released"
    """What has ended is gone."""
    BACK = "back"
    """After healing, audio is back within its number."""
    SETTLED = "settled"
    """Some time after healing each phone has one session, one place, one bridge, and is heard by the way it wants."""
    CALM = "calm"
    """Joins are bounded by what goes wrong, and stop when it is over."""
    BOUNDED = "bounded"
    """What a session's trace keeps has a bound, however long a fault lasts."""
    FAILS = "fails"
    """No task fails, and no program logs an error."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must never be."""

    checker: Checker
    user: str
    text: str

    def __str__(self) -> str:
        return f"{self.checker.value}: {self.user + ': ' if self.user else ''}{self.text}"


@dataclass(frozen=True, slots=True)
class Back:
    """When a user's audio was back after healing."""

    user: str
    socket: str
    """`survived`, or `new` when the phone had to open one."""
    seconds: float


@dataclass(slots=True)
class Verdict:
    """Of one schedule."""

    violations: list[Violation] = field(default_factory=list)
    back: list[Back] = field(default_factory=list)

    def add(self, checker: Checker, user: str, text: str) -> None:
        """One more violation."""
        self.violations.append(Violation(checker, user, text))
