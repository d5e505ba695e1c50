"""Programs register what reads their numbers (telemetry/numbers.py), once for each process. Simulated processes share
one registry, and one that is killed takes nothing back: what it registered is forgotten here."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from glassbridge.telemetry.numbers import Counter, Gauge

KINDS: Final[tuple[Any, ...]] = (Counter, Gauge)


@contextmanager
def owned_readers() -> Iterator[Callable[[], None]]:
    """Readers belong to the loop that registers them. Gives a function that forgets those of closed loops."""
    owned: list[tuple[asyncio.AbstractEventLoop, Callable[[], None]]] = []
    formers = {kind: kind.read_by for kind in KINDS}

    def owning(read_by: Callable[..., Callable[[], None]]) -> Callable[..., Callable[[], None]]:
        def owned_read_by(metric: Any, reader: Callable[[], Any]) -> Callable[[], None]:
            forget = read_by(metric, reader)
            owned.append((asyncio.get_running_loop(), forget))
            return forget

        return owned_read_by

    def forget_dead() -> None:
        for loop, forget in owned:
            if loop.is_closed():
                forget()
        owned[:] = [one for one in owned if not one[0].is_closed()]

    try:
        for kind, former in formers.items():
            kind.read_by = owning(former)
        yield forget_dead
    finally:
        for kind, former in formers.items():
            kind.read_by = former
