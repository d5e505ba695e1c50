"""A user goes from A to B and back to A with the product's own times, after 3, 10 and 59 s, which is within A's grace,
and through a plain balancer: what is said a second after each move reaches the app, whichever SDK it is written with,
and nobody stops it."""

import asyncio
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

import pytest

from glassbridge.core.app_times import TIMES
from tests.apps.mentra import Scene as MentraScene
from tests.apps.mentra import a_scene, peer_command
from tests.apps.test_moves import Scene, open_scene
from tests.support.balancer import Balancer, answer_at

__all__ = ["open_scene", "peer_command"]

GRACE = 60.0
STAYS = (3.0, 10.0, 59.0)
JOURNEYS = pytest.mark.parametrize(
    ("stay", "balanced"), [*((stay, False) for stay in STAYS), (3.0, True)], ids=[*map(str, STAYS), "balancer"]
)
AFTER = 1.0
"""Seconds after a move from which on everything is heard."""
TRIES = 5.0
"""Seconds that the test gives a busy machine."""

pytestmark = [pytest.mark.slow]


async def _one_second_later(is_heard: Callable[[], Any]) -> float:
    """When it is heard for the first time, after the second that a move may take."""
    begun = monotonic()
    await asyncio.sleep(AFTER)
    await is_heard()
    return monotonic() - begun - AFTER


@JOURNEYS
async def test_an_app_of_ours(open_scene: Callable[..., Any], stay: float, balanced: bool) -> None:
    scene: Scene = await open_scene(grace=GRACE, times=TIMES)
    async with Balancer(*(stage.cloud.port for stage in scene.clouds)) as balancer:
        for stage in scene.clouds if balanced else ():
            answer_at(stage.cloud, balancer.url)
        await scene.move_to(0)
        await scene.is_heard(TRIES)
        for cloud in (1, 0, *((1, 0, 1, 0) if balanced else ())):
            await scene.move_to(cloud)
            waited = await _one_second_later(partial(scene.is_heard, TRIES))
            print(f"heard {waited:.2f} s after the second")
            await asyncio.sleep(stay)
            await scene.is_heard(TRIES)
            assert scene.unharmed() is True
    if not balanced:
        assert [moved.cloud for moved in scene.app.moves] == [scene.clouds[1].url, scene.clouds[0].url]


@JOURNEYS
async def test_an_app_of_the_original(peer_command: list[str], stay: float, balanced: bool) -> None:
    async with a_scene(peer_command, clouds=2, balanced=balanced, cloud={"grace": GRACE}, times=TIMES) as scene:
        await scene.move_to(0)
        await scene.is_heard(0)
        for moves, cloud in enumerate((1, 0, *((1, 0, 1, 0) if balanced else ())), start=1):
            await scene.move_to(cloud)
            waited = await _one_second_later(partial(scene.is_heard, cloud, TRIES))
            print(f"heard {waited:.2f} s after the second")
            await asyncio.sleep(stay)
            await scene.is_heard(cloud, TRIES)
            _unharmed(scene, moves)


def _unharmed(scene: MentraScene, moves: int) -> None:
    assert not scene.peer.told("stop")
    assert len(scene.peer.told("session")) <= moves + 1, "at most one onSession a move"
