"""A worker that goes: it tells the clouds, lets a successor have its address, and sees its streams off."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import grpc
import pytest

from glassbridge.bridge.config import BridgeConfig
from glassbridge.bridge.rooms import AT_A_TIME, TOLD_WITHIN
from glassbridge.bridge.worker import Worker
from glassbridge.runtime.grpc_options import CHANNEL_OPTIONS
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub
from tests.bridge.conftest import USER, ended, join_request, joined, next_audio, next_news, opened
from tests.support.fake_participant import FakeLiveKit
from tests.support.patience import deadline, patient
from tests.support.poll import eventually

PCM = bytes(range(256)) * 12 + bytes(128)


LONG = 60.0
"""Seconds in which clouds move their rooms: so many that no slow machine ends a test by them."""


class Bench:
    """Workers that follow each other at one address, and a client of whichever is there."""

    def __init__(self, config: BridgeConfig, fake: FakeLiveKit, stack: AsyncExitStack) -> None:
        self.config = config
        self.fake = fake
        self._stack = stack
        channel = grpc.aio.insecure_channel(config.address(0).target, options=CHANNEL_OPTIONS)
        self._stack.push_async_callback(channel.close)
        self.bridge: Any = LiveKitBridgeStub(channel)  # type: ignore[no-untyped-call]

    async def worker(self) -> tuple[Worker, asyncio.Event]:
        """One that listens, and the event of its release."""
        released = asyncio.Event()
        worker = Worker(self.config, 0, self.fake, self.fake.drain, released.set)
        await worker.__aenter__()
        return worker, released


@pytest.fixture(params=["unix", "tcp"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path, fake: FakeLiveKit) -> AsyncIterator[Bench]:
    if request.param == "unix":
        config = BridgeConfig(socket=str(tmp_path / "b.sock"), drain=LONG)
    else:
        port = request.getfixturevalue("unused_tcp_port")
        config = BridgeConfig(port=port, drain=LONG)
    async with AsyncExitStack() as stack:
        yield Bench(config, fake, stack)


async def test_the_successor_listens_while_the_old_one_still_serves_its_stream(bench: Bench, fake: FakeLiveKit) -> None:
    old, released = await bench.worker()
    await joined(bench.bridge, generation=1)
    call = await opened(bench.bridge, generation=1)
    place = fake.last
    leaving = asyncio.create_task(old.__aexit__())
    assert (await next_news(call)).leaving
    async with deadline(0.5):
        await released.wait()
    new, _ = await bench.worker()
    place.packet(PCM)
    assert (await next_audio(call)).pcm_data == PCM, "what is open goes on"
    await joined(bench.bridge, generation=2)
    assert place.closed is not None, "the same identity took over"
    successor = await opened(bench.bridge, generation=2)
    assert await ended(call) == grpc.StatusCode.UNAVAILABLE
    begun = monotonic()
    await leaving
    assert monotonic() - begun < patient(0.8), "nobody is left to wait for"
    fake.last.packet(PCM)
    assert (await next_audio(successor)).pcm_data == PCM
    assert fake.open == [fake.last]
    successor.cancel()
    await new.__aexit__()
    assert not fake.open


async def test_a_cloud_that_does_not_move_is_let_go_in_time(bench: Bench, fake: FakeLiveKit) -> None:
    bench.config = replace(bench.config, drain=1.0)
    worker, _ = await bench.worker()
    await joined(bench.bridge)
    call = await opened(bench.bridge)
    await joined(bench.bridge, user="nobody's")
    begun = monotonic()
    leaving = asyncio.create_task(worker.__aexit__())
    await eventually(lambda: len(fake.open) == 1 or "a room that no stream claims is left at once", 0.5)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await bench.bridge.JoinRoom(join_request(user="new"), timeout=patient(5))
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    assert await ended(call) == grpc.StatusCode.UNAVAILABLE
    await leaving
    assert 0.9 < monotonic() - begun < patient(1.8)
    assert not fake.open


async def test_a_join_under_way_is_called_off_and_sent_elsewhere(bench: Bench, fake: FakeLiveKit) -> None:
    worker, _ = await bench.worker()
    fake.delay = 30
    call = bench.bridge.JoinRoom(join_request(), timeout=patient(20))
    await eventually(lambda: fake.under_way == 1 or "the join has not begun")
    begun = monotonic()
    await worker.__aexit__()
    assert monotonic() - begun < patient(0.9)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    assert (fake.under_way, fake.open) == (0, [])


async def test_an_idle_worker_goes_at_once(bench: Bench) -> None:
    worker, _ = await bench.worker()
    await bench.bridge.GetStatus(pb.BridgeStatusRequest(user_id=USER))
    begun = monotonic()
    await worker.__aexit__()
    assert monotonic() - begun < patient(0.5)


async def told_to_leave(call: Any) -> None:
    """Returns once the cloud was told to take this user elsewhere."""
    while not (await next_news(call)).leaving:
        pass


async def streams(bench: Bench, count: int) -> list[Any]:
    """Of so many rooms."""
    calls = []
    for number in range(count):
        await joined(bench.bridge, user=f"user{number}", generation=1)
        calls.append(await opened(bench.bridge, user=f"user{number}", generation=1))
    return calls


async def test_rooms_are_handed_over_a_few_at_a_time(bench: Bench, fake: FakeLiveKit) -> None:
    worker, _ = await bench.worker()
    on_their_way: set[int] = set()
    most = 0

    async def move(number: int, call: Any) -> None:
        nonlocal most
        await told_to_leave(call)
        on_their_way.add(number)
        most = max(most, len(on_their_way))
        await asyncio.sleep(0.02)  # the join elsewhere
        on_their_way.discard(number)
        call.cancel()

    moves = [asyncio.create_task(move(number, call)) for number, call in enumerate(await streams(bench, 40))]
    await worker.__aexit__()
    await asyncio.gather(*moves)
    assert 1 < most <= AT_A_TIME
    assert not fake.open


async def test_all_rooms_are_told_in_time_by_a_bridge_whose_clouds_do_not_hurry(bench: Bench) -> None:
    bench.config = replace(bench.config, drain=1.0)
    worker, _ = await bench.worker()
    calls = await streams(bench, 40)
    begun = monotonic()
    leaving = asyncio.create_task(worker.__aexit__())
    await asyncio.gather(*(told_to_leave(call) for call in calls))
    assert monotonic() - begun < patient(bench.config.drain * TOLD_WITHIN + 0.2)
    for call in calls:
        call.cancel()
    await leaving
