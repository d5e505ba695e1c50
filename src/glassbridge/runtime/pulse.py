"""Notices that this process stalled (SIGSTOP, a machine that slept, a blocked loop).

Audio that arrives right after a stall is a backlog: it comes in a burst, late by the length of the stall, and SCTP's
retransmission timer may hold its rest back for seconds more. Without sample numbers only its pace tells it from live
audio.
"""

import asyncio
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Final

import structlog

log = structlog.get_logger()

EVERY: Final = 0.1
STALL: Final = 0.5
"""Seconds; older audio is not live."""
BACKLOG: Final = 8.0
"""Seconds after a stall in which a backlog may still come."""


class Pulse:
    """One for each process. `on_wake` is called after each stall."""

    def __init__(self, on_wake: Callable[[], None] = lambda: None, clock: Callable[[], float] = monotonic) -> None:
        self._on_wake = on_wake
        self._clock = clock
        self._beat = clock()
        self._woke_at = -inf

    def backlog_may_come(self) -> bool:
        """Whether audio that arrives now may be late because this process stalled."""
        return self.has_stalled_since(self._clock() - BACKLOG)

    def has_stalled_since(self, since: float) -> bool:
        """Whether this process has stalled after this moment, monotonic seconds."""
        # The packets of a burst are handled before the timer that notices.
        return self._woke_at > since or self._clock() - self._beat > EVERY + STALL

    def beat(self) -> None:
        """To be called each EVERY seconds."""
        now = self._clock()
        stood, self._beat = now - self._beat - EVERY, now
        if stood > STALL:
            self._woke_at = now
            log.warning("process stalled", seconds=round(stood, 2))
            self._on_wake()

    async def run(self) -> None:
        """Beats for ever. Safe to cancel."""
        self._beat = self._clock()
        while True:
            await asyncio.sleep(EVERY)
            self.beat()


class Pace:
    """Tells live frames from a backlog: live ones come one at a time, each about as long after the last as it lasts."""

    def __init__(self) -> None:
        self._last = 0.0

    def is_live(self, now: float, seconds: float) -> bool:
        """Whether a frame that lasts `seconds` and arrives `now` keeps the pace of a microphone."""
        gap, self._last = now - self._last, now
        return 0.5 * seconds <= gap <= 3.0 * seconds
