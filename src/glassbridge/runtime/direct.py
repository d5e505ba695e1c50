"""The shell of a machine whose effects never wait: a step runs inside the caller's, without a mailbox.

For machines that see every piece of audio. Slow work belongs in a task that steps with its result.
"""

from collections.abc import Callable
from time import monotonic
from typing import Any, Generic, TypeVar

from glassbridge.core.machine import Record
from glassbridge.runtime.shell import Machine
from glassbridge.runtime.timer import Timer

E = TypeVar("E")


class DirectShell(Generic[E]):
    """Turns one machine. `perform` does one effect at once; a step that it takes follows the one under way.

    `on_step` gets each event with its effects, before they are performed. An exception out of `perform` reaches the
    caller of the step; from the timer it reaches the loop's exception handler.
    """

    __slots__ = (
        "_clock", "_on_record", "_on_step", "_perform", "_stepping", "_tick", "_timer", "_waiting", "machine",
    )  # fmt: skip

    def __init__(
        self,
        machine: Machine[E],
        perform: Callable[[Any], None],
        tick: E,
        on_record: Callable[[Record[Any]], None],
        clock: Callable[[], float] = monotonic,
        on_step: Callable[[E, list[Any]], None] = lambda _event, _effects: None,
    ) -> None:
        self.machine = machine
        self._perform = perform
        self._tick = tick
        self._on_record = on_record
        self._clock = clock
        self._on_step = on_step
        self._waiting: list[E] = []
        self._stepping = False
        self._timer = Timer(self._ring)

    def step(self, event: E) -> list[Any]:
        """Decides and performs; nothing waits. What was done for this event; nothing where a step is under way."""
        self._waiting.append(event)
        if self._stepping:
            return []
        done: list[Any] | None = None
        self._stepping = True
        try:
            while self._waiting:
                next_event = self._waiting.pop(0)
                effects = self.machine.step(next_event, self._clock())
                done = effects if done is None else done
                for record in self.machine.records:
                    self._on_record(record)
                self.machine.records.clear()
                self._on_step(next_event, effects)
                for effect in effects:
                    self._perform(effect)
        finally:
            self._waiting.clear()
            self._stepping = False
        self._arm()
        return done or []

    def stop(self) -> None:
        """No tick comes any more; idempotent."""
        self._timer.stop()

    def _arm(self) -> None:
        deadline = self.machine.next_deadline()
        if deadline is None:
            self._timer.stop()
        else:
            self._timer.by(deadline)

    def _ring(self) -> None:
        deadline = self.machine.next_deadline()
        if deadline is not None and self._clock() >= deadline:
            self.step(self._tick)
        else:
            self._arm()
