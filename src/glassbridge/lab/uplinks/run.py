"""Plays schedules of bad links and judges what was heard, one or thousands."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Final

from glassbridge.core.values import SAMPLE_RATE, Transport
from glassbridge.lab.uplinks.cloud import Cloud
from glassbridge.lab.uplinks.phone import Phone
from glassbridge.lab.uplinks.schedule import Schedule, make
from glassbridge.lab.uplinks.sound import exact_codec
from glassbridge.lab.uplinks.wire import Link
from glassbridge.lab.virtual.ambient import ambient
from glassbridge.lab.virtual.loop import VirtualLoop
from glassbridge.lab.virtual.seeds import in_shares
from glassbridge.lab.virtual.time import Time

CONNECTED: Final = 1.5
"""Seconds from the beginning to the speech."""
WITHIN: Final = 15.0
"""Seconds after the link is well in which everything must have been handed on."""
LIVE: Final = 0.5
UNIT: Final = SAMPLE_RATE // 10


@dataclass(slots=True)
class Outcome:
    """What one schedule led to."""

    schedule: Schedule
    violations: list[str]
    live: float = 0.0
    """Share of the tenths of a second that were handed on within LIVE seconds of their capture and the link's delay."""
    age_s: float = 0.0
    """p99 of the same."""
    given_up: int = 0
    """Samples of holes that were given up and filled later."""
    opened: int = 0
    """Sockets."""
    slow_at: list[float] = field(default_factory=list)
    """Seconds of the speech at which the phone was told that its network is slow."""
    story: list[str] = field(default_factory=list)
    """What happened, in order of time."""


class _Clock:
    """Of the schedule that is being played."""

    def __init__(self) -> None:
        self.time = Time()

    def read(self) -> float:
        return self.time.now


@contextmanager
def playground() -> Iterator[Callable[[Schedule], Outcome]]:
    """Virtual time, and a codec without loss, for as many schedules as there are; `play` plays one to its end."""
    clock = _Clock()
    with ExitStack() as stack:
        stack.enter_context(exact_codec())
        stack.enter_context(ambient(clock.read))

        def play(schedule: Schedule) -> Outcome:
            clock.time = Time()
            return _play(schedule, clock.time)

        yield play


def _play(schedule: Schedule, time: Time) -> Outcome:
    time.now = 1.0
    loop = VirtualLoop(time, "phone and cloud")
    failures: list[str] = []
    loop.set_exception_handler(lambda _, context: failures.append(f"{context.get('message')}: {context!r}"))
    outcome = Outcome(schedule, failures)
    main = loop.create_task(_speak(schedule, outcome))
    last = CONNECTED + max(schedule.seconds, schedule.well_from) + WITHIN
    time.run(time.now + last + 5.0)
    if not main.done():
        failures.append("it does not end")
    elif not main.cancelled() and (error := main.exception()) is not None:
        failures.append(f"failed: {error!r}")
    loop.end()
    return outcome


async def _speak(schedule: Schedule, outcome: Outcome) -> None:
    loop, chance = asyncio.get_running_loop(), Random(schedule.seed)  # noqa: S311
    begun = loop.time() + CONNECTED

    def tell(what: str) -> None:
        outcome.story.append(f"{loop.time() - begun:7.3f}  {what}")

    link, cloud = Link(chance), Cloud(tell)
    if schedule.bad_from <= -CONNECTED:  # before the first packet, not after it
        link.begin(schedule.up, schedule.down)
    phone = Phone(link, cloud, chance, schedule.transport, tell)
    loop.call_at(begun + schedule.bad_from, link.begin, schedule.up, schedule.down)
    loop.call_at(begun + schedule.well_from, link.heal)
    if schedule.room_lost_at and schedule.transport is Transport.DATA:
        loop.call_at(begun + schedule.room_lost_at, setattr, phone.place, "joined", False)
        if schedule.room_back_at > schedule.room_lost_at:
            loop.call_at(begun + schedule.room_back_at, setattr, phone.place, "joined", True)
    if schedule.reset_at:
        loop.call_at(begun + schedule.reset_at, phone.reset)
    running = loop.create_task(phone.run())
    try:
        await asyncio.sleep(CONNECTED)
        await phone.speak(schedule.seconds, schedule.frame_ms)
        until = begun + max(schedule.seconds, schedule.well_from) + WITHIN
        while loop.time() < until and not _is_over(phone, cloud):  # noqa: ASYNC110 - virtual time passes
            await asyncio.sleep(0.1)
    finally:
        phone.stop()
        running.cancel()
        await asyncio.wait((running,))
        cloud.microphone.close()
    if not running.cancelled() and (error := running.exception()) is not None:
        raise error
    _judge(schedule, outcome, phone, cloud, begun)


def _is_over(phone: Phone, cloud: Cloud) -> bool:
    capture = phone.capture
    return cloud.ends > 0 and capture.acknowledged == capture.position and not capture.lost


def _judge(schedule: Schedule, outcome: Outcome, phone: Phone, cloud: Cloud, begun: float) -> None:
    heard, said = cloud.heard, phone.capture.position
    outcome.violations += heard.wrong[:3]
    outcome.opened = phone.opened
    outcome.slow_at = [at - begun for at in cloud.slow_at]
    outcome.given_up = sum(stop - start for start, stop in heard.given_up)
    at = 0
    for start, stop in sorted([(start, stop) for start, stop, _ in heard.parts] + heard.filled):
        if start > at:
            outcome.violations.append(f"lost: {at} to {start} of {said}")
        elif start < at:
            outcome.violations.append(f"twice: {start} to {at}")
        at = max(at, stop)
    if at < said:
        outcome.violations.append(f"lost: {at} to {said}, the end")
    if not cloud.ends:
        outcome.violations.append("speech does not end")
    for epoch in cloud.microphone.accounts()[0].epochs:
        if epoch.live + epoch.late + epoch.lost + epoch.skipped != epoch.end - epoch.first:
            outcome.violations.append(f"the account does not add up: {epoch}")
    handed: dict[int, float] = {}
    for start, stop, when in heard.parts:
        handed |= {unit: when for unit in range(start // UNIT, stop // UNIT + 1) if (unit + 1) * UNIT <= stop}
    ages = sorted(
        handed.get(unit, 99.0 + begun) - begun - (unit + 1) * UNIT / SAMPLE_RATE - schedule.up.delay
        for unit in range(said // UNIT)
    )
    outcome.live = sum(age <= LIVE for age in ages) / max(1, len(ages))
    outcome.age_s = ages[int(len(ages) * 0.99)] if ages else 0.0


@dataclass(slots=True)
class Tally:
    """The outcome of many seeds."""

    schedules: int = 0
    violations: dict[int, list[str]] = field(default_factory=dict)
    """By seed."""
    given_up: list[int] = field(default_factory=list)
    """Seeds in which a hole was given up and filled later."""

    def add(self, outcome: Outcome) -> None:
        """Counts one more."""
        self.schedules += 1
        if outcome.violations:
            self.violations[outcome.schedule.seed] = outcome.violations
        if outcome.given_up:
            self.given_up.append(outcome.schedule.seed)

    def merge(self, other: "Tally") -> None:
        """Counts what another process did."""
        self.schedules += other.schedules
        self.violations |= other.violations
        self.given_up += other.given_up

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        violations = {str(seed): texts for seed, texts in sorted(self.violations.items())}
        return {"schedules": self.schedules, "violations": violations, "given_up": sorted(self.given_up)}


def run_seeds(first: int, count: int, processes: int = 1) -> Iterator[Tally]:
    """Plays `count` schedules from the seed `first` on; yields the tally now and then, the whole one in the end."""
    tally = Tally()
    for done in in_shares(_share, first, count, processes):
        tally.merge(done)
        yield tally


def _share(seeds: range) -> Tally:
    tally = Tally()
    with playground() as play:
        for seed in seeds:
            tally.add(play(make(seed)))
    gc.collect()
    return tally
