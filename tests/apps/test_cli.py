"""The registry by command line: one file for the operator, keys shown once."""

import os
import subprocess
from pathlib import Path

import pytest

from glassbridge.cloud.apps.registry import open_registry
from glassbridge.wire.app_keys import key_fits
from tests.support import forked
from tests.support.patience import patient

PACKAGE = "com.example.captions"


def apps(*args: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return forked.glassbridge("apps", *args, env=os.environ | env, within=patient(60))


@pytest.mark.parametrize("name", ["apps.toml", "apps.db"])
def test_the_key_is_the_last_line_and_fits_what_is_stored(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    added = apps(
        "add", PACKAGE, "--url", "http://127.0.0.1:7010", "--permission", "microphone", GLASSBRIDGE_APPS=str(path)
    )
    assert added.returncode == 0
    record = open_registry(path).find(PACKAGE)
    assert record is not None
    assert key_fits(added.stdout.strip(), record.key_hash)
    listed = apps("list", "--registry", str(path))
    assert listed.stdout == f"{PACKAGE}\thttp://127.0.0.1:7010\tMICROPHONE\n"


def test_what_is_wrong_is_said_in_a_line(tmp_path: Path) -> None:
    path = str(tmp_path / "apps.toml")
    for args, word in (
        (("add", "a b", "--url", "http://x"), "package name"),
        (("add", "x", "--url", "x"), "URL"),
        (("add", "x", "--url", "http://x", "--permission", "FLY"), "MICROPHONE"),
        (("remove", "x"), "no app"),
        (("list", "--registry", "apps.yaml"), ".toml"),
    ):
        shown = apps(*args, GLASSBRIDGE_APPS=path)
        assert shown.returncode != 0
        assert word in shown.stderr
        assert "Traceback" not in shown.stderr
        assert shown.stderr.count("\n") == 1


def test_a_cloud_does_not_start_with_a_registry_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "apps.toml"
    path.write_text("[apps.x]\n")
    shown = forked.glassbridge("cloud", "--port", "0", "--apps", str(path), env=os.environ, within=patient(60))
    assert shown.returncode == 2
    assert str(path) in shown.stderr
    assert "Traceback" not in shown.stderr
