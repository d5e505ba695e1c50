"""The window on the audio for the lab."""

import asyncio
import socket
from contextlib import suppress
from pathlib import Path
from time import monotonic, monotonic_ns

from glassbridge.cloud.tap import CLOSE_WITHIN, Tap, read
from tests.support.patience import patient
from tests.support.poll import eventually


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


async def test_what_comes_at_once_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "tap"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(str(path))
        reader.setblocking(False)
        tap = Tap(path, "ada", "s1", wants_late=True)
        blocks = [bytes([number]) * 3200 for number in range(200)]
        for block in blocks:
            tap.put(block)
        got: list[bytes] = []

        def all_read() -> bool | str:
            with suppress(BlockingIOError):
                while True:
                    got.append(read(reader.recv(65536))[4])
            return got == blocks or f"{len(got)} of {len(blocks)} blocks"

        await eventually(all_read)
        assert tap.dropped == 0
        tap.close()


async def test_what_waits_when_the_session_ends_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "tap"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(str(path))
        tap = Tap(path, "ada", "s1", wants_late=True)
        blocks = [bytes([number]) * 3200 for number in range(200)]
        for block in blocks:
            tap.put(block)
        reading = asyncio.to_thread(lambda: [read(reader.recv(65536))[4] for _ in blocks])
        async with asyncio.timeout(patient(5.0)):
            _, got = await asyncio.gather(asyncio.to_thread(tap.close), reading)
        assert got == blocks
        assert tap.dropped == 0


async def test_a_session_does_not_end_late_for_a_tap_that_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "tap"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(str(path))
        tap = Tap(path, "ada", "s1", wants_late=True)
        for _ in range(200):
            tap.put(bytes(3200))
        begun = monotonic()
        tap.close()
        assert monotonic() - begun < patient(2 * CLOSE_WITHIN)
        assert tap.dropped > 0


def test_a_tap_that_nobody_reads_only_counts(tmp_path: Path) -> None:
    tap = Tap(tmp_path / "nobody", "ada", "s1", wants_late=True)
    tap.put(b"ab")
    assert tap.dropped == 1
    tap.close()
