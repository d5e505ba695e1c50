"""A shipper of log lines in virtual time: its own class, spool and machine, before a modelled sink.

The sink redirects, refuses, asks for time, takes small batches only, or answers nothing; its moods come from a seed.
The shipper's two threads are not started: its turns are called when something is due.
"""

import threading
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import Enum
from queue import Empty
from random import Random
from typing import Any, Final
from unittest.mock import patch

from glassbridge.lab.virtual.logs import logs_told_to
from glassbridge.lab.virtual.time import Time
from glassbridge.telemetry import shipper
from glassbridge.telemetry.config import SinkConfig
from glassbridge.telemetry.sinks import SinkAnswer

LASTS: Final = 120.0
"""Seconds in which lines come and the sink has moods."""
SENT_AFTER: Final = 150.0
"""Seconds after which all that can arrive has arrived."""
UNREADABLE: Final = b'{"event": "unreadable"}'
"""A line that the sink never takes (400)."""


class Checker(Enum):
    """What must hold."""

    ARRIVES = "each line arrives once and in order, unless the sink refuses that very line"
    GOES_ON = "what waits is sent once the sink takes lines again"


@dataclass(slots=True)
class Violation:
    """A checker has found something."""

    checker: Checker
    text: str


@dataclass(slots=True)
class Outcome:
    """What one seed led to."""

    violations: list[Violation] = field(default_factory=list)
    lines: int = 0
    answers: set[int | None] = field(default_factory=set)

    def violates(self, checker: Checker) -> bool:
        return any(violation.checker is checker for violation in self.violations)


class Sink:
    """Takes lines by its mood."""

    def __init__(self, chance: Random) -> None:
        self.arrived: list[bytes] = []
        self.mood: int | None = 200
        self.most = 1_000
        """Lines of a batch; more are too much."""
        self._chance = chance

    def change(self) -> None:
        """Another mood: a status, or None for no answer."""
        self.mood = self._chance.choice((200, 200, 301, 302, 307, 308, 401, 403, 408, 429, 500, 503, None))
        self.most = self._chance.choice((1_000, 1_000, 40, 7))

    def post(self, lines: list[bytes]) -> SinkAnswer:
        """Its answer."""
        if self.mood != 200:
            return SinkAnswer(self.mood, self._chance.choice((None, 2.0)) if self.mood == 429 else None)
        if len(lines) > self.most:
            return SinkAnswer(413)
        if UNREADABLE in lines:
            return SinkAnswer(400)
        self.arrived += lines
        return SinkAnswer(200)


class Machine:
    """One shipper and its sink. Used once."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(f"log sink {seed}")
        self.time = Time()
        self.outcome = Outcome()
        self._sink = Sink(self.chance)
        self._put: list[bytes] = []
        self._busy = False
        self._turn_at: float | None = None
        self._shipper: shipper.Shipper

    def play(self) -> Outcome:
        """To the end of the moods, and as long as it may take to send the rest."""
        self._shipper = shipper.Shipper(SinkConfig(kind="better_stack", url="https://sink.example", batch=50), None)
        at = 0.0
        while (at := at + self.chance.expovariate(1 / 8.0)) < LASTS:
            self.time.at(at, self._sink.change)
        at = 0.0
        while (at := at + self.chance.expovariate(1 / 3.0)) < LASTS:
            self.time.at(at, self._log, self.chance.choice((1, 3, 60)))
        self.time.at(LASTS, self._recover)
        self.time.run(LASTS + SENT_AFTER)
        self._judge()
        self._shipper._spool.close()
        return self.outcome

    def _log(self, many: int) -> None:
        for _ in range(many):
            number = len(self._put)
            line = UNREADABLE if self.chance.random() < 0.005 else b'{"event": "%d"}' % number
            self._put.append(line)
            self._shipper.put(line.decode())
        self._turn()

    def _recover(self) -> None:
        self._sink.mood, self._sink.most = 200, 1_000

    # ---- its threads

    def _turn(self) -> None:
        """What the thread that keeps does when something has come, or its deadline has."""
        news: list[Any] = []
        try:
            while True:
                news.append(self._shipper._inbox.get_nowait())
        except Empty:
            pass
        self._shipper._turn(news)
        if not self._busy and not self._shipper._jobs.empty():
            self._busy = True
            lines = self._shipper._jobs.get_nowait()
            assert lines is not None
            self.time.at(self.time.now + self.chance.uniform(0.01, 0.1), self._answer, lines)
        deadline = self._shipper._outbox.next_deadline()
        if deadline is not None and deadline != self._turn_at:
            self._turn_at = deadline
            self.time.at(deadline, self._turn)

    def _answer(self, lines: list[bytes]) -> None:
        """What the thread that posts does."""
        answer = self._sink.post(lines)
        self.outcome.answers.add(answer.status)
        self._busy = False
        self._shipper._inbox.put(shipper._Posted(answer, len(lines)))
        self._turn()

    # ---- the checkers

    def _judge(self) -> None:
        outcome, due = self.outcome, deque(line for line in self._put if line != UNREADABLE)
        outcome.lines = len(self._put)
        waiting = self._shipper.counts.waiting
        if waiting:
            outcome.violations.append(Violation(Checker.GOES_ON, f"{waiting} lines wait"))
        missing = [line for line in due if line not in set(self._sink.arrived)]
        if not waiting and self._sink.arrived != list(due):
            first = missing[0].decode() if missing else "none"
            text = f"{len(missing)} of {len(due)} lines are missing, the first: {first}"
            outcome.violations.append(Violation(Checker.ARRIVES, text))


class _NoThread:
    """Of a shipper whose turns are called."""

    def __init__(self, **_: Any) -> None:
        pass

    def start(self) -> None:
        pass


def run(seed: int) -> Outcome:
    """Plays one seed; the same one gives the same history."""
    machine = Machine(seed)
    with ExitStack() as stack:
        stack.enter_context(patch.object(threading, "Thread", _NoThread))
        stack.enter_context(patch.object(shipper, "random", machine.chance))
        stack.enter_context(patch.object(shipper, "monotonic", machine.time.read))
        stack.enter_context(logs_told_to())
        return machine.play()
