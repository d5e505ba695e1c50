"""A worker listens before it can serve, so a caller that tries once finds it."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from glassbridge.bridge.config import BridgeConfig
from glassbridge.bridge.listening import Listening
from glassbridge.bridge.worker import Worker
from glassbridge.runtime.grpc_options import CHANNEL_OPTIONS
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub
from tests.support.fake_participant import FakeLiveKit
from tests.support.patience import patient
from tests.support.poll import eventually, stays
from tests.support.process import Program


async def stub_of(path: Path, clean: AsyncExitStack) -> Any:
    channel = await clean.enter_async_context(grpc.aio.insecure_channel(f"unix:{path}", options=CHANNEL_OPTIONS))
    return LiveKitBridgeStub(channel)  # type: ignore[no-untyped-call]


async def test_calls_wait_until_the_worker_serves(tmp_path: Path) -> None:
    path, fake = tmp_path / "b.sock", FakeLiveKit()
    config = BridgeConfig(socket=str(path))
    async with AsyncExitStack() as clean:
        listening = Listening(config, 0)
        await listening.start()
        stub = await stub_of(path, clean)
        call = asyncio.ensure_future(stub.HealthCheck(pb.HealthCheckRequest(), timeout=patient(20)))
        with pytest.raises(grpc.aio.AioRpcError) as given_up:
            await stub.HealthCheck(pb.HealthCheckRequest(), timeout=0.2)
        assert given_up.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await stays(lambda: not call.done() or "it was answered by nobody", 0.2)
        async with Worker(config, 0, fake, fake.drain, listening=listening):
            assert (await call).status == pb.HealthCheckResponse.SERVING


async def test_a_bridge_is_called_before_it_has_imported_what_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "b.sock"
    async with AsyncExitStack() as clean:
        bridge = Program.glassbridge("bridge", "--socket", str(path), "--log-format", "json")
        await clean.enter_async_context(bridge)
        await eventually(lambda: path.exists() or "it does not listen", 20.0, every=0.005)
        warm = any("worker process is warm" in line for line in bridge.err)
        stub = await stub_of(path, clean)
        answer = await stub.HealthCheck(pb.HealthCheckRequest(), timeout=patient(20))
        assert answer.status == pb.HealthCheckResponse.SERVING
        assert not warm
