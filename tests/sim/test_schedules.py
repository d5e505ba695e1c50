"""Schedules of random faults violate nothing. Seeds are printed; one command replays one."""

import json
import random

import pytest

from glassbridge.core.session import GRACE, SessionState
from glassbridge.lab.sim.runner import run, run_seeds
from glassbridge.lab.sim.schedule import Fault, Schedule, User, make
from glassbridge.lab.sim.verdict import Checker

SCHEDULES = 300


def test_random_schedules_violate_nothing() -> None:
    first = random.randrange(10**9)
    print(f"seeds {first} to {first + SCHEDULES - 1}")
    tally = run_seeds(first, SCHEDULES)
    told = [f"{texts[0]}: glassbridge lab sim --seed {seed} --story" for seed, texts in tally.violations.items()]
    assert not told, "\n".join(told)
    assert tally.schedules == SCHEDULES
    assert tally.faults > SCHEDULES


def test_the_same_seed_is_the_same_history() -> None:
    assert [list(map(str, run(make(seed)).history)) for seed in (1, 2)] == [
        list(map(str, run(make(seed)).history)) for seed in (1, 2)
    ]


def test_a_schedule_survives_json() -> None:
    schedule = make(7)
    assert Schedule.from_dict(json.loads(json.dumps(schedule.to_dict()))) == schedule


@pytest.mark.parametrize(("away", "kept"), [(59.9, True), (60.0, False), (60.1, False)])
def test_grace_ends_60_seconds_after_the_close(away: float, kept: bool) -> None:
    """Measured where the cloud sees it: from the close of one socket to the next one, on the cloud's own clock."""
    user = User("u0", room=False)
    for seed in range(5):
        asked = away
        for _ in range(4):  # the way to the cloud takes a while: what is asked for is corrected by what came of it
            faults = (Fault(5.0, "kill", "phone-u0", asked),)
            outcome = run(Schedule(seed, (user,), faults, heal_at=90.0))
            changes = [fact for fact in outcome.history if fact.what == "session"]
            closed = next(fact.more[4] for fact in changes if fact.more[2] is SessionState.GRACE)
            back = next(fact.at for fact in outcome.history if fact.what == "adopted" and fact.at > 6.0)
            name, at = next((fact.more[0], fact.more[4]) for fact in changes if fact.at == back)
            waited = at - closed
            asked += away - waited
        assert waited == pytest.approx(away, abs=1e-3)
        assert (name == changes[0].more[0]) is kept, f"after {waited:.6f} s"
        ends = [fact.more[4] - closed for fact in changes if fact.more[2] is SessionState.ENDED][:1]
        assert kept or ends == [pytest.approx(GRACE, abs=1e-4)]
        assert not outcome.violates(Checker.GRACE)
