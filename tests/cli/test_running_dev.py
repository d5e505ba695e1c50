"""`top`, `inspect` and `doctor` find the `glassbridge dev` that runs beside them; nobody else learns its secrets."""

import asyncio
import json
import os
import signal
import stat
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from glassbridge.cli.admin_client import LOCAL_CLOUD, connect
from glassbridge.cli.common import known_names
from glassbridge.cli.doctor import DEPLOYMENT
from glassbridge.cli.running_dev import announced, find_dev, runtime_folder
from glassbridge.lab.stack import STOP_WITHIN
from tests.scenarios.systems import ends_at_once
from tests.support import forked
from tests.support.patience import patient
from tests.support.process import Program

CLOUD = "http://127.0.0.1:8002"
ENVIRONMENT = {"GLASSBRIDGE_ADMIN_TOKEN": "admin-token-of-this-dev"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runtime folder of this test alone."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    found = runtime_folder()
    assert found is not None
    assert found.is_relative_to(tmp_path)
    return found


def test_it_is_found_while_it_runs_and_by_its_user_alone(folder: Path) -> None:
    assert find_dev() is None
    with announced(CLOUD, ENVIRONMENT) as trouble:
        assert not trouble
        [path] = folder.iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        dev = find_dev()
        assert dev is not None
        assert (dev.pid, dev.cloud, dev.environment) == (os.getpid(), CLOUD, ENVIRONMENT)
        assert "admin-token" not in repr(dev)
    assert find_dev() is None
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("cloud", ["", CLOUD, f"{CLOUD}/", "http://localhost:8002"])
def test_its_token_is_shown_to_its_own_cloud(folder: Path, cloud: str) -> None:
    with announced(CLOUD, ENVIRONMENT):
        client = connect(cloud)
        assert (client.base, client._token) == (CLOUD, ENVIRONMENT["GLASSBRIDGE_ADMIN_TOKEN"])


@pytest.mark.parametrize("cloud", ["http://127.0.0.1:8003", "https://cloud.example.com", "http://cloud:8002"])
def test_its_token_is_shown_to_no_other_cloud(folder: Path, cloud: str) -> None:
    with announced(CLOUD, ENVIRONMENT):
        client = connect(cloud)
        assert (client.base, client._token) == (cloud, "")


def test_without_one_the_usual_address_counts(folder: Path) -> None:
    assert connect("").base == LOCAL_CLOUD


def test_what_was_left_behind_counts_for_nothing(folder: Path) -> None:
    """A file whose program was killed holds no lock."""
    with announced(CLOUD, ENVIRONMENT):
        text = next(folder.iterdir()).read_text()
    left = folder / "dev-1.json"
    left.touch(mode=0o600)
    left.write_text(text)
    assert find_dev() is None
    with announced(CLOUD, ENVIRONMENT):
        assert not left.exists(), "the next one takes it away"


def test_what_others_could_have_written_counts_for_nothing(folder: Path) -> None:
    with announced(CLOUD, ENVIRONMENT):
        [path] = folder.iterdir()
        path.chmod(0o644)
        assert find_dev() is None
        path.chmod(0o600)
        link = folder / "dev-2.json"
        moved = path.rename(folder.parent / "elsewhere.json")
        link.symlink_to(moved)
        assert find_dev() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', "{}", "\x00" * 100, "9" * 100_000])
def test_what_cannot_be_read_counts_for_nothing(folder: Path, text: str) -> None:
    with announced(CLOUD, ENVIRONMENT):
        [path] = folder.iterdir()
        path.write_text(text)
        assert find_dev() is None


def test_the_newest_of_several_counts(folder: Path) -> None:
    with announced(CLOUD, ENVIRONMENT):
        [path] = folder.iterdir()
        os.utime(path, (1, 1))
        path.rename(folder / "dev-1.json")
        with announced("http://127.0.0.1:9000", {}):
            newest, named = find_dev(), find_dev(CLOUD)
            assert newest is not None
            assert named is not None
            assert (newest.cloud, named.cloud) == ("http://127.0.0.1:9000", CLOUD)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(file))
    with announced(CLOUD, ENVIRONMENT) as trouble:
        assert trouble == "Not a directory"


def test_the_variables_of_a_deployment_exist() -> None:
    assert {name for name in DEPLOYMENT if name.startswith("GLASSBRIDGE_")} <= known_names()


# ---- with a real one


@asynccontextmanager
async def dev(*options: str) -> AsyncIterator[Program]:
    ports = ("--port", "0", "--livekit-port", "0", "--livekit", "embedded")
    async with Program.glassbridge("dev", *ports, *options, "--log-level", "error") as program:
        await program.says("glassbridge is ready", 60)
        yield program


def beside(*args: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A command as its user types it, with what this process has for an environment."""
    return forked.glassbridge(*args, env=os.environ | environment, within=patient(60))


def checks(doctor: "subprocess.CompletedProcess[str]") -> dict[str, dict[str, str]]:
    """What `glassbridge doctor --json` says, by check."""
    return {line["check"]: line for line in map(json.loads, doctor.stdout.splitlines())}


@pytest.mark.timeout(600)
async def test_the_commands_of_the_readme_beside_dev(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLASSBRIDGE_ADMIN_TOKEN", raising=False)
    async with dev("--user", "ada") as running:
        said = ""
        for command, status, words in (
            (("top", "--once"), 0, "no sessions"),
            (("inspect", "ada"), 1, "no session of ada"),
        ):
            shown = await asyncio.to_thread(beside, *command)
            assert shown.returncode == status, shown.stderr
            said += shown.stdout + shown.stderr
            assert words in shown.stdout + shown.stderr
        found = find_dev()
        assert found is not None
        other = {"GLASSBRIDGE_ADMIN_TOKEN": "another-admin-token", "XDG_RUNTIME_DIR": str(folder / "nothing")}
        refused = await asyncio.to_thread(beside, "top", "--once", "--cloud", found.cloud, **other)
        assert refused.returncode != 0
        assert refused.stdout == ""
        doctor = await asyncio.to_thread(beside, "doctor", "--json", GLASSBRIDGE_CAPTIONS="")
        told = checks(doctor)
        assert doctor.returncode == 0, told
        assert "glassbridge dev" in told["examined"]["text"]
        for check in ("LiveKit", "cloud", "LiveKit's key", "bridges", "sockets"):
            assert told[check]["state"] == "well", told[check]
        [path] = folder.iterdir()
        token = json.loads(path.read_text())["environment"]["GLASSBRIDGE_ADMIN_TOKEN"]
        assert token not in "\n".join([doctor.stdout, doctor.stderr, said, *running.err])
        elsewhere = await asyncio.to_thread(beside, "doctor", "--json", LIVEKIT_URL="ws://127.0.0.1:1")
        assert "LIVEKIT_URL is set" in checks(elsewhere)["examined"]["text"]
        await ends_at_once(running, signal.SIGTERM, 0, STOP_WITHIN, "dev, livekit, bridge, its worker, cloud")
        assert list(folder.iterdir()) == []


async def test_a_dev_that_was_killed_is_not_found_and_takes_its_processes_with_it(folder: Path) -> None:
    async with dev() as running:
        assert find_dev() is not None
        await ends_at_once(
            running, signal.SIGKILL, -signal.SIGKILL, STOP_WITHIN, "dev, livekit, bridge, its worker, cloud"
        )
        assert len(list(folder.iterdir())) == 1
        assert find_dev() is None
