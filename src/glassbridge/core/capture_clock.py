"""The clock by which a phone stamps what it captures, as far as it can be believed.

Rules
- Only differences count: a frame is as old as its way took longer than that of the quickest frame so far. Two clocks
  may run apart by DRIFT, so the quickest way is forgotten at that rate; while audio is late by DRIFT_LATE, as what is
  forgotten then makes a full queue look empty.
- A sample cannot be captured before the one that precedes it. A stamp that says so is corrected by the samples; where
  it says so by more than STEP, the clock has stepped back and all later stamps are corrected alike.
- What comes late by the same amount for EQUAL_FOR seconds, from a frame on that was late by STEP more than the one
  before it, is not late: the clock stood still, in sleep, and the new offset is the truth. A backlog is different: it
  grows or shrinks. What became late little by little waits in a queue, however steadily, and stays late.
- A frame that is quicker than all before it by more than STEP, after EQUAL_FOR seconds, says that the clock has stepped
  forward; nothing has to be corrected then.

It does not know frames, holes or what is done with their age. Times are seconds.
"""

from math import inf
from typing import Final

DRIFT: Final = 1.2e-2
"""Seconds per second: 1 % for clocks that are bad, and a rest."""
DRIFT_LATE: Final = 1e-3
"""Worse clocks are rarer than queues that stay full for minutes."""
STEP: Final = 0.5
"""Seconds; less counts as jitter of the stamps, or is what a queue grows by between two frames."""
EQUAL_FOR: Final = 3.0
EQUAL: Final = 0.1
"""Seconds by which the quickest frames of the two halves of EQUAL_FOR may differ."""


class CaptureClock:
    """Of one epoch."""

    __slots__ = (
        "_begun_at", "_first_late", "_halves", "_is_late", "_late_since", "_newest", "_position", "_quickest",
        "_quickest_at", "_shift", "_stamped_stop", "_stop", "last_step", "steps",
    )  # fmt: skip

    def __init__(self) -> None:
        self.steps = 0
        """How often the clock has stepped so far."""
        self.last_step = 0.0
        """By how many seconds it did last; negative: back."""
        self._shift = 0.0
        """What is added to the phone's stamps."""
        self._stamped_stop = -inf
        """When the newest sample ended, by the phone's stamps, and as it is believed."""
        self._stop = -inf
        self._position = 0
        """The one after the newest sample."""
        self._quickest = inf
        self._quickest_at = self._begun_at = 0.0
        self._is_late = False
        self._newest = inf
        """How long the newest frame has travelled."""
        self._late_since: float | None = None
        """Since when a clock may have stood still."""
        self._first_late = inf
        """How long the first frame that was late then has travelled."""
        self._halves = (inf, inf)
        """The least of the same in the first and in the second half of EQUAL_FOR, while everything is late."""

    def correct(self, position: int, stamp: float, seconds: float) -> float:
        """When the samples from `position` on were captured, that last for so many seconds and are stamped so."""
        captured = stamp + self._shift
        if seconds > 0.0 and position >= self._position:
            if stamp < self._stamped_stop - STEP:
                self._stepped(stamp - self._stamped_stop)
            if captured < self._stop - STEP:
                self._shift += self._stop - captured
            captured = max(captured, self._stop)
            self._stamped_stop, self._stop = stamp + seconds, captured + seconds
        return captured

    def passed(self, position: int) -> None:
        """The samples before this position are known."""
        self._position = max(self._position, position)

    def age(self, captured: float, now: float) -> float:
        """Seconds beyond the quickest frame so far, for a frame whose last sample was captured then."""
        return max(0.0, now - captured - self._least(now))

    def note(self, captured: float, now: float, limit: float) -> None:
        """A frame has come whose last sample was captured then, and that was sent but once; `limit`: from which age on
        it is late."""
        travel, least = now - captured, self._least(now)
        if travel < least:
            if least - travel > STEP and now - self._begun_at > EQUAL_FOR and least < inf:
                self._stepped(least - travel)
            self._quicken(travel, least, now)
        self._quickest, self._quickest_at = self._least(now), now
        self._is_late = travel - self._quickest > limit
        rise, self._newest = travel - self._newest, travel
        if not self._is_late:
            self._late_since = None
        elif rise >= STEP:
            self._late_since, self._first_late, self._halves = now, travel, (inf, inf)
        if self._late_since is None:
            return
        first, second = self._halves
        if now - self._late_since < EQUAL_FOR / 2:
            self._halves = min(first, travel), inf
            return
        self._halves = first, min(second, travel)
        if now - self._late_since >= EQUAL_FOR:
            self._compare(now)

    def note_presence(self, captured: float, now: float) -> None:
        """The phone said then that it is there, without audio. Such small messages overtake the queue in which the
        first audio of a narrow link waits. They count before any audio, and up to STEP: a phone that stamps its audio
        long before it sends it is not held to them."""
        travel, least = now - captured, self._least(now)
        if least == inf or 0.0 < least - travel <= STEP:
            self._quicken(travel, least, now)

    def _quicken(self, travel: float, least: float, now: float) -> None:
        if least == inf:
            self._begun_at = now
        self._quickest, self._quickest_at = travel, now

    def _stepped(self, by: float) -> None:
        self.steps += 1
        self.last_step = by

    def _compare(self, now: float) -> None:
        first, second = self._halves
        if abs(first - second) <= EQUAL and abs(self._first_late - first) <= EQUAL:
            self._stepped(self._least(now) - min(first, second))
            self._quickest, self._quickest_at, self._late_since = min(first, second), now, None
        else:
            self._late_since, self._halves = now - EQUAL_FOR / 2, (second, inf)

    def _least(self, now: float) -> float:
        return self._quickest + max(0.0, now - self._quickest_at) * (DRIFT_LATE if self._is_late else DRIFT)
