"""How soon a cloud finds a bridge that listens again, by gRPC itself."""

from typing import Any

from glassbridge.cloud.bridge_pool import AGAIN, BridgePool
from glassbridge.cloud.config import CloudConfig, CloudKeys
from tests.cloud.conftest import KEYS
from tests.support.poll import eventually, stays
from tests.support.scripted_bridge import ScriptedBridge

NEVER = 60.0
"""Seconds: longer than a test lasts."""


def config(target: str, poll: float) -> CloudConfig:
    return CloudConfig(
        keys=CloudKeys((), KEYS), livekit_url="ws://livekit", bridges=(target,), bridge_poll=poll, bridge_timeout=NEVER
    )


async def test_a_bridge_is_found_as_soon_as_it_listens() -> None:
    back: list[int] = []
    async with ScriptedBridge() as bridge:
        pool = BridgePool(config(bridge.target, NEVER), lambda: back.append(1), lambda: None)
        pool.start()
        try:
            await eventually(lambda: len(back) == 1)
            await bridge.stop()
            pool.is_lost(next(iter(pool.bridges)))
            await stays(lambda: len(back) == 1, 1.0)
            await bridge.start()
            await eventually(lambda: len(back) == 2, within=0.5)
        finally:
            await pool.close()


class Asked(ScriptedBridge):
    """Counts how often it was asked whether it serves."""

    times = 0

    async def _health(self, request: Any, context: Any) -> Any:
        self.times += 1
        return await super()._health(request, context)


async def test_a_bridge_that_serves_and_is_lost_again_and_again_is_not_asked_without_end() -> None:
    bridge = Asked()
    async with bridge:
        pool = BridgePool(config(bridge.target, NEVER), lambda: pool.is_lost(next(iter(pool.bridges))), lambda: None)
        pool.start()
        try:
            await stays(lambda: bridge.times <= 2 + 1.0 / AGAIN or f"asked {bridge.times} times", 1.0)
        finally:
            await pool.close()
