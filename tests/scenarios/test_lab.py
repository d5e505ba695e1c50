"""A short, telling part of the lab: a switch and back; in test-all a killed worker and a blip. All of it: `make lab`.

A killed worker: test_recorder.py and tests/lab/test_break_it.py. A blip: tests/cloud/test_recovery.py and tests/sim.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from glassbridge.lab.scenarios.story import DECISIONS, PARTS
from tests.scenarios.systems import ENVIRONMENT
from tests.support import forked
from tests.support.patience import patient

TOLD_BY = {"F2a": {"cloud", "bridge", "phones"}, "F18a": {"cloud", "bridge"}}
"""Programs that decide something in a scenario."""
TIMES = 3
"""A machine without a processor to spare may lose what a scenario counts; what is broken loses it each time."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name",
    [
        "F2a",
        pytest.param("F18a", marks=pytest.mark.slow),
        pytest.param("F7a", marks=[pytest.mark.slow, pytest.mark.real]),  # breakable ways need a real server
    ],
)
def test_audio_comes_back(name: str, tmp_path: Path) -> None:
    out, wrong = tmp_path / "out", "not run"
    for _ in range(TIMES):
        wrong = faults(run_lab(name, tmp_path, out))
        assert {path.name for path in out.iterdir()} == {"report.json", "report.md", f"{name}-own"}
        if not wrong:
            break
    assert not wrong
    assert check_decisions(out / f"{name}-own" / "logs") >= TOLD_BY.get(name, set())


def run_lab(name: str, folder: Path, out: Path) -> dict[str, Any]:
    """Its outcome."""
    words = ["lab", "run", name, "--runs", "1", "--participant", "own", "--json", "--keep-logs", "--out", str(out)]
    env = os.environ | ENVIRONMENT | {"TMPDIR": str(folder)}
    done = forked.glassbridge(*words, env=env, within=patient(200))
    found: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [outcome["id"] for outcome in found] == [name], done.stderr
    [outcome] = found
    assert done.returncode == (0 if outcome["passed"] else 1), done.stderr
    assert [path.name for path in folder.iterdir()] == ["out"]
    return outcome


def faults(outcome: dict[str, Any]) -> str:
    """What is wrong; what lasts longer than it may is not, as long as the machine is as slow as that."""

    def late(limit: str, value: float | None) -> bool:
        figure, sign, bound = limit.rsplit(" ", 2)
        return figure.endswith("_s") and sign == "<=" and value is not None and value <= patient(float(bound))

    limits = [one for one in outcome["limits"] if not one["holds"] and not late(one["limit"], one["value"])]
    wrong = [outcome["error"], limits, outcome["leaks"], outcome["log_tells"]["wrong"]]
    return ", ".join(str(one) for one in wrong if one)


def check_decisions(logs: Path) -> set[str]:
    """Who decided something. Each decision is one line with all that its story needs."""
    lines = [json.loads(line) for path in logs.glob("*.log") for line in path.read_text().splitlines()]
    decisions = [line for line in lines if line["event"] in DECISIONS]
    for line in decisions:
        assert line.keys() >= PARTS, line
        assert line["session_id"] or line["service"] == "phones", line  # a phone that nobody has let in yet has none
    return {line["service"] for line in decisions}
