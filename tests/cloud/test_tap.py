"""The window on the audio for the lab."""

import asyncio
import socket
from pathlib import Path
from time import monotonic, monotonic_ns

from glassbridge.cloud.tap import CLOSE_WITHIN, MAX_WAITING, Tap, number_of, read
from glassbridge.core.in_order import HELD
from glassbridge.lab.overheard import Overheard
from glassbridge.wire.audio_frames import OPUS_PACKET
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
        first, second = (read(reader.recv(65536)) for _ in range(2))
        assert before <= first.at <= monotonic_ns()
        assert first[1:] == (False, "ada", "s1", b"ab" * 160)
        assert second[1:] == (True, "ada", "s1", b"cd")
        complete.put(b"ef")
        assert number_of(reader.recv(65536)) == 1
        complete.close()
        live.close()


async def test_what_comes_at_once_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "tap"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(str(path))
        tap = Tap(path, "ada", "s1", wants_late=True)
        # All that a session may hold back, in packets of Opus.
        blocks = [bytes([number % 256]) * 640 for number in range(HELD // OPUS_PACKET)]
        for block in blocks:
            tap.put(block)
        async with asyncio.timeout(patient(5.0)):
            got = await asyncio.to_thread(lambda: [read(reader.recv(65536)).pcm for _ in blocks])
        assert got == blocks
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
        reading = asyncio.to_thread(lambda: [read(reader.recv(65536)).pcm for _ in blocks])
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


async def test_a_reader_that_is_too_slow_loses_the_oldest_and_learns_it(tmp_path: Path) -> None:
    path = tmp_path / "tap"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(str(path))
        tap = Tap(path, "ada", "s1", wants_late=True)
        blocks = MAX_WAITING // 64_000 + 20
        for _ in range(blocks):
            tap.put(bytes(64_000))
        tap.close()
        assert 0 < tap.dropped < blocks


async def test_who_overhears_learns_what_it_has_missed(tmp_path: Path) -> None:
    path = tmp_path / "tap"
    tap = Tap(path, "ada", "s1", wants_late=True)
    with Overheard(path) as heard:
        tap.put(b"ab")
        await eventually(lambda: len(heard.of("ada")) == 1 or "the first block")
        assert heard.missed("ada") == 0
        path.rename(tmp_path / "elsewhere")
        tap.put(b"cd")
        (tmp_path / "elsewhere").rename(path)
        tap.put(b"ef")
        await eventually(lambda: len(heard.of("ada")) == 2 or "the third block")
        assert heard.missed("ada") == tap.dropped == 1
        tap.close()


def test_a_tap_that_nobody_reads_only_counts(tmp_path: Path) -> None:
    tap = Tap(tmp_path / "nobody", "ada", "s1", wants_late=True)
    tap.put(b"ab")
    assert tap.dropped == 1
    tap.close()
