"""Our cloud drives a bridge that knows the original's contract and nothing of ours."""

import random
from collections.abc import AsyncIterator

import aiohttp
import grpc
import pytest

from glassbridge.cloud.app import Cloud
from glassbridge.cloud.auth import mint_core_token
from glassbridge.core.values import agent_identity, user_id
from glassbridge.livekit.tokens import verify
from tests.cloud.conftest import ANN, KEYS, SECRET, Phone, ScriptedRecogniser, cloud_config
from tests.support.grpc_runtime import grpc_is_here
from tests.support.poll import eventually
from tests.support.scripted_bridge import ScriptedBridge, original_contract

__all__ = ["grpc_is_here"]

SPEECH = random.Random(3).randbytes(32 * 2_000)


class OldBackend:
    """A cloud of ours beside a bridge of the original's."""

    def __init__(self, cloud: Cloud, bridge: ScriptedBridge, recogniser: ScriptedRecogniser) -> None:
        self.cloud = cloud
        self.bridge = bridge
        self.recogniser = recogniser
        self.http = aiohttp.ClientSession()

    async def phone(self) -> Phone:
        """Connects as the original's phone does."""
        token = mint_core_token(user_id(ANN), SECRET, 60)
        headers = {"Authorization": f"Bearer {token}", "livekit": "true"}
        socket = await self.http.ws_connect(f"http://127.0.0.1:{self.cloud.port}/glasses-ws", headers=headers)
        phone = Phone(socket)
        phone.read()
        return phone


@pytest.fixture
async def backend() -> AsyncIterator[OldBackend]:
    recogniser = ScriptedRecogniser()
    async with (
        ScriptedBridge(original_contract()) as bridge,
        Cloud(cloud_config(bridge, grace=0.3), recogniser) as cloud,
    ):
        built = OldBackend(cloud, bridge, recogniser)
        yield built
        await built.http.close()


async def test_the_originals_contract_has_all_that_it_had_and_no_more() -> None:
    fields = {name: [f.name for f in kind.DESCRIPTOR.fields] for name, kind in vars(original_contract()).items()}
    assert fields["AudioChunk"] == ["pcm_data", "sample_rate", "channels", "timestamp_ms", "user_id", "track_id"]
    assert fields["JoinRoomRequest"] == ["user_id", "room_name", "token", "livekit_url", "target_identity"]
    assert fields["LeaveRoomRequest"] == ["user_id", "reason"]
    assert fields["BridgeStatusResponse"][-1] == "server_version"
    assert "FrameNumber" not in fields


async def test_audio_arrives_from_join_to_leave(backend: OldBackend) -> None:
    phone = await backend.phone()
    await phone.until_state("connecting", "awaiting_audio")
    (join,) = backend.bridge.joins
    assert (join.user_id, join.room_name, join.livekit_url) == (ANN, ANN, "ws://livekit.test")
    assert join.target_identity == ANN
    claims = verify(join.token, KEYS)
    assert (claims.identity, claims.room) == (agent_identity(user_id(ANN)), ANN)
    await eventually(lambda: bool(backend.bridge.rooms[ANN].heard) or "no first chunk")
    first = backend.bridge.rooms[ANN].heard[0]
    assert (first.user_id, first.pcm_data) == (ANN, b"")

    for start in range(0, len(SPEECH), 1601):  # odd chunks too
        backend.bridge.send(ANN, SPEECH[start : start + 1601])
    await eventually(lambda: len(backend.recogniser.fed) == len(SPEECH) or f"{len(backend.recogniser.fed)} bytes")
    assert backend.recogniser.fed == SPEECH
    await phone.until_state("live")

    await phone.close()
    await eventually(lambda: backend.bridge.rooms == {} or "the room is held after the session's end")
    assert [leave.user_id for leave in backend.bridge.leaves] == [ANN]


async def test_a_kicked_bridge_is_replaced(backend: OldBackend) -> None:
    phone = await backend.phone()
    await phone.until_state("connecting", "awaiting_audio")
    backend.bridge.send(ANN, bytes(3200))
    await phone.until_state("live")
    backend.bridge.end(ANN, grpc.StatusCode.INTERNAL)
    await eventually(lambda: len(backend.bridge.joins) == 2 or "not joined again")
    await phone.until_state("connecting", "awaiting_audio")
    backend.bridge.send(ANN, bytes(3200))
    await phone.until_state("live")
    await phone.close()


async def test_a_bridge_that_was_kicked_without_a_word_is_found_out_when_the_phone_is_back(backend: OldBackend) -> None:
    """The original's stream stays open when its room is lost (S-2): only GetStatus tells."""
    phone = await backend.phone()
    await phone.until_state("connecting", "awaiting_audio")
    backend.bridge.connected = False
    again = await backend.phone()
    await eventually(lambda: len(backend.bridge.joins) == 2 or "not joined again")
    backend.bridge.connected = True
    await again.until_state("connecting", "awaiting_audio")
    await phone.close()
    await again.close()


async def test_a_join_that_the_original_refuses_is_told_and_tried_again(backend: OldBackend) -> None:
    backend.bridge.refuse = "session already exists"
    phone = await backend.phone()
    await phone.until_state("unavailable", "bridge_refused")
    backend.bridge.refuse = ""
    await phone.until_state("connecting", "awaiting_audio")
    await phone.close()
