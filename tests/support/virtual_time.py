"""An event loop in virtual time: it never sleeps, its clock jumps to the next timer; `monotonic` of our modules too."""

import asyncio
import gc
import selectors
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any


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
    loop, real = VirtualLoop(), time.monotonic
    ours = [module for name, module in sys.modules.items() if name.startswith("glassbridge")]
    named = [module for module in ours if getattr(module, "monotonic", None) is real]
    defaults = [
        (function, function.__defaults__)
        for function in gc.get_objects()
        if isinstance(function, FunctionType)
        and function.__module__ is not None
        and function.__module__.startswith("glassbridge")
        and real in (function.__defaults__ or ())
    ]
    for module in named:
        module.monotonic = loop.time  # type: ignore[attr-defined]
    for function, values in defaults:
        function.__defaults__ = tuple(loop.time if value is real else value for value in values or ())
    try:
        yield loop
    finally:
        for module in named:
            module.monotonic = real  # type: ignore[attr-defined]
        for function, values in defaults:
            function.__defaults__ = values
        _end(loop)


def _end(loop: VirtualLoop) -> None:
    """Closes it as asyncio.run does: a task that a failed test left behind would fail a later test."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:  # of nothing, the future would be that of another loop
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.close()
