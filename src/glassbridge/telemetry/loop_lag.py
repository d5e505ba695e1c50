"""How late the timers of the event loop are: what everything else on it has to wait, too."""

import asyncio
from collections import deque
from typing import Final

from glassbridge.telemetry import metrics

EVERY: Final = 0.5
"""Seconds."""
KEPT: Final = 30
"""Measurements of which the worst is remembered."""
MOST: Final = 0.25
"""Seconds of lag at which a loop has no capacity left: audio is late, and pings seem lost."""
_newest: Final[deque[float]] = deque(maxlen=KEPT)


def loop_capacity_left() -> float:
    """The part of the loop's capacity that is left, by the worst lag of the last 15 seconds."""
    return max(0.0, 1 - max(_newest, default=0.0) / MOST)


async def watch_loop() -> None:
    """Measures for ever. Safe to cancel."""
    loop = asyncio.get_running_loop()
    observe = metrics.LOOP_LAG.observer()
    while True:
        due = loop.time() + EVERY
        await asyncio.sleep(EVERY)
        lag = max(0.0, loop.time() - due)
        _newest.append(lag)
        observe(lag)
