"""Faults at the press of a key: what is made of them, and the whole of it once."""

import asyncio
import os
import pty
import sys
import termios

import pytest

from glassbridge.lab.breakages import breakages
from glassbridge.lab.keys import keys
from glassbridge.lab.outage import STEADY, Outage
from tests.support.patience import deadline
from tests.support.process import Program


def sounding(outage: Outage, begin: float, end: float) -> None:
    """Sound each 100 ms."""
    for tenth in range(round(begin * 10), round(end * 10)):
        outage.heard(tenth / 10)


def test_an_outage_ends_with_steady_sound_after_its_cause() -> None:
    outage = Outage("a cut", began=10.0)
    assert outage.away(10.4) == 0
    assert outage.away(12.0) == 2.0
    outage.told("phone: cloud closed", True, 12.5)
    outage.told("phone: audio unavailable", True, 12.6)
    outage.gone(15.0)
    assert not outage.over(20.0)
    sounding(outage, 15.3, 17.2)
    assert not outage.over(15.3 + STEADY - 0.2)
    sounding(outage, 17.2, 17.5)
    assert outage.over(17.5)
    assert outage.verdict() == (
        "a cut: audio back 0.30 s after the cause was gone (silent for 5.3 s; told after 2.5 s)"
    )
    assert outage.story == ["  2.5 s  phone: cloud closed", "  2.6 s  phone: audio unavailable"]


def test_a_silence_after_the_first_sound_begins_the_wait_anew() -> None:
    outage = Outage("a cut", began=0.0)
    outage.gone(1.0)
    sounding(outage, 1.2, 1.5)
    sounding(outage, 4.0, 4.5)
    assert not outage.over(4.5)
    sounding(outage, 4.5, 6.2)
    assert outage.over(6.2)
    assert "the phone did not know" in outage.verdict()


def test_what_nobody_can_hear_is_said_to_be_so() -> None:
    outage = Outage("a kill", began=0.0)
    outage.gone(0.0)
    sounding(outage, 0.1, 2.5)
    assert outage.over(2.5)
    assert outage.verdict() == "a kill: audio went on (longest silence 0.10 s)"


def test_each_key_has_one_meaning_and_none_quits() -> None:
    known = breakages(own_phone=True)
    assert set(known) == set("kfl209es")
    assert set(known) - set(breakages(own_phone=False)) == {"s"}


async def test_keys_come_without_enter_and_leave_the_terminal_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    with os.fdopen(slave) as terminal, os.fdopen(master, "wb", buffering=0) as typing:
        monkeypatch.setattr(sys, "stdin", terminal)
        pressed = keys()
        first = asyncio.create_task(anext(pressed))
        await asyncio.sleep(0)  # what is typed ahead waits for Enter
        typing.write(b"k2")
        async with deadline(5):
            assert [await first, await anext(pressed)] == ["k", "2"]
        await pressed.aclose()
        assert termios.tcgetattr(terminal.fileno()) == before


@pytest.mark.real
async def test_a_killed_worker_is_survived_before_the_eyes_of_a_newcomer() -> None:
    async with Program.glassbridge("demo", "--break") as demo:
        demo.tell("k")
        await demo.says("FAULT: kill the bridge's worker", within=60)
        await demo.says("kill the bridge's worker: audio", within=30)
        demo.tell("q")
        status = await demo.ends(within=20)
    assert status == 0
    assert demo.out[-1] == "PASSED: audio came back after each of 1 fault(s)"
