"""The doubles of the original's halves do what the original does, and no more."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from itertools import count
from typing import Any

import grpc
import pytest

from glassbridge.cloud.auth import mint_core_token
from glassbridge.core.phone_way import Nudge
from glassbridge.core.values import LossReason, user_id
from glassbridge.lab.originals.bridge_client import RETRY_AFTER, OriginalBridgeClient
from glassbridge.lab.originals.phone import OriginalPhone
from tests.cloud.conftest import ANN, SECRET, Stage, stage
from tests.support.fake_participant import FakeLiveKit
from tests.support.grpc_runtime import grpc_is_here
from tests.support.poll import eventually, stays
from tests.support.scripted_bridge import ScriptedBridge, original_contract

__all__ = ["grpc_is_here", "stage"]

PCM = bytes(range(200))


@pytest.fixture
async def bridge() -> AsyncIterator[ScriptedBridge]:
    async with ScriptedBridge(original_contract()) as scripted:
        yield scripted


@pytest.fixture
async def client(bridge: ScriptedBridge) -> AsyncIterator[OriginalBridgeClient]:
    tokens = count(1)

    def joining() -> Mapping[str, Any]:
        return {"user_id": ANN, "room_name": ANN, "token": str(next(tokens)), "livekit_url": "ws://livekit.test"}

    heard: list[bytes] = []
    async with OriginalBridgeClient(bridge.target, joining, heard.append) as made:
        assert await made.connect()
        bridge.send(ANN, PCM)
        await eventually(lambda: heard == [PCM] or "nothing heard")
        yield made


def tokens_of(bridge: ScriptedBridge) -> list[str]:
    return [join.token for join in bridge.joins]


async def test_after_an_error_the_cloud_joins_once_more_with_its_old_token(
    bridge: ScriptedBridge, client: OriginalBridgeClient
) -> None:
    bridge.end(ANN)
    await stays(lambda: len(bridge.joins) == 1 or "joined too soon", RETRY_AFTER - 0.3)
    await eventually(lambda: len(bridge.joins) == 2 or "not joined again")
    assert tokens_of(bridge) == ["1", "1"]
    bridge.refuse = "no"
    bridge.end(ANN)  # nothing was heard since: that was its only try
    await stays(lambda: len(bridge.joins) == 2 or "it tries again", RETRY_AFTER + 0.5)
    bridge.refuse = ""
    assert await client.ensure_connected()
    assert tokens_of(bridge)[-1] != "1", "a fresh token"


async def test_after_a_gentle_end_the_cloud_does_nothing(bridge: ScriptedBridge, client: OriginalBridgeClient) -> None:
    bridge.end(ANN, grpc.StatusCode.OK)
    await eventually(lambda: not client.connected or "it believes that it is connected")
    await stays(lambda: len(bridge.joins) == 1 or "it joins", RETRY_AFTER + 0.5)


class Lab:
    """What a phone told, and the rooms that it was in."""

    def __init__(self, built: Stage, **options: Any) -> None:
        self.told: list[str] = []
        self.rooms = FakeLiveKit()
        token = mint_core_token(user_id(ANN), SECRET, 60)
        self.phone = OriginalPhone(built.url, token, self._tell, self.rooms, **options)

    def _tell(self, event: str, **fields: Any) -> None:
        self.told.append(f"{event} {fields['state']}" if "state" in fields else event)

    async def until_joined(self, times: int) -> None:
        await eventually(lambda: self.told.count("room joined") == times or f"told {self.told}")


async def test_the_phone_joins_its_room_anew_on_each_greeting(stage: Callable[..., Awaitable[Stage]]) -> None:
    built = await stage()
    lab = Lab(built)
    async with lab.phone as phone:
        await lab.until_joined(1)
        first = lab.rooms.last
        phone.speak(PCM)
        await eventually(lambda: first.sent == [(b"\x01" + PCM, "")] or "nothing came into the room")
        (session,) = built.cloud.sessions.living
        session._greeter.nudge(Nudge.GREET)
        await lab.until_joined(2)
        assert first.closed is not None
        await phone.deafen()
        phone.speak(PCM)
        await asyncio.sleep(0)
        assert lab.rooms.last.sent == []
        assert lab.told.index("room left") < len(lab.told) - 1
    assert not lab.rooms.open


async def test_the_phone_without_a_room_speaks_on_its_socket(stage: Callable[..., Awaitable[Stage]]) -> None:
    built = await stage()
    lab = Lab(built)
    async with lab.phone as phone:
        await lab.until_joined(1)
        lab.rooms.refuse = LossReason.UNREACHABLE
        lab.rooms.last.lose(LossReason.NETWORK)
        phone.speak(PCM)
        await eventually(lambda: built.recogniser.fed == PCM or "not heard")
        lab.rooms.refuse = None
        await lab.until_joined(2)  # its library comes back by itself
        lab.rooms.last.lose(LossReason.SUPERSEDED)
        await stays(lambda: lab.told.count("room joined") == 2 or "back in a room that is another's", 1.0)


async def test_the_phone_comes_back_after_any_close(stage: Callable[..., Awaitable[Stage]]) -> None:
    built = await stage()
    lab = Lab(built, reconnect_after=0.3)
    async with lab.phone:
        await lab.until_joined(1)
        (session,) = built.cloud.sessions.living
        session.end("tested")  # phones of ours stay away after such a close
        await eventually(lambda: lab.told.count("socket open") == 2 or f"told {lab.told}")
        assert lab.told.count("socket closed") == 1
