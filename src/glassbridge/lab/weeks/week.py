"""Plays a plan to its end, and judges it."""

import gc
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import _lru_cache_wrapper
from itertools import count
from random import Random
from time import perf_counter
from typing import Any, Final

from glassbridge.cloud.auth import mint_core_token
from glassbridge.core.values import user_id
from glassbridge.lab.virtual.ambient import ambient
from glassbridge.lab.virtual.logs import logs_told_to
from glassbridge.lab.virtual.time import Time
from glassbridge.lab.weeks.chaos import DAY, HOUR, Chaos, Plan
from glassbridge.lab.weeks.excess import LONG_TEXTS, unbounded
from glassbridge.lab.weeks.ledger import Checker, Ledger, Violation
from glassbridge.lab.weeks.network import Network
from glassbridge.lab.weeks.phone import PORT, Phone
from glassbridge.lab.weeks.process import BEGUN, Main, Process
from glassbridge.lab.weeks.programs import SECRET, AppProgram, CloudProgram
from glassbridge.lab.weeks.readers import owned_readers
from glassbridge.telemetry.access import SERVER_LOGGER
from glassbridge.wire.apps import app_session_id

NIGHT: Final = 4 * HOUR
"""Of each day: no user has spoken for long."""
SKEW: Final = 0.2
"""Seconds by which wall clocks of servers differ, at most."""
LEFT: Final = 300.0
"""Seconds after the last user has gone in which everything must be released."""
SLACK: Final = 300
"""Objects of one kind more than on the first night that are no growth."""


STEP: Final = 60.0


class _Found(Exception):
    """What was looked for."""


@dataclass(slots=True)
class Outcome:
    """What one plan led to."""

    plan: Plan
    violations: list[Violation]
    counts: Counter[str]
    worst: float
    worst_of: str
    spells: Counter[int]
    digest: str
    virtual_s: float
    wall_s: float
    kept: list[int] = field(default_factory=list)
    """Objects in this process, each night."""

    def violates(self, checker: Checker) -> bool:
        """Whether this checker has found something."""
        return any(violation.checker is checker for violation in self.violations)


class Week:
    """One simulation; used once."""

    def __init__(self, plan: Plan, story: Callable[[str], None] | None = None) -> None:
        self.plan = plan
        self.time = Time()
        self.ledger = Ledger(self.time, story)
        self.network = Network(self.time, self._chance("network"))
        self._numbers = count(1)
        packages = tuple(f"app-{number}" for number in range(plan.apps))
        names = tuple(f"cloud-{number}" for number in range(plan.clouds))
        self.programs = {name: CloudProgram(packages, "clouds" if plan.balanced else name) for name in names}
        self.clouds = [self._process(name, program.main) for name, program in self.programs.items()]
        addresses = tuple(f"http://{name}:{PORT}" for name in names) if plan.excess else ()
        self.app_programs = {
            package: AppProgram(package, self.ledger, () if number else addresses)
            for number, package in enumerate(packages)
        }
        self.apps = {package: self._process(package, program.main) for package, program in self.app_programs.items()}
        self.phones = [self._phone(number) for number in range(plan.users)]
        self.processes = [*self.clouds, *self.apps.values(), *(phone.process for phone in self.phones)]
        for cloud in self.clouds:
            self.ledger.know_cloud(cloud)
        for package, server in self.apps.items():
            self.ledger.know_app(package, server)
        for phone in self.phones:
            self.ledger.know_user(phone.user, phone.process)
        self.ledger.relays = self._relays
        answers = {package: program.answer_next for package, program in self.app_programs.items()}
        self.chaos = Chaos(plan, self.network, self.ledger, self.phones, self.clouds, self.apps, answers)
        self._kinds: Counter[str] = Counter()
        self.forget_dead: Callable[[], None] = lambda: None
        """Forgets what dead processes have registered (lab/weeks/readers.py)."""
        self.kept: list[int] = []

    def _chance(self, name: str) -> Random:
        return Random(f"{self.plan.seed}:{name}")  # noqa: S311 - not for secrets

    def _process(self, name: str, main: Main) -> Process:
        chance = self._chance(name)
        return Process(self.network, name, next(self._numbers), chance, main, chance.uniform(-SKEW, SKEW))

    def _phone(self, number: int) -> Phone:
        user = f"user-{number}@example.com"
        token = mint_core_token(user_id(user), SECRET, BEGUN)
        phone = Phone(user, token, self.ledger, LONG_TEXTS if self.plan.excess and not number else ())
        phone.process = self._process(f"phone of {user}", phone.main)
        return phone

    def _relays(self, user: str, package: str) -> list[Any]:
        """Where the socket of a user's app leads."""
        return self.network.reached_by(self.apps[package], f"app:{package}:{app_session_id(user, package)}")

    def play(self, until: Checker | None) -> None:
        """To the end of the plan, and until all must be released; or until this checker has found something."""
        for process in self.processes:
            process.start()
        self.chaos.begin()
        for day in range(1, int(self.plan.days) + 1):
            self._run(day * DAY + NIGHT, until)
            self._look_at_night(day)
        if self.plan.days < 1:
            self._run(self.plan.ends_at + LEFT, until)
            self._look_at_rest()

    def _run(self, to: float, until: Checker | None) -> None:
        while self.time.now < to:
            self.time.run(min(to, self.time.now + STEP))
            self._look_at_bounds()
            if any(violation.checker is until for violation in self.ledger.violations):
                raise _Found

    def close(self) -> None:
        """Ends all processes."""
        for process in self.processes:
            process.kill()
        failures = [text for process in self.processes for text in process.failures]
        for text in dict.fromkeys(failures):
            self.ledger.violated(Checker.FAILS, text)

    # ---- what is kept

    def _look_at_night(self, day: int) -> None:
        self._look_at_rest()
        _clear_caches()
        self.forget_dead()
        gc.collect()
        found = gc.get_objects()
        kinds = Counter(type(one).__qualname__ for one in found)
        self.kept.append(len(found))
        del found
        if day == 1:
            self._kinds = kinds
        elif day == int(self.plan.days):
            for kind, count in kinds.items():
                if count > self._kinds[kind] + SLACK:
                    self.ledger.violated(
                        Checker.GROWS, f"{self._kinds[kind]} objects of {kind} after the first day, now {count}"
                    )

    def _look_at_bounds(self) -> None:
        for name, program in self.programs.items():
            if self.plan.excess and program.cloud is not None:
                for text in unbounded(program.cloud):
                    self.ledger.violated(Checker.BOUNDED, f"{name}: {text}")

    def _look_at_rest(self) -> None:
        """No user is there: clouds and apps hold nothing of any user."""
        for name, program in self.programs.items():
            if program.cloud is not None and program.cloud.sessions.active:
                self.ledger.violated(Checker.GROWS, f"{name} has {program.cloud.sessions.active} sessions of nobody")
        for package, server in self.app_programs.items():
            if server.server is not None and server.server.sessions:
                self.ledger.violated(Checker.GROWS, f"{package} has {len(server.server.sessions)} sessions of nobody")


def _clear_caches() -> None:
    """Of aiohttp, which keeps applications and their handlers: in real life they die with their process."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "aiohttp":
            for one in vars(module).values():
                if isinstance(one, _lru_cache_wrapper):
                    one.cache_clear()


class _Unheard(logging.Handler):
    """What aiohttp alone hears of: a handler of a request that failed."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(logging.ERROR)
        self._ledger = ledger

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._ledger.violated(Checker.FAILS, f"{record.getMessage()}: {error!r}")


@contextmanager
def _unheard(ledger: Ledger) -> Iterator[None]:
    handler = _Unheard(ledger)
    SERVER_LOGGER.addHandler(handler)
    try:
        yield
    finally:
        SERVER_LOGGER.removeHandler(handler)


def play(
    plan: Plan, story: Callable[[str], None] | None = None, *, logs: bool = False, until: Checker | None = None
) -> Outcome:
    """The same plan gives the same history. `story` gets each fact as a line, with `logs` what the programs log, too.
    Ends early when the checker `until` has found something."""
    begun = perf_counter()
    week = Week(plan, story)

    def tell(where: str, _method: str, event: MutableMapping[str, Any]) -> None:
        about = " ".join(f"{key}={value}" for key, value in event.items() if key != "event" and value is not None)
        if story is not None:
            story(f"{week.time.now:.6f}   {where or '-'} {event['event']} {about}")

    gc.collect()
    with (
        logs_told_to(tell, logging.INFO if logs else logging.CRITICAL),
        ambient(week.time.read, lambda: BEGUN + week.time.now),
        owned_readers() as week.forget_dead,
        _unheard(week.ledger),
    ):
        gc.freeze()
        try:
            week.play(until)
        except _Found:
            pass
        finally:
            week.close()
            gc.unfreeze()
    ledger = week.ledger
    return Outcome(
        plan=plan,
        violations=ledger.violations,
        counts=ledger.counts,
        worst=ledger.worst,
        worst_of=ledger.worst_of,
        spells=ledger.spells,
        digest=ledger.digest,
        virtual_s=week.time.now,
        wall_s=perf_counter() - begun,
        kept=week.kept,
    )
