"""The shell without a mailbox and its timer, on both event loops."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest
import uvloop

from glassbridge.core.machine import Record
from glassbridge.runtime.direct import DirectShell
from glassbridge.runtime.timer import Timer
from tests.support.poll import eventually

pytestmark = pytest.mark.usefixtures("libuv_is_awake")


class Late:
    """Its deadline is past already; three ticks, and it wants no more."""

    def __init__(self) -> None:
        self.records: list[Record[Any]] = []
        self.heard: list[str] = []

    def step(self, event: str, now: float) -> list[Any]:
        self.heard.append(event)
        return []

    def next_deadline(self) -> float | None:
        return monotonic() - 1.0 - self.heard.count("audio") if self.heard.count("tick") < 3 else None


def unheard(_record: Record[Any]) -> None:
    """Changes of state are of no interest here."""


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_deadline_that_is_past_ticks_soon_and_steps_in_between_do_no_harm(run: Callable[[Any], None]) -> None:
    async def play() -> None:
        machine = Late()
        shell = DirectShell(machine, lambda _effect: None, "tick", unheard)
        shell.step("audio")
        shell.step("audio")
        await eventually(lambda: machine.heard.count("tick") == 3 or f"heard {machine.heard}", 10)
        shell.stop()
        assert machine.heard == ["audio", "audio", "tick", "tick", "tick"]

    run(play())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_timer_rings_once_for_the_earliest_that_was_asked_for(run: Callable[[Any], None]) -> None:
    async def play() -> None:
        now, rung = asyncio.get_running_loop().time, list[float]()
        timer = Timer(lambda: rung.append(now()))
        soon = now() + 0.02
        timer.by(soon + 60.0)
        timer.by(soon)
        timer.by(soon + 30.0)
        assert [timer.due] == [soon]
        await eventually(lambda: rung != [], 10)
        assert rung[0] >= soon - 0.002
        assert [timer.due] == [None]
        timer.at(now() - 1.0)
        timer.at(now() + 60.0)  # a deadline that has come is taken back like any other
        timer.at(now() + 30.0)
        timer.stop()
        later = asyncio.Event()
        Timer(later.set).at(now() + 0.01)
        await later.wait()
        assert [len(rung), timer.due] == [1, None]

    run(play())
