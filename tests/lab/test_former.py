"""The version before this one: how it is had, and that today's programs work beside it."""

import subprocess
import sys
from pathlib import Path

import pytest

from glassbridge.cloud.apps.registry import TomlRegistry, new_app
from glassbridge.lab import former
from glassbridge.lab.catalogue import find
from glassbridge.lab.needs import LabError
from glassbridge.lab.scenarios.skew import FORMER
from tests.support.livekit import server_binary


def test_without_history_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(former, "ROOT", tmp_path)
    with pytest.raises(LabError, match="only in the history of the repository: run this in a clone, with git"):
        former.provide()
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    with pytest.raises(LabError, match="shallow clone: `git fetch --unshallow` gets it"):
        former.provide()
    assert not former.folder().exists()


def test_its_clouds_get_a_registry_that_they_can_read(tmp_path: Path) -> None:
    """It refuses fields that it does not know; the key still fits."""
    path = tmp_path / "apps.toml"
    record, key = new_app("org.example.lab", "http://127.0.0.1:1", "Lab", ["MICROPHONE"])
    TomlRegistry(path).add(record)
    copy = former.legacy_registry(path)
    assert "secret" in path.read_text()
    assert "secret" not in copy.read_text()
    read = TomlRegistry(copy).find("org.example.lab")
    assert read is not None
    assert (read.key_hash, read.permissions, copy.stat().st_mode & 0o777) == (
        record.key_hash, record.permissions, 0o600,
    )  # fmt: skip
    assert key not in copy.read_text()


def test_each_of_our_programs_has_a_scenario() -> None:
    assert {programs for _, _, programs in FORMER} >= {("phones",), ("bridge-A",), ("cloud-A",), ("app",)}
    assert {found.id for found in find(["V"])} == {id for id, _, _ in FORMER}


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("name", [id for id, _, _ in FORMER])
def test_todays_programs_work_beside_it(name: str, tmp_path: Path) -> None:
    if reason := former.why_not():
        pytest.skip(f"VERSION SKEW IS NOT TESTED: {reason}")
    if server_binary() is None:
        pytest.skip("no livekit-server on this machine")
    run = [sys.executable, "-m", "glassbridge", "lab", "run", name, "--runs", "1", "--out", str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
