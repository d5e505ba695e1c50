"""Waiting for what must come true: no bare sleeps in tests."""

import asyncio
from collections.abc import Awaitable, Callable
from time import sleep

from tests.support.patience import Patience

Verdict = bool | str


async def eventually(
    condition: Callable[[], Verdict | Awaitable[Verdict]], within: float = 5.0, every: float = 0.02
) -> float:
    """Polls until `condition`, which may be a coroutine function, gives True; returns the seconds that it took.

    A condition that returns text is false, and the text says what is missing. Fails the test after `within` seconds of
    a quiet machine.
    """
    patience = Patience(within)
    while (said := await _verdict(condition)) is not True:
        if patience.left <= 0:
            raise AssertionError(f"not {patience}: {said or condition}")
        await asyncio.sleep(every)
    return patience.spent


async def _verdict(condition: Callable[[], Verdict | Awaitable[Verdict]]) -> Verdict:
    said = condition()
    return said if isinstance(said, bool | str) else await said


def eventually_sync(condition: Callable[[], Verdict], within: float = 5.0, every: float = 0.02) -> float:
    """The same without an event loop."""
    patience = Patience(within)
    while (said := condition()) is not True:
        if patience.left <= 0:
            raise AssertionError(f"not {patience}: {said or condition}")
        sleep(every)
    return patience.spent


async def stays(condition: Callable[[], bool | str], seconds: float) -> None:
    """The condition holds now and for so long; text is false, and says what came instead."""
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        said = condition()
        assert said is True, f"{seconds} s were not over: {said}"
        await asyncio.sleep(0.02)
