"""Virtual time: what is due happens in order, and the clock jumps from one moment to the next."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any, Protocol

Call = Callable[..., None]


class Owner(Protocol):
    """A process, in which something is due."""

    life: int
    frozen: bool

    def postpone(self, packet: bool, call: Call, args: tuple[Any, ...]) -> None: ...


class Time:
    """All processes of a simulation share it."""

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds since the begin."""
        self._due: list[tuple[float, int, Owner | None, int, bool, Call, tuple[Any, ...]]] = []
        self._numbers = count()

    def read(self) -> float:
        """As a clock."""
        return self.now

    def at(self, when: float, call: Call, *args: Any) -> None:
        """Calls at that moment, or now if it is past: something that no process can miss."""
        heappush(self._due, (max(when, self.now), next(self._numbers), None, 0, False, call, args))

    def push(self, when: float, owner: Owner, packet: bool, call: Call, args: tuple[Any, ...]) -> None:
        """Does something inside a process: never when it has died by then, later when it is frozen."""
        heappush(self._due, (when, next(self._numbers), owner, owner.life, packet, call, args))

    def run(self, until: float) -> None:
        """Everything up to this moment."""
        due = self._due
        while due and due[0][0] <= until:
            self.now, _, owner, life, packet, call, args = heappop(due)
            if owner is None:
                call(*args)
            elif owner.life == life:
                if owner.frozen:
                    owner.postpone(packet, call, args)
                else:
                    call(*args)
        self.now = until
