"""Many deadlines on one timer."""

import asyncio
from functools import partial
from itertools import pairwise

from glassbridge.runtime.coarse_timer import GRAIN, CoarseTimer
from tests.support.virtual_time import virtual_time


def test_deadlines_are_met_in_order_again_and_again_and_at_most_a_grain_late() -> None:
    met: dict[int, list[float]] = {number: [] for number in range(300)}
    order: list[int] = []

    def note(number: int) -> None:
        order.append(number)
        met[number].append(asyncio.get_running_loop().time())

    async def scenario() -> None:
        loop, timer = asyncio.get_running_loop(), CoarseTimer()
        made = []
        for number in range(300):
            met[number].append(loop.time())
            made.append(timer.every((0.65, 10.0)[number % 2], partial(note, number)))
            await asyncio.sleep(0.001)
        timer.every(0.2, partial(note, -1)).cancel()
        await asyncio.sleep(25)
        for deadline in made:
            deadline.cancel()
        await asyncio.sleep(12)
        assert timer._lines == {}

    with virtual_time() as loop:
        loop.run_until_complete(scenario())
    for number, times in met.items():
        length = (0.65, 10.0)[number % 2]
        assert len(times) - 1 in range(int(25 / (length + GRAIN)), int(25.4 / length) + 1)
        assert all(-1e-9 <= b - a - length <= GRAIN + 0.01 for a, b in pairwise(times))
    firsts = list(dict.fromkeys(order))
    for parity in (0, 1):
        assert [number for number in firsts if number % 2 == parity] == list(range(parity, 300, 2))


def test_one_that_fails_does_not_stop_the_others() -> None:
    met: list[str] = []
    heard: list[object] = []

    def fail() -> None:
        raise ValueError("of the test")

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, about: heard.append(about["exception"]))
        timer = CoarseTimer()
        timer.every(0.6, fail)
        timer.every(0.6, lambda: met.append("the next"))
        timer.every(0.7, lambda: met.append("the last"))
        await asyncio.sleep(1)

    with virtual_time() as loop:
        loop.run_until_complete(scenario())
    assert met == ["the next", "the last"]
    assert [type(error) for error in heard] == [ValueError]
