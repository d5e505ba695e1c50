"""The shell around a machine: a mailbox, one timer, an ordered executor of effects."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

E = TypeVar("E")
E_contra = TypeVar("E_contra", contravariant=True)


class Machine(Protocol[E_contra]):
    """What the shell needs of a machine (core/machine.py)."""

    def step(self, event: E_contra, now: float) -> list[Any]: ...

    def next_deadline(self) -> float | None: ...


class Shell(Generic[E]):
    """Turns one machine. Events are posted from anywhere on the loop; steps and effects run one at a time, in order.

    `perform` does one effect; it must not block for long: what takes time belongs in a task of its own that posts its
    result back. An exception out of `perform` ends the shell and is raised by run() (the owner's supervisor hears it).
    """

    def __init__(
        self,
        machine: Machine[E],
        perform: Callable[[Any], Awaitable[None] | None],
        tick: E,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.machine = machine
        self._perform = perform
        self._tick = tick
        self._clock = clock
        self._mailbox: asyncio.Queue[E | None] = asyncio.Queue()
        self._stopped = False

    def post(self, event: E) -> None:
        """Puts an event into the mailbox; ignored after stop()."""
        if not self._stopped:
            self._mailbox.put_nowait(event)

    def stop(self) -> None:
        """Ends run() after the events posted so far."""
        if not self._stopped:
            self._stopped = True
            self._mailbox.put_nowait(None)

    async def run(self) -> None:
        """Runs until stop(). Cancelling is safe: the effect under way is cancelled, nothing else is begun."""
        while True:
            deadline = self.machine.next_deadline()
            try:
                async with asyncio.timeout(None if deadline is None else max(0.0, deadline - self._clock())):
                    event = await self._mailbox.get()
            except TimeoutError:
                event = self._tick
            if event is None:
                return
            for effect in self.machine.step(event, self._clock()):
                result = self._perform(effect)
                if result is not None:
                    await result
