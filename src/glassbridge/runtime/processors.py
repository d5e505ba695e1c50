"""How much of the machine is idle: of the processors that this program may use."""

import os
from collections.abc import Collection
from typing import Final

import psutil

_COUNTED_TWICE: Final = ("guest", "guest_nice")
_IDLE: Final = ("idle", "iowait")


def usable_processors() -> int:
    """How many this program may use."""
    return len(_usable())


class IdleProcessors:
    """Measures from one look to the next."""

    def __init__(self) -> None:
        self._last = _times()

    def share(self) -> float:
        """The idle share of the processor time since the last look: 0 to 1; 1 if no time has passed."""
        last, self._last = self._last, _times()
        idle, total = (now - before for now, before in zip(self._last, last, strict=True))
        return min(1.0, max(0.0, idle / total)) if total > 0.0 else 1.0


def _times() -> tuple[float, float]:
    """Seconds that were idle, and all, since the machine started."""
    each = psutil.cpu_times(percpu=True)
    times = [each[number]._asdict() for number in _usable() if number < len(each)]
    idle = sum(one.get(name, 0.0) for one in times for name in _IDLE)
    return idle, sum(spent for one in times for name, spent in one.items() if name not in _COUNTED_TWICE)


def _usable() -> Collection[int]:
    """Their numbers."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
