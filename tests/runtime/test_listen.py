"""Claiming addresses."""

import os
import socket
import stat
from pathlib import Path

import pytest

from glassbridge.runtime.listen import CannotListen, claim_port, claim_socket, private_files


def bound(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    return listening


def test_a_folder_is_made_for_the_owner_alone(tmp_path: Path) -> None:
    claim_socket(tmp_path / "a" / "b" / "x.sock")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_a_stale_socket_is_removed_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with bound(path):
        with pytest.raises(CannotListen, match="in use"):
            claim_socket(path)
        assert path.is_socket()
    claim_socket(path)
    assert not path.exists()


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(CannotListen, match="no socket"):
        claim_socket(path)
    assert path.read_text() == "data"


def test_sockets_are_private(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with private_files(), bound(tmp_path / "x.sock"):
            assert stat.S_IMODE((tmp_path / "x.sock").stat().st_mode) == 0o600
        with bound(tmp_path / "y.sock"):
            assert stat.S_IMODE((tmp_path / "y.sock").stat().st_mode) == 0o755
    finally:
        os.umask(before)


def test_a_port_in_use_is_told_in_one_line() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        with pytest.raises(CannotListen, match=f"port {port} is in use") as failure:
            claim_port("127.0.0.1", port)
        assert "\n" not in str(failure.value)
    claim_port("127.0.0.1", port)


@pytest.mark.parametrize(("host", "port"), [("198.51.100.1", 1), ("no.such.host.invalid", 1), ("127.0.0.1", 99999)])
def test_an_address_that_is_not_ours(host: str, port: int) -> None:
    with pytest.raises(CannotListen, match="cannot listen"):
        claim_port(host, port)
