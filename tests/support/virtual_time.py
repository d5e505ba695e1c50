"""An event loop in virtual time: it never sleeps, its clock jumps to the next timer; `monotonic` of our modules too."""

import asyncio
import selectors
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from glassbridge.lab.virtual.ambient import ambient


class _Selector(selectors.DefaultSelector):
    ahead = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self.ahead += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Only timers make its clock go on. What waits for a real socket or process would wait for ever."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        self._begun = time.monotonic()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._begun + self._virtual.ahead


@contextmanager
def virtual_time() -> Iterator[VirtualLoop]:
    """A loop, and the same clock for everything of ours that has imported `monotonic`, as a name or as a default."""
    loop = VirtualLoop()
    try:
        with ambient(loop.time):
            yield loop
    finally:
        _end(loop)


def _end(loop: VirtualLoop) -> None:
    """Closes it as asyncio.run does: a task that a failed test left behind would fail a later test."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:  # of nothing, the future would be that of another loop
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.close()
