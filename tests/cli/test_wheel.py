"""The wheel: built, complete, installed into a clean environment, and the demo runs from there."""

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from glassbridge.cloud.console.assets import Assets

ROOT = Path(__file__).parents[2]


def run(*argv: str | Path, cwd: Path = ROOT, **env: str) -> str:
    done = subprocess.run(argv, cwd=cwd, env=os.environ | env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def uv() -> str:
    return run("sh", "tools/bootstrap.sh").strip()


@pytest.fixture(scope="module")
def wheel(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(uv, "build", "--wheel", "--quiet", "--out-dir", folder)
    [built] = folder.glob("*.whl")
    return built


def test_it_holds_all_that_is_served_and_nothing_beside_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        pages = {f"glassbridge/cloud/console/assets/{name}": path for name, path in Assets().paths.items()}
        assert set(pages) <= names
        assert all(archive.read(name) == path.read_bytes() for name, path in pages.items())
    assert {"glassbridge/py.typed", "glassbridge/lab/clips/clip.wav", "glassbridge/lab/clips/clip.txt"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if not name.startswith("glassbridge")]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_runs_from_the_wheel(uv: str, wheel: Path, tmp_path: Path) -> None:
    locked = tmp_path / "requirements.txt"
    run(uv, "export", "--frozen", "--no-dev", "--no-emit-project", "--quiet", "--output-file", locked)
    home = tmp_path / "venv"
    run(uv, "venv", "--quiet", home)
    run(uv, "pip", "install", "--quiet", "--requirements", locked, VIRTUAL_ENV=str(home))
    run(uv, "pip", "install", "--quiet", "--no-deps", wheel, VIRTUAL_ENV=str(home))
    glassbridge = home / "bin" / "glassbridge"
    assert "demo" in run(glassbridge, "--help", cwd=tmp_path)
    assert run(glassbridge, "demo", cwd=tmp_path).splitlines()[-1].startswith("PASSED")
