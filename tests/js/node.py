"""Node and npm for the tests of js/phone. Nothing else needs them: without one of them these tests are skipped, and say
so."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "js" / "phone"


def tool(name: str) -> str:
    """The program; skips the test where this machine has none."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install nodejs npm): the JavaScript phone is NOT TESTED")
    return found


def run(*argv: str | Path, cwd: Path, stdin: str | None = None, within: float = 120.0) -> str:
    """What the program prints; fails with all that it said where it fails."""
    done = subprocess.run(
        [tool(str(argv[0])), *map(str, argv[1:])],
        cwd=cwd,
        input=stdin,
        env=os.environ | {"NO_COLOR": "1", "NODE_ENV": ""},
        capture_output=True,
        text=True,
        timeout=within,
    )
    assert done.returncode == 0, f"{' '.join(map(str, argv))}\n{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def install(folder: Path) -> None:
    """What the folder's lock file names, no more and nothing newer."""
    run("npm", "ci", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error", cwd=folder)


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of js/phone with its tools installed."""
    folder = tmp_path_factory.mktemp("package") / "phone"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("node_modules", "types", "*.tgz"))
    install(folder)
    return folder
