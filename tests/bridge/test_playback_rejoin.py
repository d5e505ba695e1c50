"""A playback outlives the place in which it began: it goes on in the next one, from where it was."""

from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest

from glassbridge.bridge.config import PlaybackLimits
from glassbridge.bridge.worker import Worker
from glassbridge.core.values import LossReason
from glassbridge.wire import livekit_bridge_pb2 as pb
from tests.bridge.conftest import USER, ended, joined, opened
from tests.bridge.site import Event, Site, events_of, kinds, request, site, wav
from tests.support.fake_participant import FakeLiveKit
from tests.support.poll import eventually

__all__ = ["site"]

FRAME = 640


def chirp(seconds: float) -> bytes:
    """Every piece of it is like no other."""
    rng = np.random.default_rng(7)
    samples: bytes = rng.integers(-9000, 9000, int(seconds * 16000), dtype=np.int16).tobytes()
    return samples


def as_wav(pcm: bytes) -> bytes:
    return wav(0)[:40] + len(pcm).to_bytes(4, "little") + pcm


@pytest.fixture
async def pair(start: Callable[..., Any]) -> tuple[Worker, Any]:
    limits = PlaybackLimits(hosts=("127.0.0.1",), hold=8.0)
    begun: tuple[Worker, Any] = await start(playback=limits)
    return begun


@pytest.fixture
def bridge(pair: tuple[Worker, Any]) -> Any:
    return pair[1]


async def heard_in(fake: FakeLiveKit, place: int, frames: int) -> None:
    """The place has said so much."""

    def done() -> bool | str:
        tracks = fake.joined[place].tracks if len(fake.joined) > place else []
        said = sum(len(track.frames) for track in tracks)
        return said >= frames or f"place {place} has said {said} frames"

    await eventually(done)


def said(fake: FakeLiveKit) -> bytes:
    return b"".join(track.pcm for place in fake.joined for track in place.tracks)


async def test_a_replacing_join_takes_it_along(bridge: Any, fake: FakeLiveKit, site: Site) -> None:
    pcm = chirp(1.5)
    site.files["clip"] = as_wav(pcm)
    await joined(bridge)
    call = bridge.PlayAudio(request(site.url("clip")))
    await heard_in(fake, 0, 20)
    await joined(bridge)
    events = await events_of(call)
    assert kinds(events)[-1] == "COMPLETED"
    assert events[-1].duration_ms == 1500
    assert said(fake) == pcm, "every sample once, in order"
    assert 20 <= len(fake.joined[0].tracks[0].frames) < 75
    assert fake.joined[1].tracks[0].name == "speaker"


async def test_a_lost_room_is_waited_for(bridge: Any, fake: FakeLiveKit, site: Site) -> None:
    """The host of the room is forgotten meanwhile, with its stream: a cloud of ours decides about the next join."""
    pcm = chirp(1.0)
    site.files["clip"] = as_wav(pcm)
    await joined(bridge, generation=1)
    stream = await opened(bridge, generation=1)
    call = bridge.PlayAudio(request(site.url("clip"), track_id=2))
    await heard_in(fake, 0, 10)
    fake.last.lose(LossReason.SERVER_SHUTDOWN)
    assert (await call.read()).type == Event.STARTED
    paused = await call.read()
    assert (paused.type, paused.metadata["paused"]) == (Event.PROGRESS, "server_shutdown")
    assert paused.position_ms == len(said(fake)) // 32
    assert await ended(stream) is grpc.StatusCode.ABORTED
    status = await bridge.GetStatus(pb.BridgeStatusRequest(user_id=USER))
    assert not status.connected
    await joined(bridge, generation=2)
    events = await events_of(call)
    assert kinds(events)[-1] == "COMPLETED"
    assert said(fake) == pcm
    assert events[-1].duration_ms == 1000


async def test_what_nobody_can_have_heard_is_said_again(bridge: Any, fake: FakeLiveKit, site: Site) -> None:
    """A dead path is noticed some seconds late."""
    pcm = chirp(1.0)
    site.files["clip"] = as_wav(pcm)
    await joined(bridge)
    call = bridge.PlayAudio(request(site.url("clip")))
    await heard_in(fake, 0, 25)
    fake.last.lose(LossReason.NETWORK, unheard=0.3)
    await joined(bridge)
    events = await events_of(call)
    before, after = (place.tracks[0].pcm for place in fake.joined)
    assert before[-15 * FRAME :] == after[: 15 * FRAME]
    assert before[: -15 * FRAME] + after == pcm
    paused = next(event for event in events if event.metadata.get("paused"))
    assert paused.position_ms == len(before) // 32 - 300
    assert events[-1].duration_ms == 1000


async def test_all_tracks_go_on_and_one_can_be_stopped_meanwhile(
    pair: tuple[Worker, Any], fake: FakeLiveKit, site: Site
) -> None:
    worker, bridge = pair
    site.files["clip"] = wav(0.8)
    await joined(bridge)
    calls = [bridge.PlayAudio(request(site.url("clip"), str(n), track_id=n)) for n in range(3)]
    await heard_in(fake, 0, 30)
    fake.last.lose(LossReason.MEDIA_FAILED)
    answer = await bridge.StopAudio(pb.StopAudioRequest(user_id=USER, request_id="1"))
    assert (answer.success, answer.stopped_request_id) == (True, "1")
    assert (await events_of(calls[1]))[-1].metadata["reason"] == "stopped"
    await joined(bridge)
    for number in (0, 2):
        assert kinds(await events_of(calls[number]))[-1] == "COMPLETED"
    assert sorted(track.name for track in fake.joined[1].tracks) == ["speaker", "tts"]
    answer = await bridge.LeaveRoom(pb.LeaveRoomRequest(user_id=USER))
    assert answer.success
    await eventually(lambda: len(worker.rooms.speakers) == 0 or "somebody's speaker is kept")


async def test_it_begins_where_another_bridge_ended(bridge: Any, fake: FakeLiveKit, site: Site) -> None:
    pcm = chirp(1.2)
    site.files["clip"] = as_wav(pcm)
    await joined(bridge)
    events = await events_of(bridge.PlayAudio(request(site.url("clip"), position_ms=700)))
    assert kinds(events) == ["STARTED", "PROGRESS", "COMPLETED"]
    assert [event.position_ms for event in events] == [700, 1000, 1200]
    assert events[-1].duration_ms == 1200
    assert said(fake) == pcm[700 * 32 :]


async def test_a_bridge_that_stops_says_so_at_once(start: Callable[..., Any], fake: FakeLiveKit, site: Site) -> None:
    site.files["clip"] = wav(30)
    worker, bridge = await start(playback=PlaybackLimits(hosts=("127.0.0.1",)))
    await joined(bridge)
    call = bridge.PlayAudio(request(site.url("clip")))
    assert (await call.read()).type == Event.STARTED
    await worker.rooms.shut_down(1.0)
    events = await events_of(call)
    assert events[-1].metadata["reason"] == "closed"
