"""Hours and weeks of apps in virtual time: the cloud's and the SDK's own classes, and what the simulation promises."""

import gc
import inspect
import os
import subprocess
import sys
import time
from random import Random

import pytest

from glassbridge.lab.virtual.ambient import ambient
from glassbridge.lab.weeks import chaos
from glassbridge.lab.weeks.chaos import HOUR, Chaos, Plan
from glassbridge.lab.weeks.week import play
from glassbridge.runtime.direct import DirectShell
from glassbridge.runtime.shell import Shell

DAY = 24.0


def hours(seed: int, many: float, *, users: int = 20, speaks: float = 1.0) -> Plan:
    """Some hours of the day; users speak as much of them as of a day with `speaks` hours."""
    return Plan(seed=seed, days=many / DAY, users=users, speaks=speaks)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_hours_of_moves_restarts_and_blips_leave_no_app_deaf_and_stop_none(seed: int) -> None:
    outcome = play(hours(seed, 3.0, speaks=0.5))
    assert outcome.violations == []
    assert outcome.counts["moves"] > 10
    assert outcome.counts["terminated"] + outcome.counts["killed"] > 2
    assert outcome.counts["heard"] > 0.9 * 3 * outcome.counts["said"] > 2_000
    assert outcome.worst < 10.0
    assert outcome.virtual_s == 3 * HOUR + 300.0


REGRESSIONS = {
    "an app stopped and started within a second is not deaf until it is asked again": (0, 0.05, 20),
    "behind a balancer an app does not settle with a third cloud, which the user has left before": (1, 0.05, 20),
}


@pytest.mark.parametrize(("seed", "many", "users"), REGRESSIONS.values(), ids=list(REGRESSIONS))
def test_what_was_found_once(seed: int, many: float, users: int) -> None:
    assert play(hours(seed, many, users=users, speaks=100.0)).violations == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_an_app_that_dies_unseen_and_comes_back_as_another_process(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connections lose their way, and it dies before it notices: only its machine's silence shows it, to the cloud
    that has its socket, or that relays it."""

    def hurt(self: Chaos, chance: Random) -> None:
        server = chance.choice(list(self._apps.values()))
        if server.reachable:
            self._sever(server)
            self._network.time.at(self._network.time.now + 1.0, self._restart, server, "killed", 0.5)

    monkeypatch.setattr(Chaos, "_hurt_app", hurt)
    monkeypatch.setattr(chaos, "APP_EVERY", 60.0)
    monkeypatch.setattr(chaos, "MOVE_EVERY", 1e6)
    outcome = play(hours(seed, 0.2, users=6, speaks=100.0))
    assert outcome.counts["severed"] > 3
    assert outcome.violations == []


DIGEST = """
import time
wall, monotonic = time.time, time.monotonic
time.time, time.monotonic = lambda: wall() + 1e7, lambda: monotonic() + 1e7
from glassbridge.lab.weeks.chaos import Plan
from glassbridge.lab.weeks.week import play
print(play(Plan(seed=5, days=0.05 / 24, users=4, speaks=100.0)).digest)
"""


def test_the_same_seed_gives_the_same_history_to_the_last_fact() -> None:
    """In another process whatever order sets of text have there, and whatever its clocks say."""
    elsewhere = subprocess.run(
        [sys.executable, "-c", DIGEST],
        env=os.environ | {"PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert elsewhere.stdout.strip() == play(hours(5, 0.05, users=4, speaks=100.0)).digest


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_week(seed: int) -> None:
    outcome = play(Plan(seed=seed))
    assert outcome.violations == []


def test_clocks_of_frozen_modules_are_exchanged_too() -> None:
    gc.freeze()
    try:
        with ambient(lambda: 1.0, lambda: 2.0):
            assert inspect.signature(DirectShell).parameters["clock"].default() == 1.0
            assert inspect.signature(Shell).parameters["clock"].default() == 1.0
    finally:
        gc.unfreeze()
    assert inspect.signature(DirectShell).parameters["clock"].default is time.monotonic
