"""Does what a phone sends arrive in time to be called live? Judged from the age of each piece when it arrives.

Rules
- It is late from a piece that is older than LATE, if none was live (AGE_LIMIT) for LASTING seconds: ages that go up and
  down around LATE are late, as on a link of 24 kbit/s.
- It is in time again when every piece was live for LASTING seconds.

It does not know phones, clocks or what people are told.
"""

import math
from typing import Final

from glassbridge.core.uplink import AGE_LIMIT

LATE: Final = 1.0
"""Seconds by which audio is late when people are told."""
LASTING: Final = 1.0
"""Seconds for which it must be late, or in time again, before that is said."""


class Freshness:
    """Of one phone's audio; in time at first. Times are monotonic seconds."""

    __slots__ = ("_live_at", "_old_at", "is_late")

    def __init__(self) -> None:
        self.is_late = False
        self._live_at = self._old_at = -math.inf
        """When the newest piece came that was live, and the newest that was not."""

    def begin(self, now: float) -> None:
        """A new way: what comes late within LASTING of its beginning may still be of the former one."""
        self._live_at = now

    def judge(self, age: float, now: float) -> bool:
        """A piece came that is `age` seconds old; whether `is_late` has changed."""
        if age > AGE_LIMIT:
            self._old_at = now
        else:
            self._live_at = now
        was = self.is_late
        self.is_late = now - self._old_at <= LASTING if was else age > LATE and now - self._live_at > LASTING
        return self.is_late != was
