"""A bridge's supervisor in virtual time: its own classes (supervisors, pool, worker processes), with modelled children.

The model is a kernel that forks or refuses to, and children that import, serve, answer pings, freeze, die and write
lines that cannot be read. Faults come from a seed.
"""

import asyncio
import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from itertools import count
from random import Random
from typing import Any, Final
from unittest.mock import patch

from glassbridge.bridge import process, supervisor
from glassbridge.bridge.config import BridgeConfig
from glassbridge.bridge.flight import FlightCopy
from glassbridge.bridge.process import MAX_LINE, WorkerPool, WorkerProcess
from glassbridge.lab.virtual.ambient import seldom
from glassbridge.lab.virtual.logs import logs_told_to
from glassbridge.lab.virtual.loop import VirtualLoop
from glassbridge.lab.virtual.time import Time

IMPORTS: Final = 1.6
"""Seconds until a child is warm."""
LISTENS: Final = 0.1
"""Seconds from `serve N` to `ready`, once it is warm."""
DRAINS: Final = 0.5
LASTS: Final = 90.0
"""Seconds of faults; CALM more follow, without any."""
CALM: Final = 30.0
OUTAGE: Final = 3.5 + supervisor.RESTARTS.cap + IMPORTS + LISTENS
"""Seconds for which a worker may be missing: noticed, waited for because it keeps dying, started without a spare."""
GARBAGE: Final = (
    b"\xff\xfe\n",
    b"pong\n",
    b"pong nan\n",
    b"pong 1 {\n",
    b"what is this\n",
    b"x" * (MAX_LINE + 10) + b"\n",
)


class Checker(Enum):
    """What must hold."""

    SERVED = "a worker is missing for a short time only"
    SPARED = "a healthy worker is not killed"
    STAYS = "the bridge goes on"
    FAILS = "no task fails"


@dataclass(slots=True)
class Violation:
    """A checker has found something."""

    checker: Checker
    text: str


class Child:
    """A child process, as far as runtime/child.py shows one. Single use."""

    def __init__(self, machine: "Machine", pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.number: int | None = None
        """Of the worker that it serves as."""
        self.frozen = False
        self.listening = False
        self.reader = asyncio.StreamReader(limit=MAX_LINE, loop=machine.loop)
        self.stderr = asyncio.StreamReader(loop=machine.loop)
        self._machine = machine
        self._loop = machine.loop
        self._ended = machine.loop.create_future()
        self._warm = False
        self._unheard: list[Callable[[], None]] = []
        """What waits until it is thawed."""
        self._after(IMPORTS, self._be_warm)

    @property
    def healthy(self) -> bool:
        return self.returncode is None and not self.frozen

    @property
    def spare(self) -> bool:
        """Warm, and of no use yet."""
        return self.healthy and self._warm and self.number is None

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        self._loop.call_later(seconds, self._when_awake, act)

    def _when_awake(self, act: Callable[[], None]) -> None:
        if self.frozen:
            self._unheard.append(act)
        elif self.returncode is None:
            act()

    def say(self, line: bytes) -> None:
        """To its supervisor."""
        if self.healthy:
            self.reader.feed_data(line)

    # ---- its life

    def _be_warm(self) -> None:
        self._warm = True
        self.say(b"warm\n")
        if self.number is not None:
            self._after(LISTENS, self._listen)

    def _listen(self) -> None:
        self.listening = True
        self.say(b"ready\n")

    def freeze(self) -> None:
        """As by SIGSTOP."""
        self.frozen = True

    def thaw(self) -> None:
        """As by SIGCONT."""
        self.frozen = False
        waiting, self._unheard = self._unheard, []
        for act in waiting:
            self._when_awake(act)

    def end(self, status: int) -> None:
        """It is no more."""
        if self.returncode is None:
            self.returncode = status
            self.listening = False
            self.reader.feed_eof()
            self.stderr.feed_eof()
            self._ended.set_result(None)

    # ---- what its supervisor does to it: a child, the writer to it, and the writer's transport

    @property
    def transport(self) -> "Child":
        return self

    @staticmethod
    def get_write_buffer_size() -> int:
        return 0

    def write(self, data: bytes) -> None:
        word, _, rest = data.decode().strip().partition(" ")
        if word == "serve":
            self._when_awake(partial(self._serve, int(rest)))
        elif word == "ping":
            self._when_awake(lambda: self.say(b"pong 50.0\n"))

    def close(self) -> None:
        pass

    def _serve(self, number: int) -> None:
        self.number = number
        if self._warm:
            self._after(LISTENS, self._listen)

    def signal(self, number: int) -> None:
        if self.returncode is None:
            self._machine.signalled(self, number)
            if number == signal.SIGKILL:
                self._loop.call_later(0.01, self.end, -number)
            elif number == signal.SIGTERM:
                self._when_awake(self._drain)

    def _drain(self) -> None:
        self.listening = False
        self.say(b"released\n")
        self._after(DRAINS, lambda: self.end(0))

    async def wait(self) -> int | None:
        await asyncio.shield(self._ended)
        return self.returncode

    async def ended_within(self, seconds: float) -> bool:
        await asyncio.wait([self._ended], timeout=seconds)
        return self.returncode is not None


@dataclass(slots=True)
class _Seat:
    """One worker's number."""

    missing_since: float | None = None
    told: bool = False


@dataclass(slots=True)
class Outcome:
    """What one seed led to."""

    violations: list[Violation] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    forks: int = 0

    def violates(self, checker: Checker) -> bool:
        return any(violation.checker is checker for violation in self.violations)


class Machine:
    """One bridge, and the kernel under it. Used once."""

    LOOK_EVERY: Final = 0.25

    def __init__(self, seed: int) -> None:
        self.chance = Random(f"supervision {seed}")
        self.time = Time()
        self.loop = VirtualLoop(self.time, "supervisor")
        self.loop.set_exception_handler(self._failed)
        self.config = BridgeConfig(workers=self.chance.choice((1, 2, 3)), spare=self.chance.random() < 0.8)
        self.outcome = Outcome()
        self._children: list[Child] = []
        self._pids = count(100)
        self._refuses_until = 0.0
        self._seats = [_Seat() for _ in range(self.config.workers)]
        self._stopping = False

    # ---- the kernel

    async def fork(self, _config: BridgeConfig, copy: FlightCopy) -> WorkerProcess:
        """A Starter."""
        if self.time.now < self._refuses_until:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        child: Any = Child(self, next(self._pids))
        self._children.append(child)
        self.outcome.forks += 1
        return WorkerProcess(child, child.reader, child, copy)

    def signalled(self, child: Child, number: int) -> None:
        """The supervisor sends a signal."""
        if child.healthy and child.listening and not self._stopping:
            name = signal.Signals(number).name
            self._violated(Checker.SPARED, f"worker {child.number} (pid {child.pid}) got {name}, and is well")

    # ---- what goes wrong

    def plan(self) -> None:
        """Faults at random moments."""
        at = 8.0
        while (at := at + self.chance.expovariate(1 / 12.0)) < LASTS:
            self.time.at(at, self._befall)

    def _befall(self) -> None:
        serving = [child for child in self._children if child.healthy and child.listening]
        spares = [child for child in self._children if child.spare]
        acts: list[tuple[str, Callable[[Any], None], list[Child]]] = [
            ("killed", self._kill, serving),
            ("frozen", self._freeze, serving),
            ("spare frozen", self._freeze, spares),
            ("spare killed", self._kill, spares),
            ("garbage", self._garble, serving),
            ("refusal of forks, killed", self._refuse, serving),
            ("spare frozen, killed", self._kill_beside_a_frozen_spare, serving),
        ]
        what, act, subjects = self.chance.choice(acts)
        if subjects:
            subject = self.chance.choice(subjects)
            self.outcome.faults.append(f"{self.time.now:7.2f}  {what}: pid {subject.pid}")
            act(subject)

    @staticmethod
    def _kill(child: Child) -> None:
        child.end(-signal.SIGKILL)

    def _freeze(self, child: Child) -> None:
        child.freeze()
        if self.chance.random() < 0.4:
            self.time.at(self.time.now + self.chance.uniform(0.2, 20.0), child.thaw)

    def _kill_beside_a_frozen_spare(self, child: Child) -> None:
        for spare in [one for one in self._children if one.spare]:
            spare.freeze()
        child.end(-signal.SIGKILL)

    def _garble(self, child: Child) -> None:
        child.say(self.chance.choice(GARBAGE))

    def _refuse(self, child: Child) -> None:
        self._refuses_until = self.time.now + self.chance.uniform(0.5, 15.0)
        child.end(-signal.SIGKILL)

    # ---- the checkers

    def look(self) -> None:
        """Each worker is there, or its outage is short."""
        now = self.time.now
        for number, seat in enumerate(self._seats):
            if any(child.number == number and child.healthy and child.listening for child in self._children):
                seat.missing_since, seat.told = None, False
                continue
            if seat.missing_since is None:
                seat.missing_since = now
            if now - max(seat.missing_since, self._refuses_until) > OUTAGE and not seat.told:
                seat.told = True
                self._violated(Checker.SERVED, f"worker {number} is missing for {now - seat.missing_since:.1f} s")
        self._children = [child for child in self._children if child.returncode is None]
        self.time.at(now + self.LOOK_EVERY, self.look)

    def _violated(self, checker: Checker, text: str) -> None:
        self.outcome.violations.append(Violation(checker, f"{self.time.now:.2f} s: {text}"))

    def _failed(self, _loop: Any, context: dict[str, Any]) -> None:
        self._violated(Checker.FAILS, f"{context.get('message')}: {context.get('exception')!r}")

    # ---- one run

    def play(self) -> Outcome:
        """To the end of the faults, and some seconds of calm."""
        bridge = self.loop.create_task(supervisor._supervise(self.config, (), None, None), name="bridge")
        self.plan()
        self.time.at(5.0, self.look)
        self.time.run(LASTS + CALM)
        self._stopping = True
        if bridge.done():
            end = "was cancelled" if bridge.cancelled() else repr(bridge.exception())
            self._violated(Checker.STAYS, f"the bridge has ended by itself: {end}")
        self.loop.end()
        return self.outcome


@contextmanager
def _nothing(*_: Any) -> Iterator[asyncio.Event]:
    """Nobody sends signals to this bridge."""
    yield asyncio.Event()


def run(seed: int) -> Outcome:
    """Plays one seed; the same one gives the same history."""
    machine = Machine(seed)
    with ExitStack() as stack:
        stack.enter_context(seldom(10.0))
        for module, name, stand_in in (
            (supervisor, "WorkerPool", partial(WorkerPool, start=machine.fork)),
            (supervisor, "stop_on_signals", _nothing),
            (supervisor, "reload_on_hangup", _nothing),
            (supervisor, "_asked_to_recycle", _nothing),
            (supervisor, "random", machine.chance),
            (supervisor, "monotonic", machine.time.read),
            (process, "random", machine.chance),
            (process, "monotonic", machine.time.read),
        ):
            stack.enter_context(patch.object(module, name, stand_in))
        stack.enter_context(logs_told_to())
        return machine.play()
