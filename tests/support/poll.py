"""Waiting for what must come true: no bare sleeps in tests."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic, sleep

Verdict = bool | str


async def eventually(
    condition: Callable[[], Verdict | Awaitable[Verdict]], within: float = 5.0, every: float = 0.02
) -> float:
    """Polls until `condition`, which may be a coroutine function, gives True; returns the seconds that it took.

    A condition that returns text is false, and the text says what is missing. Fails the test after `within` seconds.
    """
    begun = monotonic()
    while (said := await _verdict(condition)) is not True:
        if monotonic() - begun > within:
            raise AssertionError(f"not within {within} s: {said or condition}")
        await asyncio.sleep(every)
    return monotonic() - begun


async def _verdict(condition: Callable[[], Verdict | Awaitable[Verdict]]) -> Verdict:
    said = condition()
    return said if isinstance(said, bool | str) else await said


def eventually_sync(condition: Callable[[], Verdict], within: float = 5.0, every: float = 0.02) -> float:
    """The same without an event loop."""
    begun = monotonic()
    while (said := condition()) is not True:
        if monotonic() - begun > within:
            raise AssertionError(f"not within {within} s: {said or condition}")
        sleep(every)
    return monotonic() - begun


async def stays(condition: Callable[[], bool | str], seconds: float) -> None:
    """The condition holds now and for so long; text is false, and says what came instead."""
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        said = condition()
        assert said is True, f"{seconds} s were not over: {said}"
        await asyncio.sleep(0.02)
