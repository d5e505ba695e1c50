"""Runs schedules and judges them, one or thousands."""

import gc
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from glassbridge.core.session import GRACE, SessionState
from glassbridge.lab.sim.judge import judge
from glassbridge.lab.sim.look import Look
from glassbridge.lab.sim.schedule import Schedule, make
from glassbridge.lab.sim.system import System
from glassbridge.lab.sim.verdict import EVENTS_OF_A_SPAN, RELEASED_AFTER, Checker, Verdict, Violation
from glassbridge.lab.sim.world import Fact
from glassbridge.lab.virtual.ambient import seldom
from glassbridge.lab.virtual.logs import Tell, logs_told_to
from glassbridge.lab.virtual.seeds import in_shares
from glassbridge.telemetry.traces import Span, export_to

WATCH = 16.0
"""Seconds after healing in which audio must come back and stay."""
LOOK_EVERY = 5.0
LOOKS_AT_ITSELF = 1.0
"""Seconds between two looks of a process at its own loop: a standstill that is shorter is not noticed by itself."""
RENEWED_EVERY = 3.0
"""Seconds between renewals of a cloud's lease, which nobody else sees here; it is trusted for 3.3 s."""
SMALL_TALK = frozenset({"heard", "passed"})
"""Facts that a story is better without."""
_STATES = {state.label: state for state in SessionState}


@dataclass(slots=True)
class Outcome:
    """What one schedule led to."""

    schedule: Schedule
    verdict: Verdict
    history: list[Fact]

    @property
    def violations(self) -> list[Violation]:
        return self.verdict.violations

    @property
    def digest(self) -> int:
        """Of all facts: the same for the same schedule, on each machine."""
        told = blake2b(digest_size=8)
        for fact in self.history:
            told.update(repr((fact.at, fact.where, fact.what, fact.user, fact.more)).encode())
        return int.from_bytes(told.digest())

    def violates(self, checker: Checker) -> bool:
        """Whether this checker has found something."""
        return any(violation.checker is checker for violation in self.violations)

    def story(self) -> Iterator[str]:
        """The schedule and what happened, in order of time; single frames are left out."""
        yield f"users: {'; '.join(map(str, self.schedule.users))}"
        yield f"setup: {self.schedule.about()}"
        for fact in self.history:
            if fact.what not in SMALL_TALK:
                yield str(fact)


def run(schedule: Schedule) -> Outcome:
    """Plays a schedule to its end. The same one gives the same history."""
    system, verdict = System(schedule), Verdict()
    watches = seldom(LOOKS_AT_ITSELF, renewed=RENEWED_EVERY)
    with logs_told_to(_told_of(system)), _spans_judged(verdict), watches:
        try:
            _play(schedule, system, Look(system, verdict))
        finally:
            system.close()
    history = system.world.history
    judge(schedule, history, schedule.heal_at + WATCH, verdict)
    return Outcome(schedule, verdict, history)


def _told_of(system: System) -> Tell:
    """What programs log of their sessions, and each error, is a fact; nothing else of their logs is kept."""

    def tell(where: str, method: str, event: MutableMapping[str, Any]) -> None:
        process = system.processes.get(where)
        user = str(event.get("user_id", ""))
        if method in ("error", "critical"):
            system.world.note(where or "-", "failed", user, f"logged: {event}")
        elif process is not None and process.running:
            match event["event"]:
                case "session":
                    old, new = _STATES[event["old"]], _STATES[event["new"]]
                    more = event["session_id"], old, new, event["on"], process.clock(), event["cause"]
                    process.note("session", user, *more)
                case "session gone":
                    process.note("session gone", user, event["session_id"])
                case "phone socket" | "phone place":
                    system.phones[process.user].changed(event)
                case "late socket refused":
                    process.note("late socket", user, event["attempt"])
                case "audio link":
                    process.note("link", user, event["old"], "->", event["new"], event["on"], event["cause"])
                case "audio state":
                    process.note("notice", user, event["state"], event["code"], event["transport"])

    return tell


@contextmanager
def _spans_judged(verdict: Verdict) -> Iterator[None]:
    """Each span that ends is looked at, as a collector would get it."""

    def judge_span(span: Span) -> None:
        if (many := len(span.events)) > EVENTS_OF_A_SPAN:
            verdict.add(Checker.BOUNDED, "", f"the span {span.name!r} keeps {many} events")

    export_to(judge_span)
    try:
        yield
    finally:
        export_to(None)


def _play(schedule: Schedule, system: System, look: Look) -> None:
    world = system.world
    system.begin()
    while world.now + LOOK_EVERY < schedule.heal_at:
        world.run(world.now + LOOK_EVERY)
        look.at_any_time()
    world.run(schedule.heal_at)
    system.heal()
    left = schedule.heal_at + WATCH
    while world.now < left:
        world.run(min(left, world.now + LOOK_EVERY))
        look.at_any_time()
    look.when_settled()
    system.leave()
    world.run(left + GRACE + RELEASED_AFTER)
    look.at_the_end()


@dataclass(slots=True)
class Tally:
    """The outcome of many seeds."""

    schedules: int = 0
    faults: int = 0
    virtual_s: float = 0.0
    digest: int = 0
    """Of all histories."""
    violations: dict[int, list[str]] = field(default_factory=dict)
    """By seed."""
    back: dict[str, list[float]] = field(default_factory=dict)
    """Seconds from healing until audio was back, by what had become of the phone's socket."""

    def add(self, outcome: Outcome) -> None:
        """Counts one more."""
        self.schedules += 1
        self.faults += len(outcome.schedule.faults)
        self.digest ^= outcome.digest
        self.virtual_s += outcome.history[-1].at if outcome.history else 0.0
        if outcome.violations:
            self.violations[outcome.schedule.seed] = [str(violation) for violation in outcome.violations]
        for back in outcome.verdict.back:
            self.back.setdefault(back.socket, []).append(back.seconds)

    def merge(self, other: "Tally") -> None:
        """Counts what another process did."""
        self.schedules += other.schedules
        self.faults += other.faults
        self.digest ^= other.digest
        self.virtual_s += other.virtual_s
        self.violations |= other.violations
        for socket, seconds in other.back.items():
            self.back.setdefault(socket, []).extend(seconds)

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "schedules": self.schedules,
            "faults": self.faults,
            "virtual_s": round(self.virtual_s),
            "digest": f"{self.digest:016x}",
            "violations": {str(seed): texts for seed, texts in sorted(self.violations.items())},
            "audio_back_s": {socket: _percentiles(values) for socket, values in sorted(self.back.items())},
        }


def run_seeds(first: int, count: int, processes: int = 1, progress: Callable[[Tally], None] | None = None) -> Tally:
    """Plays `count` schedules from the seed `first` on; `progress` hears now and then how far it has come."""
    tally = Tally()
    for done in in_shares(_share, first, count, processes):
        tally.merge(done)
        if progress is not None:
            progress(tally)
    return tally


def _share(seeds: range) -> Tally:
    tally = Tally()
    collects = gc.isenabled()
    gc.disable()  # a schedule is thrown away as a whole; until then nothing of it is garbage
    gc.collect()
    gc.freeze()  # what is here before is not looked at each time
    try:
        for seed in seeds:
            tally.add(run(make(seed)))
            gc.collect()
    finally:
        gc.unfreeze()
        if collects:
            gc.enable()
    return tally


def _percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    at = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    found = {name: round(ordered[int(len(ordered) * share)], 3) for name, share in at.items()}
    return {"n": len(ordered), **found, "max": round(ordered[-1], 3)}
