"""A process in virtual time: its lives, its clocks, its event loop, its World."""

from collections.abc import Callable
from random import Random
from typing import Any

from glassbridge.lab.virtual.loop import VirtualLoop
from glassbridge.lab.virtual.time import Call, Time
from glassbridge.runtime.world import World


def no_http(**_options: Any) -> Any:
    """For processes without questions to others."""
    raise OSError("there is nothing but the simulated network")


class Process:
    """One program on one machine. `boot` and `die` tell its content of its lives."""

    def __init__(
        self,
        time: Time,
        name: str,
        chance: Random,
        *,
        wall: float,
        offset: float = 0.0,
        rate: float = 1.0,
        user: str = "",
        http: Callable[..., Any] = no_http,
    ) -> None:
        """`wall`: unix seconds when time begins; `offset` and `rate`: of its monotonic clock."""
        self.time = time
        self.name = name
        self.chance = chance
        self.user = user
        """Whose it is, if anybody's."""
        self.life = 0
        """Grows when it dies: what belongs to a former life never happens."""
        self.running = False
        self.frozen = False
        self.watchers: list[Call] = []
        """Hear when it freezes, thaws or dies."""
        self.boot: Call = lambda: None
        self.die: Call = lambda: None
        self.loop: VirtualLoop
        """Of this life."""
        self._wall = wall
        self._offset = offset
        self._rate = rate
        self._packets: list[tuple[Call, tuple[Any, ...]]] = []
        self._timers: list[tuple[Call, tuple[Any, ...]]] = []
        self.world = World(
            monotonic=self.clock,
            since_boot=self.clock,
            wall=self.wall,
            chance=chance.random,
            token=lambda size: chance.randbytes(size).hex(),
            http=http,
            claim_port=lambda _host, _port: None,
        )

    def note(self, what: str, user: str = "", *more: Any) -> None:
        """Something has happened to it: started, frozen, thawed, killed, or `failed`: a task, unheard."""

    # ---- its clocks

    def clock(self) -> float:
        """Monotonic seconds, as the process sees them."""
        return self._offset + self.time.now * self._rate

    now = property(clock)

    def wall(self) -> float:
        """Unix seconds, as the process sees them."""
        return self._wall + self.time.now

    def when(self, moment: float) -> float:
        """The shared time at a moment of its monotonic clock."""
        return (moment - self._offset) / self._rate

    def after(self, seconds: float, call: Call, *args: Any) -> None:
        """Calls in so many of its own seconds."""
        self.time.push(self.time.now + seconds / self._rate, self, False, call, args)

    def at(self, moment: float, call: Call, *args: Any) -> None:
        """Calls at this moment of its monotonic clock, or now if it is past."""
        when = (moment - self._offset) / self._rate
        if when < self.time.now:
            when = self.time.now
        if self._offset + when * self._rate < moment:  # by its last digit
            when += 1e-9
        self.time.push(when, self, False, call, args)

    # ---- its lives

    @property
    def awake(self) -> bool:
        return self.running and not self.frozen

    def start(self) -> None:
        """Begins a life; nothing when it runs."""
        if not self.running:
            self.running = True
            self.note("started", self.user)
            self.loop = VirtualLoop(self, self.name)
            self.loop.set_exception_handler(self._hear_of_failure)
            self.boot()
            self._tell()

    def _hear_of_failure(self, loop: Any, context: dict[str, Any]) -> None:
        if self.running and loop is self.loop:  # what a former life left open is found when it is collected
            self.note("failed", "", f"{context.get('message')}: {context.get('exception')!r}")

    def kill(self) -> None:
        """Ends at once, as by SIGKILL; nothing when it does not run."""
        if self.running:
            self.note("killed", self.user)
            self.running = self.frozen = False
            self._packets.clear()
            self._timers.clear()
            self._tell()
            self.die()
            self.loop.end()
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
        if self.chance.random() < 0.2:
            waiting.reverse()
        for call, args in [*waiting[0], *waiting[1]]:
            self.time.push(self.time.now, self, False, call, args)
        self._packets.clear()
        self._timers.clear()
        self._tell()

    def postpone(self, packet: bool, call: Call, args: tuple[Any, ...]) -> None:
        """Keeps what comes while it is frozen."""
        (self._packets if packet else self._timers).append((call, args))

    def _tell(self) -> None:
        for watcher in list(self.watchers):
            watcher()
