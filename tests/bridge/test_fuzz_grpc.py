"""Whatever a client sends to a bridge, each call has a typed end, and the session of another user hears nothing of it.

Bounded, and the seed is printed: FUZZ_SEED=N repeats it.
"""

import asyncio
import random
from typing import Any

import grpc
import pytest
import structlog
from google.protobuf.message import Message

from glassbridge.bridge.contract import SERVICE
from glassbridge.bridge.worker import Worker
from glassbridge.runtime.grpc_options import CHANNEL_OPTIONS
from glassbridge.telemetry import metrics
from glassbridge.wire import livekit_bridge_pb2 as pb
from tests.bridge.conftest import USER, joined, opened
from tests.support.fake_participant import FakeLiveKit
from tests.support.patience import deadline
from tests.support.poll import eventually
from tests.support.schema import SEED, filled
from tests.support.sound import left_out

CALLS = 1_500
DEADLINE = 3.0
"""Seconds of a call: streams that are let live end with it."""
FRAME_BYTES = 640
METHODS: dict[str, tuple[type[Message], bool, bool]] = {
    "StreamAudio": (pb.AudioChunk, True, True),
    "JoinRoom": (pb.JoinRoomRequest, False, False),
    "LeaveRoom": (pb.LeaveRoomRequest, False, False),
    "PlayAudio": (pb.PlayAudioRequest, False, True),
    "StopAudio": (pb.StopAudioRequest, False, False),
    "HealthCheck": (pb.HealthCheckRequest, False, False),
    "GetStatus": (pb.BridgeStatusRequest, False, False),
    "NoSuchMethod": (pb.AudioChunk, False, False),
}
"""Request, whether requests come as a stream, whether answers do."""
Code = grpc.StatusCode
TYPED = {
    Code.OK, Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED,
    Code.ABORTED, Code.UNAVAILABLE, Code.UNIMPLEMENTED, Code.ALREADY_EXISTS, Code.DEADLINE_EXCEEDED, Code.CANCELLED,
}  # fmt: skip


def payload(chance: random.Random, kind: type[Message]) -> bytes:
    """Random bytes, a valid message, or one torn."""
    match chance.randrange(4):
        case 0:
            return chance.randbytes(chance.choice((0, 1, 30, 5_000, 200_000)))
        case 1:
            whole = filled(chance, kind()).SerializeToString()
            return whole[: chance.randrange(len(whole) + 1)]
    return filled(chance, kind()).SerializeToString()


async def called(channel: grpc.aio.Channel, method: str, payloads: list[bytes]) -> grpc.StatusCode:
    """The status with which a call of this method ends that sends these bytes."""
    _, streams_in, streams_out = METHODS[method]
    path = f"/{SERVICE}/{method}"
    make: Any = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, True): channel.stream_stream,
    }[streams_in, streams_out]
    call = make(path, request_serializer=None, response_deserializer=None)

    async def requests() -> Any:
        for each in payloads:
            yield each

    answers = call(requests() if streams_in else payloads[0], timeout=DEADLINE)
    try:
        if streams_out:
            async for _ in answers:
                pass
        else:
            await answers
    except grpc.aio.AioRpcError:
        pass
    code: grpc.StatusCode = await answers.code()
    if streams_in and await answers.details() == "Internal error from Core":
        return Code.CANCELLED  # said by our own side: the call was over while it still sent
    return code


async def test_whatever_is_sent_another_session_speaks_on(
    worker: tuple[Worker, Any], fake: FakeLiveKit, caplog: pytest.LogCaptureFixture
) -> None:
    print(f"FUZZ_SEED={SEED}")
    chance = random.Random(SEED)
    running, bridge = worker
    stale = metrics.FRAMES_DROPPED.cell("bridge", "stale")
    stale_before = stale.count
    await joined(bridge)
    place = fake.last
    stream = await opened(bridge)
    heard: list[bytes] = []
    spoken: list[bytes] = []

    async def listen() -> None:
        while (chunk := await stream.read()) is not grpc.aio.EOF:
            if chunk.pcm_data:
                heard.append(chunk.pcm_data)

    async def speak() -> None:
        while True:
            frame = len(spoken).to_bytes(4, "little") * (FRAME_BYTES // 4)
            spoken.append(frame)
            place.packet(frame)
            await asyncio.sleep(0.02)

    def accounted() -> bool | str:
        """Each frame was heard, in order, but those that came late because the whole process stood still."""
        missing, late = left_out(b"".join(heard), b"".join(spoken), FRAME_BYTES), int(stale.count - stale_before)
        return (
            missing == late or f"seed {SEED}: {missing} of {len(spoken)} frames are missing, {late} of them were late"
        )

    bystanders = [asyncio.create_task(listen()), asyncio.create_task(speak())]
    with structlog.testing.capture_logs() as said:
        async with grpc.aio.insecure_channel(running.address.target, options=CHANNEL_OPTIONS) as channel:
            for first in range(0, CALLS, 25):
                methods = [chance.choice(list(METHODS)) for _ in range(25)]
                sent = [[payload(chance, METHODS[m][0]) for _ in range(chance.choice((1, 1, 5)))] for m in methods]
                async with deadline(30):
                    codes = await asyncio.gather(
                        *(called(channel, method, each) for method, each in zip(methods, sent, strict=True))
                    )
                for method, code in zip(methods, codes, strict=True):
                    assert code in TYPED, f"seed {SEED}, calls from {first}: {method} ended with {code}"
        await eventually(lambda: len(spoken) > 20)
        bystanders[1].cancel()
        await asyncio.wait([bystanders[1]])
        await eventually(accounted)
    assert place.closed is None
    found = await bridge.GetStatus(pb.BridgeStatusRequest(user_id=USER))
    assert found.connected
    bystanders[0].cancel()
    await asyncio.wait([bystanders[0]])
    stream.cancel()
    defects = [line for line in said if line["log_level"] in ("error", "critical") or "exc_info" in line]
    assert not defects, f"seed {SEED}: {defects}"
    of_grpc = [line for line in caplog.records if line.levelname == "ERROR"]
    assert not of_grpc, f"seed {SEED}: {of_grpc}"


async def test_a_request_that_cannot_be_parsed_is_the_clients_fault(worker: tuple[Worker, Any]) -> None:
    async with grpc.aio.insecure_channel(worker[0].address.target, options=CHANNEL_OPTIONS) as channel:
        for method in METHODS:
            expected = Code.UNIMPLEMENTED if method == "NoSuchMethod" else Code.INVALID_ARGUMENT
            assert await called(channel, method, [b"\xff\xff\xff"]) is expected, method
