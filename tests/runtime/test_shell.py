"""The shell: one step at a time, one timer, records told before effects, a mailbox that never grows without bound."""

import asyncio
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pytest

from glassbridge.core.machine import Record
from glassbridge.runtime.shell import MAILBOX, MailboxFull, Shell
from glassbridge.runtime.tasks import TaskGroup
from tests.support.poll import eventually
from tests.support.virtual_time import virtual_time


class S(Enum):
    ONLY = 1

    @property
    def label(self) -> str:
        return "only"


def unheard(_record: Record[Any]) -> None:
    """Changes of state are of no interest here."""


@dataclass
class Counter:
    """Gives each event back as an effect; "arm" sets a deadline 50 ms ahead, "tick" takes it away."""

    seen: list[str] = field(default_factory=list)
    records: list[Record[Any]] = field(default_factory=list)
    deadline: float | None = None

    def step(self, event: str, now: float) -> list[str]:
        self.seen.append(event)
        self.records.append(Record("counter", S.ONLY, event, S.ONLY, now, 0))
        self.deadline = now + 0.05 if event == "arm" else None if event == "tick" else self.deadline
        return [event]

    def next_deadline(self) -> float | None:
        return self.deadline


async def test_events_become_effects_in_order_and_records_come_first() -> None:
    told: list[str] = []
    shell: Shell[str] = Shell(
        machine := Counter(),
        lambda effect: told.append(f"did {effect}"),
        "tick",
        lambda r: told.append(f"saw {r.event}"),
    )
    for event in ("a", "b"):
        shell.post(event)
    shell.stop()
    shell.post("late")
    await shell.run()
    assert told == ["saw a", "did a", "saw b", "did b"]
    assert machine.records == []


async def test_a_slow_effect_holds_up_the_next_step() -> None:
    gate, machine = asyncio.Event(), Counter()

    async def perform(_effect: str) -> None:
        await gate.wait()

    shell: Shell[str] = Shell(machine, perform, "tick", unheard)
    running = asyncio.create_task(shell.run())
    shell.post("a")
    shell.post("b")
    await eventually(lambda: machine.seen == ["a"] or f"{machine.seen}")
    gate.set()
    await eventually(lambda: machine.seen == ["a", "b"] or f"{machine.seen}")
    shell.stop()
    await running


async def test_the_deadline_brings_one_tick() -> None:
    shell: Shell[str] = Shell(machine := Counter(), lambda _effect: None, "tick", unheard)
    running = asyncio.create_task(shell.run())
    shell.post("arm")
    await eventually(lambda: machine.seen == ["arm", "tick"] or f"{machine.seen}")
    shell.stop()
    await running
    assert machine.seen == ["arm", "tick"]


async def test_an_effect_that_fails_ends_the_shell_and_is_heard() -> None:
    def perform(_effect: str) -> None:
        raise LookupError("a defect")

    shell: Shell[str] = Shell(Counter(), perform, "tick", unheard)
    shell.post("a")
    with pytest.raises(LookupError):
        await shell.run()


async def test_a_machine_that_does_not_keep_up_ends_instead_of_growing() -> None:
    shell: Shell[str] = Shell(machine := Counter(), lambda _effect: None, "tick", unheard)
    for _ in range(MAILBOX + 1000):
        shell.post("a")
    with pytest.raises(MailboxFull):
        await shell.run()
    assert machine.seen == []


# ---- in tasks of a group, which end when nothing is left to do


async def test_at_rest_there_is_no_task_and_each_event_and_deadline_brings_one() -> None:
    tasks, machine = TaskGroup("test"), Counter()
    shell: Shell[str] = Shell(machine, lambda _effect: None, "tick", unheard)
    shell.post("before")
    shell.start(tasks, "shell")
    await eventually(lambda: (machine.seen == ["before"] and not len(tasks)) or f"{machine.seen}, {len(tasks)} tasks")
    shell.post("arm")
    await eventually(lambda: machine.seen[1:] == ["arm", "tick"] or f"{machine.seen}")
    await eventually(lambda: not len(tasks) or f"{len(tasks)} tasks")
    shell.post("last")
    shell.stop()
    shell.post("late")
    await shell.stopped(5.0)
    assert machine.seen == ["before", "arm", "tick", "last"]
    assert machine.records == []
    await tasks.close()


async def test_what_fails_in_such_a_task_ends_the_shell_and_its_owner_hears_it() -> None:
    heard: list[BaseException] = []

    def perform(_effect: str) -> None:
        raise LookupError("a defect")

    tasks = TaskGroup("test", lambda _task, error: heard.append(error))
    shell: Shell[str] = Shell(machine := Counter(), perform, "tick", unheard)
    shell.start(tasks, "shell")
    shell.post("a")
    await eventually(lambda: [type(error) for error in heard] == [LookupError] or f"{heard}")
    shell.post("b")
    await shell.stopped(5.0)
    assert machine.seen == ["a"]
    await tasks.close()


async def test_a_slow_effect_holds_up_the_events_that_come_meanwhile() -> None:
    gate, machine = asyncio.Event(), Counter()

    async def perform(_effect: str) -> None:
        await gate.wait()

    tasks = TaskGroup("test")
    shell: Shell[str] = Shell(machine, perform, "tick", unheard)
    shell.start(tasks, "shell")
    shell.post("a")
    await eventually(lambda: machine.seen == ["a"] or f"{machine.seen}")
    shell.post("b")
    await asyncio.sleep(0)
    assert (machine.seen, len(tasks)) == (["a"], 1)
    gate.set()
    await eventually(lambda: machine.seen == ["a", "b"] or f"{machine.seen}")
    await tasks.close()


async def test_a_mailbox_that_is_full_is_told_to_the_owner() -> None:
    heard: list[BaseException] = []
    tasks = TaskGroup("test", lambda _task, error: heard.append(error))
    shell: Shell[str] = Shell(machine := Counter(), lambda _effect: None, "tick", unheard)
    shell.start(tasks, "shell")
    for _ in range(MAILBOX + 1):
        shell.post("a")
    await eventually(lambda: [type(error) for error in heard] == [MailboxFull] or f"{heard}")
    assert machine.seen == []
    await tasks.close()


def test_a_timer_that_rings_a_moment_early_brings_the_tick_after_all() -> None:
    """In virtual time only timers make the clock go on: a shell that asked for less than its resolution had it ring for
    ever, always too early."""
    early: list[float] = []

    class Punctual(Counter):
        def step(self, event: str, now: float) -> list[str]:
            assert self.deadline is not None
            if now < self.deadline and len(early) < 100:
                early.append(now)
            else:
                self.deadline = None
                shell.stop()
            return []

    with virtual_time() as loop:
        machine = Punctual(deadline=loop.time() + 1e-10)
        shell: Shell[str] = Shell(machine, lambda _: None, "tick", unheard, clock=loop.time)

        async def run() -> None:
            tasks = TaskGroup("test")
            shell.start(tasks, "shell")
            shell.post("begin")
            await asyncio.sleep(1.0)
            await tasks.close()

        loop.run_until_complete(run())
    assert machine.deadline is None
    assert len(early) < 3
