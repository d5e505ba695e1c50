"""The files of deploy/ name what exists: settings, options, mounted files, secrets. systemd and haproxy read their own.

`make deploy-check` renders the chart; `test_pair.py` runs the pair of docs/operations.md.
"""

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from glassbridge.cli.main import program
from glassbridge.settings import all_names

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = DEPLOY / "compose"
NAME = re.compile(r"\b(?:GLASSBRIDGE|LIVEKIT|AUGMENTOS|BETTERSTACK)_[A-Z0-9_]+\b")
FILES = sorted(
    path for path in DEPLOY.rglob("*") if path.suffix in {".yaml", ".tpl", ".service", ".yml", ""} and path.is_file()
)
OF_COMPOSE = {"GLASSBRIDGE_IMAGE"}
"""Variables of the compose file itself."""


def options() -> Iterator[str]:
    """Variables that options of the two programs read."""
    for name in ("cloud", "bridge"):
        for option in command(name).params:
            yield from [option.envvar] if isinstance(option.envvar, str) else option.envvar or ()


def command(name: str) -> Any:
    """A command of `glassbridge`. Typer brings a click of its own, which has no types."""
    return typer.main.get_command(program).commands[name]  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_settings_exist(path: Path) -> None:
    known = all_names() | set(options()) | OF_COMPOSE
    named = set(NAME.findall(path.read_text()))
    assert {name for name in named if name.removesuffix("_FILE") not in known and name not in known} == set()


def commands() -> Iterator[tuple[str, list[str]]]:
    """Each command line of a program: where it is, its words."""
    for unit in sorted((DEPLOY / "systemd").glob("*.service")):
        (line,) = re.findall(r"^ExecStart=/opt/glassbridge/bin/glassbridge (.+)$", unit.read_text(), re.MULTILINE)
        yield unit.name, line.split()
    for template in sorted((DEPLOY / "helm").rglob("*.yaml")):
        for line in re.findall(r"^ +args: \[(.+)\]$", template.read_text(), re.MULTILINE):
            yield template.name, [re.sub(r"\{\{.*\}\}", "2", word.strip()) for word in line.split(",")]
    for name, service in yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"].items():
        if service.get("command", [""])[0] in {"cloud", "bridge"}:
            yield name, service["command"]
    (line,) = re.findall(r"^CMD \[(.+)\]$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE)
    yield "Containerfile", [word.strip(' "') for word in line.split(",")]


@pytest.mark.parametrize(
    ("where", "words"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_options_exist(where: str, words: list[str]) -> None:
    command(words[0]).make_context(where, words[1:])  # raises a usage error


def test_the_image_is_built_from_all_that_the_wheel_holds() -> None:
    """What `pyproject.toml` adds from beside the package must be copied, and let through by .containerignore."""
    root = DEPLOY.parent
    wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", "uv.lock", "README.md", "LICENSE", "src", *wheel["force-include"]}
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE)
        for source in line.split()[:-1]
    }
    let_through = set(re.findall(r"^!(.+)$", (root / ".containerignore").read_text(), re.MULTILINE))
    assert needed <= copied
    assert needed <= let_through


def make_secrets(folder: Path) -> dict[str, bytes]:
    """By name."""
    subprocess.run(["sh", str(DEPLOY / "make_secrets.sh"), str(folder)], check=True, timeout=60)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_compose_mounts_is_there(tmp_path: Path) -> None:
    """Secrets by deploy/make_secrets.sh, the others from the repository. A second call changes nothing."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: deploy/make_secrets.sh is NOT tested")
    made = tmp_path / "secrets"
    first, second = (make_secrets(made) for _ in range(2))
    assert first == second
    assert (made.stat().st_mode & 0o777) == 0o700
    compose = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    for secret in compose["secrets"].values():
        assert (made / Path(secret["file"]).name).exists()
    for name, service in compose["services"].items():
        assert set(service.get("secrets", ())) <= set(compose["secrets"]), name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("./secrets"):
                assert (made / Path(source).name).exists()
            elif source.startswith("."):
                assert (COMPOSE / source).exists(), source
            else:
                assert source in compose["volumes"]
        for secret in re.findall(r"/run/secrets/([\w.-]+)", yaml.safe_dump(service)):
            assert secret in service["secrets"], f"{name} names {secret}"


def test_systemd_reads_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: the units are NOT verified")
    for unit in (DEPLOY / "systemd").glob("*.service"):
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/glassbridge/bin/glassbridge", "/bin/true"))
    units = [str(path) for path in tmp_path.glob("*.service")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", *units],
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_haproxy_reads_its_file(tmp_path: Path) -> None:
    haproxy = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if haproxy is None or shutil.which("openssl") is None:
        pytest.skip("haproxy or openssl is not installed: its file is NOT verified")
    make_secrets(tmp_path)
    addresses = dict.fromkeys(("BIND", "CLOUD_1", "CLOUD_2", "LIVEKIT"), "127.0.0.1:8443")
    env = {**os.environ, **addresses, "CERT": str(tmp_path / "cloud.pem")}
    check = [haproxy, "-c", "-f", str(DEPLOY / "haproxy.cfg")]
    done = subprocess.run(check, env=env, text=True, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert "[WARNING]" not in done.stderr


@pytest.mark.parametrize(
    ("path", "killed"),
    [
        ("systemd/glassbridge-cloud.service", r"^TimeoutStopSec=(\d+)$"),
        ("compose/compose.yaml", r"^ +stop_grace_period: (\d+)s\b"),
    ],
)
def test_a_cloud_is_not_killed_while_it_hands_its_users_over(path: str, killed: str) -> None:
    """By itself the delay is 0: each way of deploying gives the balancer time to notice."""
    text = (DEPLOY / path).read_text()
    delay, drain = (
        int(re.findall(rf"\bGLASSBRIDGE_{name}\b\"?[=:] ?\"?(\d+)", text)[0]) for name in ("DRAIN_DELAY", "DRAIN")
    )
    assert delay > 0
    assert int(re.findall(killed, text, re.MULTILINE)[0]) > delay + drain
