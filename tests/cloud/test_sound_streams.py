"""Streams of sound that apps make: bounds, and what is late or not theirs."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from glassbridge.cloud.apps import streams
from glassbridge.cloud.apps.streams import Streams
from glassbridge.runtime.world import REAL
from glassbridge.wire.rejections import Rejected
from tests.cloud.app_stage import AppStage, app_stages

ID, OTHER = "a" * 36, "b" * 36


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def read(kept: Streams, name: str) -> bytes:
    stream = kept.find(name)
    assert stream is not None
    return b"".join([piece async for piece in stream.read()])


async def test_what_is_written_is_read_by_all_and_forgotten_later() -> None:
    clock = Clock()
    kept = Streams(1 << 20, replace(REAL, monotonic=clock))
    name = kept.open("app", ID)
    assert kept.open("app", ID) == name
    kept.write("app", ID.encode() + b"one")
    reading = asyncio.create_task(read(kept, name))
    await asyncio.sleep(0)
    kept.write("app", ID.encode() + b"two")
    kept.end("app", ID)
    assert await reading == b"onetwo"
    kept.write("app", ID.encode() + b"late")
    assert await read(kept, name) == b"onetwo"
    clock.now = streams.KEPT
    kept.open("app", OTHER)
    assert kept.find(name) is None


async def test_bounds() -> None:
    kept = Streams(100, REAL)
    with pytest.raises(Rejected, match="36"):
        kept.open("app", "short")
    with pytest.raises(Rejected, match="begun"):
        kept.write("app", ID.encode() + b"x")
    name = kept.open("app", ID)
    with pytest.raises(Rejected, match="begun"):
        kept.write("another app", ID.encode() + b"x")
    kept.write("app", ID.encode() + bytes(100))
    with pytest.raises(Rejected, match="at most"):
        kept.write("app", ID.encode() + b"x")
    assert await read(kept, name) == bytes(100), "it has ended"
    for number in range(streams.MAX_STREAMS):
        kept.open("app", f"{number}" * 36)
    with pytest.raises(Rejected, match="end one first"):
        kept.open("app", ID)
    kept.end("app")
    kept.open("app", ID)


@pytest.fixture
async def built() -> AsyncIterator[AppStage]:
    async with app_stages() as begin:
        stage: AppStage = await begin()
        await stage.phone()
        yield stage


async def test_a_binary_frame_that_belongs_to_nothing_is_refused_and_the_socket_stays(built: AppStage) -> None:
    app = await built.running()
    await app.socket.send_bytes(b"123")
    assert (await app.until("tpa_connection_error"))["code"] == "MALFORMED_MESSAGE"
    await app.say("audio_stream_start", streamId="short")
    refused = await app.until("tpa_connection_error", 2)
    assert (refused["code"], refused["requestId"], refused["requestType"]) == (
        "NOT_AVAILABLE",
        "short",
        "audio_stream_start",
    )
    await app.say("audio_stream_start", streamId=ID)
    ready = await app.until("audio_stream_ready")
    assert (ready["streamId"], ready["streamUrl"].startswith(f"{built.url}/api/sounds/")) == (ID, True)
