"""Schedules of random faults violate nothing. Seeds are printed; one command replays one."""

import json
import os
import random
import subprocess
import sys

import pytest

from glassbridge.core.session import GRACE, SessionState
from glassbridge.lab.sim.runner import run, run_seeds
from glassbridge.lab.sim.schedule import Fault, Schedule, User
from glassbridge.lab.sim.verdict import Checker

SCHEDULES = 20
PARTS = 4
"""For as many processes."""
CLOSE = 1e-4
"""Seconds."""


@pytest.mark.parametrize("_part", range(PARTS))
def test_random_schedules_violate_nothing(_part: int) -> None:
    first = random.randrange(10**9)
    print(f"seeds {first} to {first + SCHEDULES - 1}")
    tally = run_seeds(first, SCHEDULES)
    told = [f"{texts[0]}: glassbridge lab sim --seed {seed} --story" for seed, texts in tally.violations.items()]
    assert not told, "\n".join(told)
    assert tally.schedules == SCHEDULES
    survived = sorted(tally.back["survived"])
    assert survived[int(len(survived) * 0.9)] < 2.0, "audio is seldom back within its number"
    assert tally.faults > SCHEDULES


ELSEWHEN = """
import random, sys, time
wall, monotonic = time.time, time.monotonic
time.time, time.monotonic = lambda: wall() + 4e7, lambda: monotonic() + 1e6
random.seed(7)
from glassbridge.cli.main import main
main()
"""
"""The command in a process whose clocks are more than a year ahead, and whose chance is another one."""


def test_the_same_seed_is_the_same_history_in_another_process_at_another_time() -> None:
    """To the last fact, whatever order sets of text have there."""
    first, count = random.randrange(10**9), 4
    print(f"seeds {first} to {first + count - 1}")
    command = ["-c", ELSEWHEN, "lab", "sim", "--first", str(first), "--seeds", str(count), "--json"]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    told = subprocess.run([sys.executable, *command], env=environment, capture_output=True, check=True)
    assert json.loads(told.stdout)["digest"] == run_seeds(first, count).to_dict()["digest"]


@pytest.mark.parametrize("away", [59.9, 59.9999, 60.0, 60.0001, 60.1])
def test_grace_ends_60_seconds_after_the_close(away: float) -> None:
    """Measured where the cloud sees it: from the close of one socket to the next one, on the cloud's own clock."""
    user = User("u0", room=False)
    for seed in range(3):
        asked = away
        for _ in range(6):  # the way to the cloud takes a while: what is asked for is corrected by what came of it
            outcome = run(Schedule(seed, (user,), (Fault(5.0, "kill", "phone-u0", asked),), heal_at=90.0))
            changes = [fact.more for fact in outcome.history if fact.what == "session"]
            former, closed = next((more[0], more[4]) for more in changes if more[2] is SessionState.GRACE)
            back = [more for more in changes if more[3] == "SocketOpened" and more[2] is SessionState.ACTIVE][1]
            waited = back[4] - closed
            asked += away - waited
            if abs(away - waited) < CLOSE:
                break
        assert waited == pytest.approx(away, abs=20 * CLOSE)
        assert (back[0] == former) is (waited < GRACE), f"after {waited:.6f} s"
        ended = [more[4] - closed for more in changes if more[0] == former and more[2] is SessionState.ENDED]
        assert waited < GRACE or ended == [pytest.approx(GRACE, abs=1e-4)]
        assert not outcome.violates(Checker.GRACE)
