"""A worker on a Unix socket in this process, with scripted rooms behind it, and a client."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

from glassbridge.bridge.config import BridgeConfig
from glassbridge.bridge.worker import Worker
from glassbridge.runtime.grpc_options import CHANNEL_OPTIONS
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub
from tests.support.fake_participant import FakeLiveKit
from tests.support.grpc_runtime import grpc_is_here
from tests.support.patience import patient

__all__ = ["grpc_is_here"]

USER = "ann@example.com"
AGENT = f"cloud-agent:{USER}"


@pytest.fixture
def fake() -> FakeLiveKit:
    return FakeLiveKit()


@pytest.fixture
async def start(tmp_path: Path, fake: FakeLiveKit) -> AsyncIterator[Callable[..., Any]]:
    """Starts a worker with the given changes to its configuration; gives (worker, stub)."""
    async with AsyncExitStack() as stack:

        async def begin(**changes: Any) -> tuple[Worker, Any]:
            config = replace(BridgeConfig(socket=str(tmp_path / "b.sock")), **changes)
            worker = await stack.enter_async_context(Worker(config, 0, fake, fake.drain))
            channel = grpc.aio.insecure_channel(worker.address.target, options=CHANNEL_OPTIONS)
            await stack.enter_async_context(channel)
            return worker, LiveKitBridgeStub(channel)  # type: ignore[no-untyped-call]

        yield begin


@pytest.fixture
async def worker(start: Callable[..., Any]) -> tuple[Worker, Any]:
    pair: tuple[Worker, Any] = await start()
    return pair


@pytest.fixture
def bridge(worker: tuple[Worker, Any]) -> Any:
    """The client's stub."""
    return worker[1]


def join_request(user: str = USER, generation: int = 0, **fields: Any) -> pb.JoinRoomRequest:
    request = pb.JoinRoomRequest(
        user_id=user,
        room_name=user,
        token=f"cloud-agent:{user}",
        livekit_url="ws://127.0.0.1:7880",
        generation=generation,
    )
    for name, value in fields.items():
        setattr(request, name, value)
    return request


async def joined(bridge: Any, **fields: Any) -> pb.JoinRoomResponse:
    answer: pb.JoinRoomResponse = await bridge.JoinRoom(join_request(**fields), timeout=patient(5))
    assert answer.success, answer.error
    return answer


async def opened(bridge: Any, user: str = USER, generation: int = 0) -> Any:
    """An open stream, its first frame read."""
    call = bridge.StreamAudio()
    await call.write(pb.AudioChunk(user_id=user, generation=generation))
    first = await call.read()
    assert first is not grpc.aio.EOF
    assert not first.pcm_data
    return call


async def next_chunk(call: Any, wanted: Callable[[pb.AudioChunk], bool]) -> pb.AudioChunk:
    """The next chunk that is wanted."""
    while True:
        chunk: Any = await call.read()
        assert chunk is not grpc.aio.EOF, "the stream has ended"
        if wanted(chunk):
            return cast(pb.AudioChunk, chunk)


async def next_audio(call: Any) -> pb.AudioChunk:
    """The next frame of audio or presence."""
    return await next_chunk(call, lambda chunk: not chunk.heartbeat and not chunk.HasField("news"))


async def next_news(call: Any) -> pb.RoomNews:
    """The next news of the room."""
    return (await next_chunk(call, lambda chunk: chunk.HasField("news"))).news


async def ended(call: Any) -> grpc.StatusCode:
    """The status with which a stream ends; reads what comes before it, for gRPC gives no status ahead of messages."""
    with suppress(grpc.aio.AioRpcError):
        while await call.read() is not grpc.aio.EOF:
            pass
    code: grpc.StatusCode = await call.code()
    return code
