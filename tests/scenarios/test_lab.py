"""A short, telling part of the lab: a blip, a killed worker, a switch and back. All of it: `make lab`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scenarios.systems import ENVIRONMENT
from tests.support.livekit import server_binary

NAMES = ["F2a", "F18a", *(["F7a"] if server_binary() is not None else [])]
"""F7a needs breakable ways, and those a real server."""


@pytest.mark.timeout(240)
def test_audio_comes_back(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "glassbridge", "lab", "run", *NAMES, "--runs", "1", "--participant", "own", "--json"]
    env = os.environ | ENVIRONMENT | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([*argv, "--out", str(tmp_path / "out")], env=env, capture_output=True, text=True, timeout=200)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(outcome["id"] for outcome in found) == sorted(NAMES), done.stderr
    failed = [(outcome["id"], outcome["error"], outcome["limits"]) for outcome in found if not outcome["passed"]]
    assert failed == [], done.stderr
    assert done.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.json", "report.md"]
