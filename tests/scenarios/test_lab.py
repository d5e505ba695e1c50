"""A short, telling part of the lab: a blip, a killed worker, a switch and back. All of it: `make lab`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from glassbridge.lab.scenarios.story import DECISIONS, PARTS
from tests.scenarios.systems import ENVIRONMENT
from tests.support.livekit import server_binary
from tests.support.patience import patient

NAMES = ["F2a", "F18a", *(["F7a"] if server_binary() is not None else [])]
"""F7a needs breakable ways, and those a real server."""
TIMES = 3
"""A machine without a processor to spare may lose what a scenario counts; what is broken loses it each time."""


@pytest.mark.timeout(900)
def test_audio_comes_back(tmp_path: Path) -> None:
    out, failed = tmp_path / "out", dict.fromkeys(NAMES, "not run")
    for _ in range(TIMES):
        found = run_lab(list(failed), tmp_path, out)
        assert {path.name for path in out.iterdir()} == {"report.json", "report.md", *(f"{name}-own" for name in NAMES)}
        failed = {outcome["id"]: wrong for outcome in found if (wrong := faults(outcome))}
        if not failed:
            break
    assert not failed
    for name, told_by in (("F2a", {"cloud", "bridge", "phones"}), ("F18a", {"cloud", "bridge"})):
        assert check_decisions(out / f"{name}-own" / "logs") >= told_by, name


def run_lab(names: list[str], folder: Path, out: Path) -> list[dict[str, Any]]:
    """One outcome for each."""
    argv = [sys.executable, "-m", "glassbridge", "lab", "run", *names, "--runs", "1", "--participant", "own", "--json"]
    env = os.environ | ENVIRONMENT | {"TMPDIR": str(folder)}
    argv += ["--keep-logs", "--out", str(out)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=patient(200))
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(outcome["id"] for outcome in found) == sorted(names), done.stderr
    assert done.returncode == (0 if all(outcome["passed"] for outcome in found) else 1), done.stderr
    assert [path.name for path in folder.iterdir()] == ["out"]
    return found


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
