"""The window on the audio for the lab."""

import socket
from pathlib import Path
from time import monotonic_ns

from glassbridge.cloud.tap import Tap, read


def test_each_block_comes_out_with_whose_it_is_and_when(tmp_path: Path) -> None:
    path = tmp_path / "tap"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(str(path))
        complete, live = (Tap(path, "ada", "s1", wants_late=late) for late in (True, False))
        before = monotonic_ns()
        complete.put(b"ab" * 160)
        live.put(b"cd")
        at, is_live, *rest = read(reader.recv(65536))
        assert before <= at <= monotonic_ns()
        assert (is_live, rest) == (False, ["ada", "s1", b"ab" * 160])
        assert read(reader.recv(65536))[1:] == (True, "ada", "s1", b"cd")
        complete.close()
        live.close()


def test_a_tap_that_nobody_reads_only_counts(tmp_path: Path) -> None:
    tap = Tap(tmp_path / "nobody", "ada", "s1", wants_late=True)
    tap.put(b"ab")
    assert tap.dropped == 1
    tap.close()
