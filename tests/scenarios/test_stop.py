"""Ctrl-C and the end of a terminal: everything is gone in time, and nothing is left behind."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from glassbridge.livekit.rooms import RoomService
from tests.scenarios.systems import ENVIRONMENT, alive, ends_at_once, family
from tests.support.livekit import KEYS as TEST_KEYS
from tests.support.livekit import LiveKit
from tests.support.poll import eventually
from tests.support.process import Program

STOP_WITHIN = 5.0
DEV = ("dev", "--livekit", "embedded", "--port", "0", "--livekit-port", "0")
DEMO = ("demo", "--livekit", "embedded")


@pytest.fixture(autouse=True)
def at_a_terminal() -> Iterator[None]:
    """Programs under nohup do not stop on SIGHUP, and CI may run under it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


async def test_sighup_stops_all(tmp_path: Path) -> None:
    """SIGTERM and SIGKILL: tests/cli/test_running_dev.py."""
    async with Program.glassbridge(*DEV, env=ENVIRONMENT | {"TMPDIR": str(tmp_path)}) as program:
        await program.says("eyJ", within=60)
        await ends_at_once(program, signal.SIGHUP, 0, STOP_WITHIN, "dev, livekit, bridge, its worker, cloud")
    assert list(tmp_path.iterdir()) == []


async def test_a_signal_while_it_starts(tmp_path: Path) -> None:
    async with Program.glassbridge(*DEMO, env=ENVIRONMENT | {"TMPDIR": str(tmp_path)}) as program:
        await program.says("starting LiveKit", within=60)
        processes = family(program.pid)
        program.signal(signal.SIGINT)
        assert await program.ends(within=STOP_WITHIN) == 130
    await eventually(lambda: not alive(processes) or f"still running: {alive(processes)}", 2.0)
    assert list(tmp_path.iterdir()) == []


async def test_a_demo_that_is_interrupted_stops_all_and_leaves_no_room_on_a_server_that_goes_on(
    embedded_livekit: LiveKit, tmp_path: Path
) -> None:
    env = ENVIRONMENT | {
        "TMPDIR": str(tmp_path),
        "LIVEKIT_API_KEY": TEST_KEYS.api_key,
        "LIVEKIT_API_SECRET": TEST_KEYS.secret,
    }
    async with RoomService(embedded_livekit.url, TEST_KEYS) as rooms:
        async with Program.glassbridge("demo", "--livekit", embedded_livekit.url, env=env) as program:
            await program.says("audio: live", within=60)
            assert len(await rooms.rooms()) == 1
            await ends_at_once(program, signal.SIGINT, 130, STOP_WITHIN, "demo, bridge, its worker, cloud")
        assert await rooms.rooms() == []
    assert list(tmp_path.iterdir()) == []
