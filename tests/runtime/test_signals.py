"""SIGHUP reads anew what can be read, and ends no service."""

import os
import signal

import pytest
import structlog

from glassbridge.runtime.signals import reload_on_hangup, stop_on_signals
from tests.support.poll import eventually


def unreadable() -> str:
    raise OSError("no such file")


async def test_a_hangup_reloads_what_can_be_and_keeps_what_cannot() -> None:
    read: list[str] = []

    def level() -> str:
        read.append("level")
        return "debug"

    with structlog.testing.capture_logs() as said, reload_on_hangup({"secrets": unreadable, "level": level}):
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: len(said) == 2 or str(said))
    assert read == ["level"]
    assert {(line["event"], line["setting"]) for line in said} == {
        ("setting not reloaded", "secrets"),
        ("setting reloaded", "level"),
    }
    os.kill(os.getpid(), signal.SIGHUP)  # a service that stops is not ended by it either
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


async def test_a_hangup_with_nothing_to_reload_is_told() -> None:
    with structlog.testing.capture_logs() as said, reload_on_hangup({}):
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: [line["event"] for line in said] == ["SIGHUP ignored"] or str(said))
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize("ignored", [False, True], ids=["terminal", "nohup"])
async def test_a_hangup_stops_a_program_of_a_terminal(ignored: bool) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with stop_on_signals(hangup=True) as stop:
            if ignored:
                os.kill(os.getpid(), signal.SIGHUP)
                assert not stop.is_set()
            else:
                os.kill(os.getpid(), signal.SIGHUP)
                await eventually(stop.is_set)
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
