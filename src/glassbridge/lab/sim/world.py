"""Virtual time, the processes that live in it, and the history of what happened."""

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

Call = Callable[..., None]

UNIX_EPOCH_S = 1_700_000_000.0
"""Wall clock at the beginning of every world."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened."""

    at: float
    """Seconds of the world's clock, which no process sees."""
    where: str
    """Name of a process, or of a link."""
    what: str
    user: str
    more: tuple[Any, ...]

    def __str__(self) -> str:
        about = " ".join(str(item) for item in self.more)
        return f"{self.at:9.3f}  {self.where:<10} {self.user:<4} {self.what:<18} {about}".rstrip()


class World:
    """Turns what is due, in order of time. Two runs with one seed are the same to the last fact."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.chance = Random(seed)  # noqa: S311 - not for secrets
        self.history: list[Fact] = []
        self.processes: dict[str, Process] = {}
        """By name."""
        self._due: list[tuple[float, int, Process | None, int, bool, Call, tuple[Any, ...]]] = []
        self._count = count()

    def note(self, where: str, what: str, user: str = "", *more: Any) -> None:
        """Writes a fact into the history."""
        self.history.append(Fact(self.now, where, what, user, more))

    def at(self, when: float, call: Call, *args: Any) -> None:
        """Does something that no process can miss."""
        heappush(self._due, (when, next(self._count), None, 0, False, call, args))

    def push(self, when: float, process: "Process", packet: bool, call: Call, args: tuple[Any, ...]) -> None:
        """Does something inside a process: never when it has died by then, later when it is frozen."""
        heappush(self._due, (when, next(self._count), process, process.life, packet, call, args))

    def run(self, until: float) -> None:
        """Turns everything up to this moment."""
        due = self._due
        while due and due[0][0] <= until:
            when, _, process, life, packet, call, args = heappop(due)
            self.now = when
            if process is None:
                call(*args)
            elif process.life == life:
                if process.frozen:
                    process.postpone(packet, call, args)
                else:
                    call(*args)
        self.now = until


class Process:
    """One program on one machine, with clocks of its own. `boot` and `die` tell its content of its lives."""

    def __init__(self, world: World, name: str, user: str = "", skew: float = 0.0) -> None:
        self.world = world
        self.name = name
        self.user = user
        """Whose it is, if anybody's."""
        world.processes[name] = self
        self.life = 0
        """Grows when it dies: what belongs to a former life never happens."""
        self.running = False
        self.frozen = False
        self.watchers: list[Call] = []
        """Hear when it freezes, thaws or dies."""
        self.boot: Call = lambda: None
        self.die: Call = lambda: None
        self._offset = world.chance.uniform(10.0, 10_000.0)
        self._rate = 1.0 + world.chance.uniform(-1e-4, 1e-4)
        self._wall = UNIX_EPOCH_S + world.chance.uniform(-skew, skew)
        self._packets: list[tuple[Call, tuple[Any, ...]]] = []
        self._timers: list[tuple[Call, tuple[Any, ...]]] = []

    # ---- its clocks

    def clock(self) -> float:
        """Monotonic seconds, as the process sees them."""
        return self._offset + self.world.now * self._rate

    def unix_ms(self) -> int:
        """Wall clock."""
        return int((self._wall + self.world.now) * 1000)

    def when(self, moment: float) -> float:
        """The world's time at a moment of its monotonic clock."""
        return (moment - self._offset) / self._rate

    def after(self, seconds: float, call: Call, *args: Any) -> None:
        """Calls in so many of its own seconds."""
        self.world.push(self.world.now + seconds / self._rate, self, False, call, args)

    def at(self, moment: float, call: Call, *args: Any) -> None:
        """Calls at this moment of its monotonic clock."""
        when = max(self.world.now, (moment - self._offset) / self._rate)
        if self._offset + when * self._rate < moment:  # by its last digit
            when += 1e-9
        self.world.push(when, self, False, call, args)

    def note(self, what: str, user: str = "", *more: Any) -> None:
        """Writes a fact into the history."""
        self.world.note(self.name, what, user, *more)

    # ---- its lives

    @property
    def awake(self) -> bool:
        return self.running and not self.frozen

    def start(self) -> None:
        """Begins a life; nothing when it runs."""
        if not self.running:
            self.running = True
            self.note("started", self.user)
            self.boot()
            self._tell()

    def kill(self) -> None:
        """Ends at once, as by SIGKILL; nothing when it does not run."""
        if not self.running:
            return
        self.note("killed", self.user)
        self.running = self.frozen = False
        self._packets.clear()
        self._timers.clear()
        self._tell()
        self.die()
        self.life += 1

    def freeze(self) -> None:
        """Stands still, as by SIGSTOP: what arrives and what falls due waits."""
        if self.awake:
            self.note("frozen", self.user)
            self.frozen = True
            self._tell()

    def thaw(self) -> None:
        """Goes on: what has arrived is read, and every timer rings at once; mostly in this order."""
        if not self.frozen:
            return
        self.note("thawed", self.user)
        self.frozen = False
        waiting = [self._packets, self._timers]
        if self.world.chance.random() < 0.2:
            waiting.reverse()
        for call, args in [*waiting[0], *waiting[1]]:
            self.world.push(self.world.now, self, False, call, args)
        self._packets.clear()
        self._timers.clear()
        self._tell()

    def postpone(self, packet: bool, call: Call, args: tuple[Any, ...]) -> None:
        """Keeps what comes while it is frozen."""
        (self._packets if packet else self._timers).append((call, args))

    def _tell(self) -> None:
        for watcher in list(self.watchers):
            watcher()
