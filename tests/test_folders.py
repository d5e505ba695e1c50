"""CONTRIBUTING.md says how tests/ is laid out: a folder for each package, and some for what belongs to no package."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ELSEWHERE = {"app": "apps", "testing": "apps"}
"""Packages whose tests have a folder of another name."""
OF_NO_PACKAGE = {"console", "contract", "deploy", "docs", "js", "scenarios", "sim", "support"}


def folders(path: Path) -> set[str]:
    return {found.parent.name for found in path.glob("*/__init__.py")}


def test_each_package_has_its_folder_of_tests() -> None:
    packages = folders(ROOT / "src" / "glassbridge")
    assert set(ELSEWHERE) <= packages
    assert {ELSEWHERE.get(package, package) for package in packages} | OF_NO_PACKAGE == folders(ROOT / "tests")


def test_contributing_names_each_other_folder() -> None:
    said = re.sub(r"\s+", " ", (ROOT / "CONTRIBUTING.md").read_text())
    for folder in OF_NO_PACKAGE - {"support"}:
        assert f"`tests/{folder}`" in said


def test_each_machine_has_its_tests() -> None:
    """A module of core/ that decides something: it has a table of cells."""
    machines = {
        path.stem for path in (ROOT / "src/glassbridge/core").glob("*.py") if "\nTABLE: Final" in path.read_text()
    }
    assert len(machines) > 8
    tested = {path.stem.removeprefix("test_") for path in (ROOT / "tests" / "core").glob("test_*.py")}
    assert machines - tested == set()
