"""One clock for modules that do not take a World yet (tools/check_world.py lists them): what they have imported from
`time`, as a name or as a default, is exchanged while a simulation runs."""

import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FunctionType
from typing import Any, Final

from glassbridge.core import lease
from glassbridge.phone import network_watch
from glassbridge.runtime import pulse
from glassbridge.telemetry import loop_lag

SELDOM: Final = 10.0
"""Seconds between two looks of a process at its own loop."""
HARDLY: Final = 3600.0
"""The same where they tell metrics only, or where there is nothing to see: no phone has a network interface here."""
OURS: Final = ("glassbridge", "aiohttp")


@contextmanager
def seldom(every: float, *, renewed: float = lease.RENEW_EVERY) -> Iterator[None]:
    """Processes look at their own loops so often only, and a cloud that is alone renews a lease in its own memory: this
    would cost a simulation most of its time."""
    with ExitStack() as stack:
        for module, name, seconds in (
            (pulse, "EVERY", every),
            (loop_lag, "EVERY", HARDLY),
            (network_watch, "EVERY", HARDLY),
            (lease, "RENEW_EVERY", renewed),
        ):
            stack.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, seconds)
        yield


@contextmanager
def ambient(monotonic: Callable[[], float], wall: Callable[[], float] = time.time) -> Iterator[None]:
    """`monotonic` and `wall` stand for time.monotonic and time.time. Code that freezes objects does so inside: the
    collector says nothing of them, so their clocks would stay real."""
    gc.unfreeze()
    exchanged: dict[Any, Any] = {time.monotonic: monotonic, time.time: wall}
    modules = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] in OURS]
    named = [
        (module, name, value) for module in modules for name, value in list(vars(module).items()) if _is_clock(value)
    ]
    defaults = [
        (function, function.__defaults__)
        for function in gc.get_objects()
        if isinstance(function, FunctionType)
        and (function.__module__ or "").partition(".")[0] in OURS
        and any(map(_is_clock, function.__defaults__ or ()))
    ]
    for module, name, value in named:
        setattr(module, name, exchanged[value])
    for function, values in defaults:
        function.__defaults__ = tuple(_exchange(value, exchanged) for value in values or ())
    try:
        with seldom(SELDOM):
            yield
    finally:
        for module, name, value in named:
            setattr(module, name, value)
        for function, values in defaults:
            function.__defaults__ = values


def _is_clock(value: Any) -> bool:
    return value is time.monotonic or value is time.time  # by identity: an array is equal to nothing


def _exchange(value: Any, exchanged: dict[Any, Any]) -> Any:
    return exchanged[value] if _is_clock(value) else value
