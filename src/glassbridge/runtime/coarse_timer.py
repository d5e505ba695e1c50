"""Many deadlines of few lengths on one timer of the loop: with a timer for each, 10,000 sockets would ring 15,000
times a second."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from glassbridge.runtime.timer import Timer

GRAIN: Final = 0.05
"""Seconds by which a deadline may be met late, so that many are met together."""


class Deadline:
    """Made by a CoarseTimer."""

    __slots__ = ("due", "ring")

    def __init__(self, due: float, ring: Callable[[], None]) -> None:
        self.due = due
        self.ring: Callable[[], None] | None = ring

    def cancel(self) -> None:
        """It does not ring any more; idempotent."""
        self.ring = None


class CoarseTimer:
    """For one event loop. An exception out of a deadline reaches the loop's exception handler; the others are met."""

    def __init__(self) -> None:
        self._lines: dict[float, deque[Deadline]] = {}
        """By their length: those of one length are due in the order in which they were made."""
        self._timer = Timer(self._ring)

    def every(self, seconds: float, ring: Callable[[], None]) -> Deadline:
        """Rings in so many seconds, and again and again, until it is cancelled."""
        deadline = Deadline(asyncio.get_running_loop().time() + seconds, ring)
        self._lines.setdefault(seconds, deque()).append(deadline)
        self._timer.by(deadline.due)
        return deadline

    def _ring(self) -> None:
        now = asyncio.get_running_loop().time()
        try:
            for seconds, line in list(self._lines.items()):
                while line and (line[0].ring is None or line[0].due <= now):
                    deadline = line.popleft()
                    if (ring := deadline.ring) is not None:
                        deadline.due = now + seconds
                        line.append(deadline)
                        ring()
        finally:
            self._lines = {seconds: line for seconds, line in self._lines.items() if line}
            if self._lines:
                self._timer.at(max(now + GRAIN, min(line[0].due for line in self._lines.values())))
