"""How slow this machine is now, and deadlines that follow it: a verdict must not depend on what else runs.

The seconds in tests are those of a quiet machine. A deadline that ends the wait for something that never comes, and an
upper limit on the time that something took, are multiplied by the measured slowness. Neither costs anything while the
tests pass.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from time import monotonic
from typing import TypeVar

TURNS = 1_500_000
QUIET = 0.025
"""Seconds that TURNS of an empty loop take on a quiet machine."""
RECENT = 5.0
"""Seconds for which a measurement is good enough to end a wait."""
BETWEEN = 15.0
"""Seconds for which one is good enough to begin a test: six processes that measure each 5 s take 2 % of the machine."""
REMEMBERED = 30.0
"""Seconds for which the worst measurement counts: other programs come and go."""
MOST = 15.0

_measured: list[tuple[float, float]] = []
"""(time, slowness) of the last measurements."""


def slowness(recent: float = RECENT) -> float:
    """How many times longer a busy program takes than on a quiet machine: the worst of the last half minute, 1 to MOST.

    Measures if the last measurement is older than `recent` seconds: the calling thread is busy for QUIET seconds then.
    """
    begun = monotonic()
    if not _measured or _measured[-1][0] < begun - recent:
        for _ in range(TURNS):
            pass
        ended = monotonic()
        _measured[:] = [one for one in _measured if one[0] > ended - REMEMBERED]
        _measured.append((ended, min(MOST, max(1.0, (ended - begun) / QUIET))))
    return max(slow for _, slow in _measured)


def patient(seconds: float) -> float:
    """What takes so many seconds on a quiet machine may take so many on this one."""
    return seconds * slowness()


class Patience:
    """A deadline: so many seconds of a quiet machine from now on."""

    def __init__(self, seconds: float) -> None:
        self._begun = monotonic()
        self._seconds = self._allowed = seconds

    @property
    def spent(self) -> float:
        """Seconds."""
        return monotonic() - self._begun

    @property
    def left(self) -> float:
        """Seconds; not positive once the deadline is over. Measures the machine before it says so."""
        if self.spent > self._allowed:
            self._allowed = max(self._allowed, patient(self._seconds))
        return self._allowed - self.spent

    def __str__(self) -> str:
        return f"within {self._seconds:g} s ({self.spent:.1f} s at slowness {slowness():.1f})"


@asynccontextmanager
async def deadline(seconds: float) -> AsyncIterator[None]:
    """As asyncio.timeout, in seconds of a quiet machine."""
    loop, patience = asyncio.get_running_loop(), Patience(seconds)
    async with asyncio.timeout(None) as limit:

        def look() -> None:
            left = patience.left
            if left > 0:
                watch[0] = loop.call_later(left, look)
            else:
                limit.reschedule(loop.time())

        watch = [loop.call_later(seconds, look)]
        try:
            yield
        finally:
            watch[0].cancel()


Result = TypeVar("Result")


async def soon(awaitable: Awaitable[Result], seconds: float) -> Result:
    """As asyncio.wait_for, in seconds of a quiet machine."""
    async with deadline(seconds):
        return await awaitable
