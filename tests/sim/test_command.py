"""`glassbridge lab sim`: figures, a story, and an exit status that tells."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from glassbridge.cli.main import program
from glassbridge.core.audio_link import AudioLink
from glassbridge.lab.sim.schedule import make

Sim = Callable[..., tuple[int, str]]


@pytest.fixture
def sim() -> Sim:
    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(program, ["lab", "sim", *arguments])
        return result.exit_code, result.stdout

    return run


@pytest.fixture
def a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing audio is never a fault, and nobody tells."""

    def nothing(_self: AudioLink) -> list[Any]:
        return []

    monkeypatch.setattr(AudioLink, "_tell", nothing)


def test_figures(sim: Sim) -> None:
    status, output = sim("--seeds", "5", "--first", "3", "--json")
    figures = json.loads(output)
    assert (status, figures["first"], figures["schedules"], figures["violations"]) == (0, 3, 5, {})
    assert figures["faults"] == sum(len(make(seed).faults) for seed in range(3, 8))
    assert figures["audio_back_s"]["survived"]["n"] > 0


def test_a_story_in_order_of_time(sim: Sim) -> None:
    status, output = sim("--seed", "3", "--story")
    times = [float(line.split()[0]) for line in output.splitlines() if line[:9].strip().replace(".", "", 1).isdigit()]
    assert status == 0
    assert len(times) > 50
    assert times == sorted(times)


@pytest.mark.usefixtures("a_defect")
def test_a_violation_names_the_command_that_replays_it(sim: Sim) -> None:
    status, output = sim("--seeds", "2", "--first", "3")
    assert status == 1
    assert "glassbridge lab sim --seed 3 --story" in output


@pytest.mark.usefixtures("a_defect")
def test_a_schedule_is_made_smaller(sim: Sim) -> None:
    status, output = sim("--seed", "3", "--shrink")
    least = json.loads(output.splitlines()[0])
    assert status == 1
    assert len(least["faults"]) < len(make(3).faults)
    assert len(least["users"]) == 1
