"""When the sessions of a cloud are left out of full garbage collections, and when all are looked at.

Rules
- A full collection looks at all that lives: 0.4 ms for each session, in which no audio moves. Sessions live long. So
  once a storm of new ones is over, all that is there is spared from then on.
- What is spared is not freed when it ends in a circle. So once as many sessions have ended as live, and MANY at least,
  everything is looked at once: memory doubles at most, and the pause is as rare as a turnover of all users.

It knows no collector and no sessions, only how many there were.
"""

from enum import Enum, auto
from typing import Final

MANY: Final = 200
"""Sessions below which nothing is worth doing."""
STORM: Final = 20
"""New sessions between two looks while a storm goes on."""


class Do(Enum):
    """What is to be done about garbage now."""

    NOTHING = auto()
    SPARE = auto()
    LOOK_AT_ALL = auto()


class Collecting:
    """Asked every few seconds."""

    def __init__(self) -> None:
        self._begun = self._spared = self._ended = 0
        """Sessions that had begun at the last look, those among them that are spared, and those that had ended when all
        was looked at."""

    def look(self, begun: int, living: int) -> Do:
        """So many sessions have begun so far, so many of them live."""
        new, self._begun = begun - self._begun, begun
        ended = begun - living
        if ended - self._ended >= max(MANY, living):
            self._ended, self._spared = ended, begun
            return Do.LOOK_AT_ALL
        if begun - self._spared >= MANY and new < STORM:
            self._spared = begun
            return Do.SPARE
        return Do.NOTHING
