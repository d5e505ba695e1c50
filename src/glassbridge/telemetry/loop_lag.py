"""How late the timers of the event loop are: what everything else on it has to wait, too."""

import asyncio
from typing import Final

from glassbridge.telemetry import metrics

EVERY: Final = 0.5
"""Seconds."""


async def watch_loop() -> None:
    """Measures for ever. Safe to cancel."""
    loop = asyncio.get_running_loop()
    observe = metrics.LOOP_LAG.observer()
    while True:
        due = loop.time() + EVERY
        await asyncio.sleep(EVERY)
        observe(max(0.0, loop.time() - due))
