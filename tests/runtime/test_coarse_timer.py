"""Many deadlines on one timer."""

import asyncio
from functools import partial

from glassbridge.runtime.coarse_timer import GRAIN, CoarseTimer
from tests.support.virtual_time import virtual_time


def test_deadlines_are_met_in_order_once_and_at_most_a_grain_late() -> None:
    met: list[tuple[int, float]] = []

    def note(number: int, due: float) -> None:
        met.append((number, asyncio.get_running_loop().time() - due))

    async def scenario() -> None:
        loop, timer = asyncio.get_running_loop(), CoarseTimer()
        for number in range(300):
            after = (0.65, 10.0)[number % 2]
            timer.after(after, partial(note, number, loop.time() + after))
            await asyncio.sleep(0.001)
        timer.after(0.2, partial(note, -1, 0.0)).cancel()
        await asyncio.sleep(12)
        assert timer._lines == {}

    with virtual_time() as loop:
        loop.run_until_complete(scenario())
    assert sorted(number for number, _ in met) == list(range(300))
    for parity in (0, 1):
        assert [number for number, _ in met if number % 2 == parity] == list(range(parity, 300, 2))
    assert all(-1e-9 <= late <= GRAIN + 0.01 for _, late in met)


def test_one_that_fails_does_not_stop_the_others() -> None:
    met: list[str] = []
    heard: list[object] = []

    def fail() -> None:
        raise ValueError("of the test")

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, about: heard.append(about["exception"]))
        timer = CoarseTimer()
        timer.after(0.1, fail)
        timer.after(0.1, lambda: met.append("the next"))
        timer.after(0.3, lambda: met.append("the last"))
        await asyncio.sleep(1)

    with virtual_time() as loop:
        loop.run_until_complete(scenario())
    assert met == ["the next", "the last"]
    assert [type(error) for error in heard] == [ValueError]
