"""The room service client, against a real server and the stand-in."""

from collections.abc import AsyncIterator
from time import time

import pytest

from glassbridge.livekit import own
from glassbridge.livekit.rooms import RoomService, RoomServiceError
from glassbridge.livekit.server import free_port
from glassbridge.livekit.tokens import LiveKitKeys
from tests.support.livekit import KEYS, LiveKit, token
from tests.support.participants import Recorder
from tests.support.poll import eventually


@pytest.fixture
async def service(livekit: LiveKit) -> AsyncIterator[RoomService]:
    async with RoomService(livekit.url, KEYS) as service:
        yield service


async def test_rooms_and_participants_are_listed(livekit: LiveKit, service: RoomService) -> None:
    assert await service.rooms() == []
    assert await service.participants("room") == []
    place = await own.connect(livekit.url, token("ann"), Recorder())
    (found,) = await service.participants("room")
    assert (found.identity, found.sid, found.publishing) == ("ann", place.sid, False)
    assert abs(found.joined_at - time()) < 5
    assert await service.rooms() == ["room"]
    await place.close()
    assert await service.participants("room") == []


async def test_who_is_removed_hears_why_and_may_come_back(livekit: LiveKit, service: RoomService) -> None:
    heard = Recorder()
    place = await own.connect(livekit.url, token("ann"), heard)
    assert await service.remove("room", "ann")
    await eventually(lambda: heard.reason == "removed" or f"heard {heard.closed}")
    assert not await service.remove("room", "ann")
    await place.close()
    again = await own.connect(livekit.url, token("ann"), Recorder())
    await again.close()


async def test_deleting_a_room_puts_everybody_out(livekit: LiveKit, service: RoomService) -> None:
    heard = Recorder(), Recorder()
    places = [await own.connect(livekit.url, token(name), ears) for name, ears in zip("ab", heard, strict=True)]
    assert await service.delete("room")
    for ears in heard:
        await eventually(lambda ears=ears: ears.reason == "room_deleted" or f"heard {ears.closed}")  # type: ignore[misc]
    assert not await service.delete("room")
    for place in places:
        await place.close()


async def test_a_wrong_secret_is_told_apart_from_no_server(livekit: LiveKit) -> None:
    async with RoomService(livekit.url, LiveKitKeys(KEYS.api_key, "x" * 40)) as service:
        with pytest.raises(RoomServiceError, match="API key and secret") as caught:
            await service.participants("room")
        assert not caught.value.retry
    async with RoomService(f"ws://127.0.0.1:{free_port()}", KEYS) as service:
        with pytest.raises(RoomServiceError, match="no LiveKit server") as caught:
            await service.participants("room")
        assert caught.value.retry


async def test_calls_are_signed_by_the_clock_that_is_given(livekit: LiveKit, service: RoomService) -> None:
    service.now = lambda: time() - 3600
    with pytest.raises(RoomServiceError, match="LiveKit refuses the call"):
        await service.rooms()
    service.now = time
    assert await service.rooms() == []


async def test_calls_have_a_deadline(livekit: LiveKit) -> None:
    async with RoomService(livekit.url, KEYS, timeout=0.0001) as service:
        with pytest.raises(RoomServiceError, match=r"within 0\.0001 s"):
            await service.rooms()
