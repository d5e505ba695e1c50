"""Two clouds, their bridges, LiveKit and one Valkey as real processes: the fate of each frame that phones speak."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from glassbridge.lab.crowd import User
from glassbridge.lab.needs import Needs
from glassbridge.lab.system import System
from tests.scenarios.systems import config
from tests.support.patience import patient
from tests.support.valkey import Valkey

AWAY = 30.0
"""Seconds for which the directory is away."""
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
Begin = Callable[..., Any]


@pytest.fixture
async def begin(tmp_path: Path) -> AsyncIterator[Begin]:
    """Starts the system; gives it and the server of the directory."""
    async with AsyncExitStack() as stack:

        async def start(users: int, **options: Any) -> tuple[System, Valkey, list[User]]:
            valkey = await stack.enter_async_context(Valkey(tmp_path))
            env = {
                "GLASSBRIDGE_CLUSTER": valkey.url,
                "GLASSBRIDGE_CLUSTER_SECRET": "a-cluster-secret-of-the-scenarios-0123456",
            }
            stack_config = config(livekit="embedded", **options)
            system = System(stack_config, Needs(backends=2, env=env), users, tmp_path / "logs", lambda _: None)
            await stack.enter_async_context(system)
            return system, valkey, await system.speaking()

        yield start


def well(figures: dict[str, float], hole: float) -> list[str]:
    """What is not as it should be of one phone."""
    wrong = [f"{name} {figures[name]:g}" for name in ("lost", "foreign", "strange", "duplicated") if figures[name]]
    if not figures["same_session"]:
        wrong.append("another session")
    if figures["hole_s"] > patient(hole):
        wrong.append(f"hole of {figures['hole_s']:.2f} s")
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_no_frame_is_lost_for_the_directory(begin: Begin, fault: str) -> None:
    """For 30 s; one phone stays, one moves to the other cloud meanwhile, one moves and comes back."""
    system, valkey, users = await begin(3)
    stays, moves, returns = users
    async with system.episode(users, f"directory {fault} for {AWAY:g} s") as episode:
        episode.cause()
        if fault == "killed":
            await valkey.kill()
        else:
            valkey.freeze()
        await asyncio.sleep(AWAY / 3)
        for user in (moves, returns):
            user.switch(system.b)
        await asyncio.sleep(AWAY / 3)
        returns.switch(system.a)
        await asyncio.sleep(AWAY / 3)
        if fault == "killed":
            await valkey.start()
        else:
            valkey.thaw()
        episode.gone()
        await episode.audio()
    print({user.id: episode.figures[user] for user in users})
    assert {user.id: wrong for user in users if (wrong := well(episode.figures[user], 1.5))} == {}
    assert episode.figures[stays]["joins"] == 0
    assert episode.figures[moves]["joins"] == 1
    assert episode.figures[returns]["joins"] == 2
    for backend in (system.a, system.b):
        changes = [line["new"] for line in system.logged("directory", program=backend.cloud.name)]
        assert "away" in changes
        assert changes[-1] == "held"


@pytest.mark.slow
@pytest.mark.skipif(FAKETIME is None, reason="no libfaketime: apt-get install faketime")
@pytest.mark.parametrize("hours", [1, -1])
async def test_the_clock_of_a_cloud_decides_nothing(begin: Begin, hours: int) -> None:
    """A phone goes from A to B, whose clock is an hour off, and back: the newest owner is the one that is heard."""
    shifted = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"{hours:+d}h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    system, _, [user] = await begin(1, backend_env={"B": shifted})
    for backend in (system.b, system.a, system.b, system.a):
        async with system.episode([user], f"to {backend.name}") as episode:
            episode.cause()
            user.switch(backend)
            episode.gone()
            await episode.audio(at=backend)
        print(episode.figures[user])
        assert well(episode.figures[user], 1.5) == []
    joins = [line["generation"] for line in system.logged("JoinRoom received")]
    assert joins == sorted(joins)
