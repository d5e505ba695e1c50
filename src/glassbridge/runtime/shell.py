"""The shell around a machine: a mailbox, one timer, an ordered executor of effects."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

from glassbridge.core.machine import Record
from glassbridge.runtime.tasks import TaskGroup

MAILBOX = 1_000
"""Events that may wait for one machine."""
SHORTEST = 1e-6
"""Seconds until a tick. Asked for less than the resolution of its clock, a loop rings at once, too early: one in
virtual time, whose clock stands still while something is ready, would never come to the deadline."""

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

    It turns in the caller's task (run()), or in tasks of a group, each of which ends when nothing is left to do
    (start()): of those there may be ten thousand that rest.

    `perform` does one effect; it must not block for long: slow work belongs in a task of its own that posts its
    result back. An exception out of `perform` ends the shell and is raised by run() (the owner's supervisor hears it).
    `on_record` hears of each change of state, before the effects of the step; the machine's list of records is emptied.
    """

    __slots__ = (
        "_clock", "_mailbox", "_name", "_on_record", "_overflowed", "_perform", "_stopped", "_tasks", "_tick", "_timer",
        "_turning", "_waiter", "machine",
    )  # fmt: skip

    def __init__(
        self,
        machine: Machine[E],
        perform: Callable[[Any], Awaitable[None] | None],
        tick: E,
        on_record: Callable[[Record[Any]], None],
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
        self._tasks: TaskGroup | None = None
        """In which it turns when there is something to do; None: run() turns it."""
        self._name = ""
        self._turning: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def post(self, event: E) -> None:
        """Puts an event into the mailbox; ignored after stop(). Never waits: see MailboxFull."""
        if self._stopped:
            return
        if len(self._mailbox) < MAILBOX:
            self._mailbox.append(event)
        else:
            self._overflowed = self._stopped = True
        self._wake()

    def post_once(self, event: E) -> None:
        """The same, unless an equal event waits already: for news of which thousands may come at once."""
        if event not in self._mailbox:
            self.post(event)

    def stop(self) -> None:
        """Ends run() after the events posted so far."""
        if not self._stopped:
            self._stopped = True
            self._mailbox.append(None)
            self._wake()

    def start(self, tasks: TaskGroup, name: str) -> None:
        """From now on it turns in tasks of this group, whose owner hears what run() would raise."""
        self._tasks, self._name = tasks, name
        if self._mailbox:
            self._wake()

    async def stopped(self, timeout: float) -> None:
        """Waits up to `timeout` seconds after stop() for the end of what start() began. Safe to cancel."""
        if self._turning is not None:
            await asyncio.wait((self._turning,), timeout=timeout)

    async def run(self) -> None:
        """Runs until stop(). Raises MailboxFull and whatever `perform` raises.

        Cancelling is safe: the effect under way is cancelled, nothing else is begun.
        """
        while self._mailbox or await self._wait():
            if not await self._turn():
                return

    async def _wait(self) -> bool:
        """True, once there is an event, or the deadline has come."""
        self._waiter = asyncio.get_running_loop().create_future()
        self._arm()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._disarm()
        return True

    async def _turn(self) -> bool:
        """Takes the events that wait, or a tick where none does; whether it goes on."""
        while True:
            if self._overflowed:
                raise MailboxFull(f"more than {MAILBOX} events wait for {type(self.machine).__name__}")
            event = self._mailbox.pop(0) if self._mailbox else self._tick
            if event is None:
                return False
            effects = self.machine.step(event, self._clock())
            for record in self.machine.records:
                self._on_record(record)
            self.machine.records.clear()
            for effect in effects:
                result = self._perform(effect)
                if result is not None:
                    await result
            if not self._mailbox:
                return True

    async def _turn_and_rest(self) -> None:
        goes_on = False
        try:
            goes_on = await self._turn()
        finally:
            self._turning = None
            self._stopped |= not goes_on
        if goes_on:
            self._arm()

    def _arm(self) -> None:
        deadline = self.machine.next_deadline()
        if deadline is not None:
            wait = max(SHORTEST, deadline - self._clock())
            self._timer = asyncio.get_running_loop().call_later(wait, self._wake)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        if self._tasks is not None:
            if self._turning is None:
                self._disarm()
                self._turning = self._tasks.spawn(self._turn_and_rest(), self._name)
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
