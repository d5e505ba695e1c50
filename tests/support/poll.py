"""Waiting for what must come true: no bare sleeps in tests."""

import asyncio
from collections.abc import Callable
from time import monotonic, sleep


async def eventually(condition: Callable[[], bool | str], within: float = 5.0, every: float = 0.02) -> float:
    """Polls until `condition` returns True; returns the seconds that it took.

    A condition that returns text is false, and the text says what is missing. Fails the test after `within` seconds.
    """
    begun = monotonic()
    while (said := condition()) is not True:
        if monotonic() - begun > within:
            raise AssertionError(f"not within {within} s: {said or condition}")
        await asyncio.sleep(every)
    return monotonic() - begun


def eventually_sync(condition: Callable[[], bool | str], within: float = 5.0, every: float = 0.02) -> float:
    """The same without an event loop."""
    begun = monotonic()
    while (said := condition()) is not True:
        if monotonic() - begun > within:
            raise AssertionError(f"not within {within} s: {said or condition}")
        sleep(every)
    return monotonic() - begun
