"""A short, telling part of the lab: a blip, a killed worker, a switch and back. All of it: `make lab`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from glassbridge.lab.scenarios.story import DECISIONS, PARTS
from tests.scenarios.systems import ENVIRONMENT
from tests.support.livekit import server_binary

NAMES = ["F2a", "F18a", *(["F7a"] if server_binary() is not None else [])]
"""F7a needs breakable ways, and those a real server."""


@pytest.mark.timeout(240)
def test_audio_comes_back(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "glassbridge", "lab", "run", *NAMES, "--runs", "1", "--participant", "own", "--json"]
    env = os.environ | ENVIRONMENT | {"TMPDIR": str(tmp_path)}
    out = tmp_path / "out"
    argv += ["--keep-logs", "--out", str(out)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=200)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(outcome["id"] for outcome in found) == sorted(NAMES), done.stderr
    failed = [(outcome["id"], outcome["error"], outcome["limits"]) for outcome in found if not outcome["passed"]]
    assert failed == [], done.stderr
    assert done.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert {path.name for path in out.iterdir()} == {"report.json", "report.md", *(f"{name}-own" for name in NAMES)}
    for name, told_by in (("F2a", {"cloud", "bridge", "phones"}), ("F18a", {"cloud", "bridge"})):
        assert check_decisions(out / f"{name}-own" / "logs") >= told_by, name


def check_decisions(logs: Path) -> set[str]:
    """Who decided something. Each decision is one line with all that its story needs."""
    lines = [json.loads(line) for path in logs.glob("*.log") for line in path.read_text().splitlines()]
    decisions = [line for line in lines if line["event"] in DECISIONS]
    for line in decisions:
        assert line.keys() >= PARTS, line
        assert line["session_id"] or line["service"] == "phones", line  # a phone that nobody has let in yet has none
    return {line["service"] for line in decisions}
