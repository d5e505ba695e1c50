"""The lab itself: what it says when a number does not hold, and when it cannot even start."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from glassbridge.lab import runner
from glassbridge.lab.leaks import Holdings
from glassbridge.lab.needs import Needs
from glassbridge.lab.runner import Runner
from glassbridge.lab.scenario import Scenario, most
from glassbridge.lab.stack import StackConfig
from glassbridge.lab.system import Sample, System
from tests.scenarios.systems import ENVIRONMENT, config
from tests.support import forked
from tests.support.patience import patient


async def nothing(system: System) -> None:
    for user in await system.speaking():
        system.note(user, "nothing", seconds=2.0)


def scenario(*must: str) -> Scenario:
    limits = tuple(most(figure, 1.0) for figure in must)
    return Scenario("X1", "nothing happens", "none", Needs(), limits, 1, 1, True, False, nothing)


def embedded() -> StackConfig:
    return config(livekit="embedded")


async def test_a_number_that_does_not_hold_fails_and_keeps_the_logs(tmp_path: Path) -> None:
    """Beside it: the clouds' tasks, which are told to operators only, are counted among what leaks."""
    said: list[str] = []
    found: list[Holdings] = []

    async def run(system: System) -> None:
        found.append(await system.holdings())
        await nothing(system)

    outcome = await Runner(embedded(), tmp_path, said.append, seed=1).run(replace(scenario("seconds"), run=run), "own")
    assert found[0].programs["cloud"]["tasks"] > 0
    assert not outcome.passed
    assert (outcome.error, outcome.livekit, len(outcome.samples)) == ("", "embedded", 1)
    assert outcome.logs == tmp_path / "X1-own" / "logs"
    assert {"bridge.log", "cloud.log"} <= {path.name for path in outcome.logs.iterdir()}
    assert "X1 own: run 1 of 1" in said


class Unstarted:
    """In the place of a system, for what a runner makes of a scenario's own failure: no program runs."""

    def __init__(self, *_: object) -> None:
        self.stack = SimpleNamespace(livekit_kind="embedded")
        self.logbook = SimpleNamespace(defects=[])
        self.samples: list[Sample] = []
        self.witnesses = self.baseline = None

    async def __aenter__(self) -> "Unstarted":
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def say(self, text: str) -> None: ...

    async def floor(self) -> list[float]:
        return [0.1]


async def test_a_scenario_that_fails_by_itself_is_one_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(system: System) -> None:
        raise LookupError("no such worker")

    monkeypatch.setattr(runner, "System", Unstarted)
    broken = replace(scenario(), run=run)
    outcome = await Runner(embedded(), tmp_path, lambda _: None, seed=1).run(broken, "own")
    assert outcome.error == "the lab failed: LookupError: no such worker"
    assert not outcome.passed


async def test_a_system_that_does_not_start_is_one_failure(tmp_path: Path) -> None:
    elsewhere = config(livekit="ws://127.0.0.1:9")
    outcome = await Runner(elsewhere, tmp_path, lambda _: None, seed=1).run(scenario(), "own")
    assert not outcome.passed
    assert "no LiveKit server answers" in outcome.error


def test_list_names_each_scenario_and_its_limits(tmp_path: Path) -> None:
    env = os.environ | ENVIRONMENT
    done = forked.glassbridge("lab", "list", env=env, within=patient(60))
    assert done.returncode == 0
    assert "F7a" in done.stdout
    assert "p95 tta_s <= 1;" in done.stdout
    wrong = forked.glassbridge("lab", "run", "F99", "--out", str(tmp_path), env=env, within=patient(60))
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "lab list" in wrong.stderr
    assert list(tmp_path.iterdir()) == []
