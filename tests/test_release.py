"""A release is what it says: one version, a changelog for it, and workflows that run what this repository has."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from glassbridge import __version__
from tools.check_release import said_once

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" not in project
    assert project["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert list(said_once()) == []


def test_the_changelog_tells_everybody_what_an_upgrade_asks() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    section = re.search(rf"^## {re.escape(__version__)}.*?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    assert {"For operators:", "For app makers:", "For phone makers:"} <= set(section[1].splitlines())


def commands(workflow: Path) -> list[str]:
    found: Any = yaml.safe_load(workflow.read_text())
    return [step["run"] for job in found["jobs"].values() for step in job.get("steps", ()) if "run" in step]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_run_what_is_there(workflow: Path) -> None:
    """Each target of make, script and module that they name."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in commands(workflow):
        assert set(re.findall(r"\bmake ([a-z-]+)", line)) <= targets, line
        for script in re.findall(r"(?<![\w/])(?:tools|\.ci|tests)/[\w./]+", line):
            assert (ROOT / script).exists(), line
        for module in re.findall(r"-m (tools\.\w+)", line):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), line


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_do_no_more_than_they_need(workflow: Path) -> None:
    found: Any = yaml.safe_load(workflow.read_text())
    assert found["permissions"] == {"contents": "read"}
    for name, job in found["jobs"].items():
        assert "uses" in job or "timeout-minutes" in job, f"{name} may run for six hours"
        for step in job.get("steps", ()):
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False


@pytest.mark.slow
def test_actionlint_finds_nothing() -> None:
    if shutil.which("go") is None:
        pytest.skip("THE WORKFLOWS ARE NOT CHECKED: Go is missing")
    done = subprocess.run(["make", "workflows"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    if "dial tcp" in done.stderr:
        pytest.skip("THE WORKFLOWS ARE NOT CHECKED: Go's module proxy cannot be reached")
    assert done.returncode == 0, done.stdout + done.stderr
