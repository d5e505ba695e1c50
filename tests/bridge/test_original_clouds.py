"""Clouds of the original on our bridges: they do not fight, and a lost room comes back without their help."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from glassbridge.bridge.config import BridgeConfig
from glassbridge.bridge.contract import REASON_KEY
from glassbridge.bridge.worker import Worker
from glassbridge.core.room import DOUBTFUL
from glassbridge.core.values import LossReason
from glassbridge.lab.links import ByteLink
from glassbridge.wire import livekit_bridge_pb2 as pb
from tests.bridge.conftest import AGENT, USER, ended, joined, next_audio, opened
from tests.support.fake_participant import FakeLiveKit
from tests.support.original_cloud import OriginalCloud
from tests.support.patience import deadline
from tests.support.poll import eventually, stays

PCM = bytes(range(256)) * 12 + bytes(128)  # 100 ms
JOINING = {"user_id": USER, "room_name": USER, "token": AGENT, "livekit_url": "ws://127.0.0.1:7880"}


@pytest.fixture
async def clouds(tmp_path: Path, fake: FakeLiveKit) -> AsyncIterator[Callable[[str], Any]]:
    """Makes a cloud of the original with a bridge of its own; all bridges share one LiveKit."""
    async with AsyncExitStack() as stack:

        async def begin(name: str) -> OriginalCloud:
            config = BridgeConfig(socket=str(tmp_path / f"{name}.sock"))
            worker = await stack.enter_async_context(Worker(config, 0, fake, fake.drain))
            return await stack.enter_async_context(OriginalCloud(worker.address.target, JOINING))

        yield begin


async def test_two_clouds_do_not_fight_over_a_user(clouds: Callable[[str], Any], fake: FakeLiveKit) -> None:
    a, b = await clouds("a"), await clouds("b")
    await a.connect()
    await b.connect()
    await eventually(lambda: not a.connected or "A still believes that it is connected")
    # The original joins again 2 s after an error, and would take the user from B.
    await stays(lambda: len(fake.joined) == 2 or "A took the user back", 3.0)
    fake.last.packet(PCM)
    await eventually(lambda: b.heard == [PCM] or "B does not hear its user")
    # The phone returns: A asks for the status and joins, and now B lets go.
    await a.ensure_connected()
    await eventually(lambda: not b.connected or "B still believes that it is connected")
    fake.last.packet(PCM)
    await eventually(lambda: a.heard == [PCM] or "A does not hear its user")
    assert len(fake.open) == 1


async def test_a_superseded_stream_ends_gently_only_for_joins_without_a_generation(
    bridge: Any, fake: FakeLiveKit
) -> None:
    for generation, status in ((0, grpc.StatusCode.OK), (7, grpc.StatusCode.ABORTED)):
        await joined(bridge, generation=generation)
        call = await opened(bridge, generation=generation)
        fake.last.lose(LossReason.SUPERSEDED)
        assert await ended(call) == status
        assert dict(await call.trailing_metadata())[REASON_KEY] == "superseded"


async def test_livekit_away_for_six_seconds(clouds: Callable[[str], Any], fake: FakeLiveKit) -> None:
    cloud = await clouds("a")
    await cloud.connect()
    fake.refuse = LossReason.UNREACHABLE
    fake.last.lose(LossReason.NETWORK)
    await stays(lambda: cloud.connected or "the stream was ended", 6.0)
    fake.refuse = None
    await eventually(lambda: bool(fake.open) or "the bridge does not come back", within=4.0)
    fake.last.packet(PCM)
    await eventually(lambda: cloud.heard == [PCM] or "audio is not back")
    assert cloud.joins == 1


async def test_a_place_that_is_joined_again_speaks_and_beats(start: Callable[..., Any], fake: FakeLiveKit) -> None:
    _, bridge = await start(heartbeat=0.05)
    await joined(bridge)
    call = await opened(bridge)
    for _ in range(3):
        fake.last.lose(LossReason.NETWORK)
        await eventually(lambda: bool(fake.open) or "not joined again")
        fake.last.packet(PCM)
        assert (await next_audio(call)).pcm_data == PCM
        await call.write(pb.AudioChunk(pcm_data=PCM))
        await eventually(lambda: any(track.frames for track in fake.last.tracks) or "nothing is said in the new place")
        assert (await bridge.GetStatus(pb.BridgeStatusRequest(user_id=USER))).connected
    call.cancel()


async def test_joining_again_ends(start: Callable[..., Any], fake: FakeLiveKit) -> None:
    worker, bridge = await start(rejoin=0.5)
    await joined(bridge)
    call = await opened(bridge)
    fake.refuse = LossReason.UNREACHABLE
    fake.last.lose(LossReason.SERVER_SHUTDOWN)
    async with deadline(3):
        assert await ended(call) == grpc.StatusCode.ABORTED
    assert dict(await call.trailing_metadata())[REASON_KEY] == "server_shutdown"
    assert isinstance(worker, Worker)
    health = await bridge.HealthCheck(pb.HealthCheckRequest())
    assert (health.active_sessions, health.active_streams) == (0, 0)


async def test_a_user_who_may_be_elsewhere_is_not_fought_for(start: Callable[..., Any], fake: FakeLiveKit) -> None:
    """A gentle end, too: after an error the client would join again, with its old token, and take the user back."""
    worker, bridge = await start()
    await joined(bridge)
    call = await opened(bridge)
    fake.refuse = LossReason.TIMED_OUT
    fake.last.lose(LossReason.NETWORK, unheard=DOUBTFUL - 1.0)
    async with deadline(5):
        assert await ended(call) == grpc.StatusCode.OK
    assert dict(await call.trailing_metadata())[REASON_KEY] == "network"
    fake.refuse = None
    begun = fake.begun
    await stays(lambda: fake.begun == begun or "it joins again", 1.5)
    assert isinstance(worker, Worker)


async def test_a_silent_livekit_gets_no_join_that_could_arrive_late(
    start: Callable[..., Any], fake: FakeLiveKit
) -> None:
    async with ByteLink() as link:
        port = await link.to(7880)
        link.hold()
        _, bridge = await start()
        await joined(bridge, livekit_url=f"ws://127.0.0.1:{port}")
        call = await opened(bridge)
        begun = fake.begun
        fake.last.lose(LossReason.NETWORK, unheard=DOUBTFUL - 2.5)
        async with deadline(6):
            assert await ended(call) == grpc.StatusCode.OK
        assert fake.begun == begun


@pytest.mark.parametrize("delay", [0.0, 60.0])
async def test_leaving_ends_a_place_that_is_being_joined_again(bridge: Any, fake: FakeLiveKit, delay: float) -> None:
    await joined(bridge)
    call = await opened(bridge)
    fake.refuse, fake.delay = LossReason.UNREACHABLE, delay
    begun = fake.begun
    fake.last.lose(LossReason.NETWORK)
    await eventually(lambda: fake.begun > begun or "it does not try")
    answer = await bridge.LeaveRoom(pb.LeaveRoomRequest(user_id=USER))
    assert answer.success, answer.error
    assert await ended(call) == grpc.StatusCode.OK
    await eventually(lambda: fake.under_way == 0 or "a join is still under way")
    tried = fake.begun
    await stays(lambda: fake.begun == tried or "it still tries", 1.0)
