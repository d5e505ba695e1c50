"""The command line: quick, plain-spoken, and never a traceback."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import jwt
import pytest

from glassbridge import __version__
from glassbridge.cli.bench import _as_json
from glassbridge.lab.bench_path import PathConfig
from glassbridge.settings import DEV_JWT_SECRET
from tests.support import forked
from tests.support.patience import patient

SECRET = "canary-secret-with-more-than-32-characters"


def glassbridge(*args: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return forked.glassbridge(*args, env=os.environ | env, within=patient(60))


def test_help_is_quick_and_shows_every_command() -> None:
    """In processor time: others on this machine do not count."""
    times = []
    for _ in range(5):
        begun = os.times()
        shown = subprocess.run([sys.executable, "-m", "glassbridge", "--help"], capture_output=True, text=True)
        ended = os.times()
        times.append(ended.children_user + ended.children_system - begun.children_user - begun.children_system)
    for command in ("demo", "dev", "cloud", "bridge", "phone", "token", "livekit", "bench"):
        assert f"\n  {command} " in shown.stdout
    assert min(times) < 0.4


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, glassbridge.cli.main; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())
    assert not loaded & {"aiohttp", "aiortc", "av", "grpc", "livekit", "numpy", "pydantic", "rich", "structlog"}


@pytest.mark.parametrize("command", ["demo", "dev", "cloud", "bridge", "phone", "token", "livekit start", "bench path"])
def test_each_command_explains_itself_with_its_defaults(command: str) -> None:
    shown = glassbridge(*command.split(), "--help")
    assert shown.returncode == 0
    assert shown.stderr == ""
    assert "[default: " in shown.stdout


def test_version() -> None:
    assert glassbridge("--version").stdout == f"glassbridge {__version__}\n"


def test_token_is_the_last_line_and_the_warning_is_apart() -> None:
    shown = glassbridge("token", "--user", "Ada+1@example.org", AUGMENTOS_AUTH_JWT_SECRET=DEV_JWT_SECRET)
    claims = jwt.decode(shown.stdout.splitlines()[-1], DEV_JWT_SECRET, algorithms=["HS256"])
    assert claims["sub"] == "ada+1@example.org"
    assert 23.9 < (claims["exp"] - time.time()) / 3600 <= 24
    assert "AUGMENTOS_AUTH_JWT_SECRET" in shown.stderr
    assert glassbridge("token", "--user", "ada", AUGMENTOS_AUTH_JWT_SECRET=SECRET).stderr == ""


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["nonsense"], "No such command"),
        (["cloud", "--port", "many"], "--port"),
        (["cloud", "--port", "70000"], "--port"),
        (["token"], "--user"),
        (["token", "--user", "   "], "244 bytes"),
        (["token", "--user", "a" * 300], "244 bytes"),
        (["cloud", "--log-level", "loud"], "debug, info, warning, error"),
        (["bridge", "--workers", "0"], "--workers"),
        (["phone", "--token", "t"], "--wav"),
        (["demo", "--livekit", "imaginary"], "real, embedded"),
        (["livekit", "start", "--port", "-1"], "--port"),
    ],
)
def test_bad_usage_is_status_2_and_says_what(args: list[str], says: str) -> None:
    refused = glassbridge(*args)
    assert refused.returncode == 2, refused.stderr
    assert says in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_setting_that_cannot_be_read_is_named_and_not_quoted() -> None:
    refused = glassbridge("cloud", GLASSBRIDGE_GRACE=SECRET)
    assert refused.returncode == 2
    assert "GLASSBRIDGE_GRACE" in refused.stderr
    assert SECRET not in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


BROKEN = """
import sys
from glassbridge.cli import main, token
def fail(*_args, **_kwargs):
    raise RuntimeError(f"boom with eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln and {SECRET}")
token.load_settings = fail
sys.argv = ["glassbridge", "token", "--user", "ada"]
main.main()
"""


@pytest.mark.parametrize("debug", ["", "1"])
def test_what_nobody_expected_is_one_line_unless_asked_for_more(debug: str) -> None:
    code = BROKEN.replace("{SECRET}", SECRET)
    env = os.environ | {"GLASSBRIDGE_DEBUG": debug, "AUGMENTOS_AUTH_JWT_SECRET": SECRET}
    failed = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=patient(60))
    assert failed.returncode == 1
    assert "RuntimeError: boom with [redacted]" in failed.stderr
    assert SECRET not in failed.stderr
    if debug:
        assert "Traceback" in failed.stderr
    else:
        assert len(failed.stderr.splitlines()) == 1
        assert "GLASSBRIDGE_DEBUG=1" in failed.stderr


def test_python_dash_m_is_the_program(tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "glassbridge"
    if not script.exists():
        pytest.skip("the project is not installed here as a program")
    shown = subprocess.run([script, "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert shown.stdout == glassbridge("--version").stdout


def test_a_bench_with_a_server_of_ones_own_is_told_as_json() -> None:
    """LIVEKIT_SERVER_BIN is a path, which JSON does not know."""
    config = asdict(PathConfig(livekit_bin=Path("/opt/livekit-server")))
    assert json.loads(_as_json({"config": config}))["config"]["livekit_bin"] == "/opt/livekit-server"
