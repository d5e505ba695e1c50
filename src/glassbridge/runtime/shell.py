"""The shell around a machine: a mailbox, one timer, an ordered executor of effects."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

from glassbridge.core.machine import Record

MAILBOX = 1_000
"""Events that may wait for one machine."""

E = TypeVar("E")
E_contra = TypeVar("E_contra", contravariant=True)


class Machine(Protocol[E_contra]):
    """What the shell needs of a machine (core/machine.py)."""

    def step(self, event: E_contra, now: float) -> list[Any]: ...

    def next_deadline(self) -> float | None: ...

    @property
    def records(self) -> list[Record[Any]]: ...


class MailboxFull(Exception):
    """A machine did not keep up with its events: none may be lost, so its shell ends."""


class Shell(Generic[E]):
    """Turns one machine. Events are posted from anywhere on the loop; steps and effects run one at a time, in order.

    `perform` does one effect; it must not block for long: what takes time belongs in a task of its own that posts its
    result back. An exception out of `perform` ends the shell and is raised by run() (the owner's supervisor hears it).
    `on_record` hears of each change of state, before the effects of the step; the machine's list of records is emptied.
    """

    def __init__(
        self,
        machine: Machine[E],
        perform: Callable[[Any], Awaitable[None] | None],
        tick: E,
        on_record: Callable[[Record[Any]], None] = lambda _record: None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.machine = machine
        self._perform = perform
        self._tick = tick
        self._on_record = on_record
        self._clock = clock
        self._mailbox: list[E | None] = []
        self._waiter: asyncio.Future[None] | None = None
        self._stopped = False
        self._overflowed = False

    def post(self, event: E) -> None:
        """Puts an event into the mailbox; ignored after stop(). Never waits: see MailboxFull."""
        if self._stopped:
            return
        if len(self._mailbox) < MAILBOX:
            self._mailbox.append(event)
        else:
            self._overflowed = self._stopped = True
        self._wake()

    def stop(self) -> None:
        """Ends run() after the events posted so far."""
        if not self._stopped:
            self._stopped = True
            self._mailbox.append(None)
            self._wake()

    async def run(self) -> None:
        """Runs until stop(). Raises MailboxFull and whatever `perform` raises.

        Cancelling is safe: the effect under way is cancelled, nothing else is begun.
        """
        while True:
            if self._overflowed:
                raise MailboxFull(f"more than {MAILBOX} events wait for {type(self.machine).__name__}")
            if not self._mailbox:
                await self._wait()
            event = self._mailbox.pop(0) if self._mailbox else self._tick
            if event is None:
                return
            effects = self.machine.step(event, self._clock())
            for record in self.machine.records:
                self._on_record(record)
            self.machine.records.clear()
            for effect in effects:
                result = self._perform(effect)
                if result is not None:
                    await result

    async def _wait(self) -> None:
        """Until there is an event, or the deadline has come."""
        deadline, loop = self.machine.next_deadline(), asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if deadline is None else loop.call_later(max(0.0, deadline - self._clock()), self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
