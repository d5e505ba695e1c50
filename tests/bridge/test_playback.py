"""PlayAudio and StopAudio of a worker, on sound that is served over HTTP and written to scripted rooms."""

import math
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest

from glassbridge.bridge.config import PlaybackLimits
from glassbridge.bridge.public_address import is_public
from glassbridge.core.values import LossReason
from glassbridge.livekit.server import free_port
from glassbridge.wire import livekit_bridge_pb2 as pb
from tests.bridge.conftest import USER, joined, opened
from tests.bridge.site import Event, Site, encoded, events_of, kinds, pitch, request, site, tone, wav
from tests.support.fake_participant import FakeLiveKit
from tests.support.patience import patient
from tests.support.poll import eventually

__all__ = ["site"]


@pytest.fixture
async def bridge(start: Callable[..., Any]) -> Any:
    """With permission to fetch from this machine."""
    limits = PlaybackLimits(hosts=("127.0.0.1",), max_bytes=4 << 20, stall_timeout=patient(0.5), hold=patient(0.5))
    worker, stub = await start(playback=limits)
    worker.player.decoders.start()
    await eventually(lambda: worker.player.decoders.pid is not None or "no decoder", 15)
    return stub


async def test_a_clip_is_said_whole_and_told_truly(bridge: Any, fake: FakeLiveKit, site: Site) -> None:
    site.files["clip"] = wav(1.23)
    await joined(bridge)
    begun = monotonic()
    events = await events_of(bridge.PlayAudio(request(site.url("clip"))))
    took = monotonic() - begun
    assert kinds(events) == ["STARTED", "PROGRESS", "COMPLETED"]
    assert {event.request_id for event in events} == {"r1"}
    assert (events[0].position_ms, events[1].position_ms) == (0, 1000)
    assert (events[2].duration_ms, events[2].position_ms) == (1230, 1230)
    assert 1.2 < took < patient(2.0), "COMPLETED comes at the end of the sound"
    (track,) = fake.last.tracks
    assert track.name == "speaker"
    assert track.pcm.rstrip(b"\0") == tone(1.23, 16000).tobytes().rstrip(b"\0"), "16 kHz mono is not touched"
    await eventually(lambda: not track.published or "an idle track is still published")


async def test_what_the_cloud_says_is_its_own_need_not_be_public(
    start: Callable[..., Any], fake: FakeLiveKit, site: Site
) -> None:
    """Its address counts for the first request only, and for no other port or host."""
    _, bridge = await start()
    site.files["clip"] = wav(0.1)
    await joined(bridge)
    own = f"127.0.0.1:{site.port}"

    async def result(url: str, own_address: str) -> str:
        *_, last = await events_of(bridge.PlayAudio(request(url, own_address=own_address)))
        return last.metadata["reason"] if kinds([last]) == ["FAILED"] else "played"

    assert await result(site.url("clip"), own) == "played"
    assert await result(site.url("clip"), "") == "forbidden_address"
    assert await result(site.url("clip"), f"127.0.0.1:{site.port + 1}") == "forbidden_address"
    assert await result(site.url("clip", host="localhost"), own) == "forbidden_address"
    for redirect in ("loop", "inward"):
        assert await result(site.url(redirect), own) in ("forbidden_address", "bad_url")


async def test_a_cloud_that_cannot_be_reached_is_named(start: Callable[..., Any], fake: FakeLiveKit) -> None:
    """By its address and by the setting that changes it: the app's developer is told what to do."""
    _, bridge = await start()
    await joined(bridge)
    own = f"127.0.0.1:{free_port()}"
    asked = request(f"http://{own}/api/tts?text=x&signature=s3cret", own_address=own)
    *_, last = await events_of(bridge.PlayAudio(asked))
    assert last.metadata["reason"] == "unreachable"
    assert own in last.error
    assert "GLASSBRIDGE_PUBLIC_URL" in last.error
    assert "s3cret" not in last.error


@pytest.mark.parametrize(
    ("kind", "codec", "rate", "channels"),
    [
        ("wav", "pcm_s16le", 44100, 2),
        ("wav", "pcm_s16le", 8000, 1),
        ("mp3", "libmp3lame", 44100, 2),
        ("ogg", "libopus", 48000, 2),
        ("flac", "flac", 48000, 1),
        ("adts", "aac", 24000, 1),
        ("mp4", "aac", 24000, 1),  # its index stands at the end
        ("webm", "libopus", 48000, 1),
    ],
)
async def test_any_format_becomes_16_khz_mono(
    bridge: Any, fake: FakeLiveKit, site: Site, kind: str, codec: str, rate: int, channels: int
) -> None:
    site.files["clip"] = encoded(kind, codec, 0.5, rate, channels)
    await joined(bridge)
    events = await events_of(bridge.PlayAudio(request(site.url("clip"), track_id=2)))
    assert kinds(events) == ["STARTED", "COMPLETED"]
    assert 480 <= events[-1].duration_ms <= 620
    (track,) = fake.last.tracks
    assert track.name == "tts"
    heard = np.frombuffer(track.pcm, np.int16)
    loud = np.flatnonzero(np.abs(heard.astype(int)) > 1000)
    sound = heard[loud[0] : loud[-1]].tobytes()
    assert abs(pitch(sound) - 440) < 5
    level = float(np.abs(heard[loud[0] + 800 : loud[-1] - 800].astype(int)).max())
    assert 10500 < level < 14000, "mixing two equal channels must not change the level"


@pytest.mark.parametrize(("volume", "peak"), [(0.0, 0), (0.5, 6000), (1.0, 12000), (4.0, 32768)])
async def test_volume_is_a_gain_and_zero_is_mute(
    bridge: Any, fake: FakeLiveKit, site: Site, volume: float, peak: int
) -> None:
    site.files["clip"] = wav(0.2)
    await joined(bridge)
    events = await events_of(bridge.PlayAudio(request(site.url("clip"), volume=volume)))
    assert kinds(events) == ["STARTED", "COMPLETED"]
    assert abs(int(np.abs(np.frombuffer(fake.last.tracks[0].pcm, np.int16).astype(int)).max()) - peak) < 20


@pytest.mark.parametrize(
    ("url", "fields", "reason"),
    [
        ("missing", {}, "http_status"),
        ("text", {}, "undecodable"),
        ("empty", {}, "undecodable"),
        ("huge", {}, "too_large"),
        ("loop", {}, "redirects"),
        ("silent", {}, "stalled"),
        ("inward", {}, "forbidden_address"),
        ("http://localhost:1/x", {}, "forbidden_address"),
        ("http://[::1]:1/x", {}, "forbidden_address"),
        ("http://127.1:1/x", {}, "forbidden_address"),
        ("http://0x7f.1:1/x", {}, "forbidden_address"),
        ("http://2130706433:1/x", {}, "forbidden_address"),
        ("http://169.254.169.254/latest", {}, "forbidden_address"),
        ("http://127.0.0.1:1/x", {}, "unreachable"),
        ("ftp://example.com/x", {}, "bad_url"),
        ("file:///etc/passwd", {}, "bad_url"),
        ("", {}, "bad_url"),
        ("http://[bad", {}, "bad_url"),
        ("clip", {"volume": math.nan}, "bad_volume"),
        ("clip", {"volume": -1.0}, "bad_volume"),
        ("clip", {"track_id": 99}, "bad_track"),
        ("clip", {"user_id": "nobody"}, "session_not_found"),
        ("clip", {"user_id": ""}, "bad_request"),
    ],
)
async def test_what_cannot_be_played_fails_with_a_reason(
    bridge: Any, fake: FakeLiveKit, site: Site, url: str, fields: dict[str, Any], reason: str
) -> None:
    site.files |= {"clip": wav(0.2), "text": b"hello " * 999, "empty": b"", "huge": bytes(5 << 20)}
    await joined(bridge)
    target = site.url(url) if url.isalpha() else url
    (event,) = await events_of(bridge.PlayAudio(request(target, **fields), timeout=patient(30)))
    assert (event.type, event.metadata["reason"]) == (Event.FAILED, reason)
    assert event.error
    assert not fake.last.tracks, "nothing is published for a sound that there is not"


async def test_files_only_below_the_operators_folder(
    start: Callable[..., Any], fake: FakeLiveKit, tmp_path: Path
) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "a b.wav").write_bytes(wav(0.1))
    (tmp_path / "secret.wav").write_bytes(wav(0.1))
    (folder / "link.wav").symlink_to(tmp_path / "secret.wav")
    _, bridge = await start(playback=PlaybackLimits(folder=str(folder)))
    await joined(bridge)
    ok = await events_of(bridge.PlayAudio(request((folder / "a b.wav").as_uri())))
    assert kinds(ok) == ["STARTED", "COMPLETED"]
    for path in ("../secret.wav", "link.wav", "missing.wav", "."):
        (event,) = await events_of(bridge.PlayAudio(request(f"file://{folder}/{path}")))
        assert event.metadata["reason"] == "bad_url"


async def test_stop_is_silent_at_once(bridge: Any, fake: FakeLiveKit, site: Site) -> None:
    site.files["clip"] = wav(30)
    await joined(bridge)
    call = bridge.PlayAudio(request(site.url("clip")))
    assert (await call.read()).type == Event.STARTED
    asked = monotonic()
    answer = await bridge.StopAudio(pb.StopAudioRequest(user_id=USER))
    assert (answer.success, answer.stopped_request_id) == (True, "r1")
    assert monotonic() - asked < patient(0.1)
    event = await call.read()
    assert (event.type, event.metadata["reason"]) == (Event.FAILED, "stopped")
    (track,) = fake.last.tracks
    await eventually(lambda: track.drained > 0 or "the encoder still holds the last of it")
    assert track.published, "that has to be while the track is there"
    await eventually(lambda: not track.published or "still published")
    assert track.frames[-1][0] - asked < 0.1


async def test_stop_means_one_playback_one_track_or_all(bridge: Any, fake: FakeLiveKit, site: Site) -> None:
    site.files["clip"] = wav(30)
    await joined(bridge)
    calls = {name: bridge.PlayAudio(request(site.url("clip"), name, track_id=n)) for n, name in enumerate("abcd")}
    for call in calls.values():
        assert (await call.read()).type == Event.STARTED
    unknown = await bridge.StopAudio(pb.StopAudioRequest(user_id=USER, request_id="zzz"))
    assert not unknown.success
    one = await bridge.StopAudio(pb.StopAudioRequest(user_id=USER, request_id="b"))
    assert one.stopped_request_id == "b"
    track = await bridge.StopAudio(pb.StopAudioRequest(user_id=USER, track_id=2))
    assert track.stopped_request_id == "c"
    assert (await bridge.HealthCheck(pb.HealthCheckRequest())).metadata["playbacks"] == "2"
    assert (await bridge.StopAudio(pb.StopAudioRequest(user_id=USER))).success
    for call in calls.values():
        assert kinds(await events_of(call))[-1] == "FAILED"
    assert (await bridge.HealthCheck(pb.HealthCheckRequest())).metadata["playbacks"] == "0"
    nobody = await bridge.StopAudio(pb.StopAudioRequest(user_id="nobody"))
    assert nobody.error == "session not found"


async def test_a_newer_playback_takes_the_track_and_stop_other_takes_all(
    bridge: Any, fake: FakeLiveKit, site: Site
) -> None:
    site.files |= {"long": wav(30), "short": wav(0.2)}
    await joined(bridge)
    old = bridge.PlayAudio(request(site.url("long"), "old"))
    other = bridge.PlayAudio(request(site.url("long"), "other", track_id=1))
    for call in (old, other):
        assert (await call.read()).type == Event.STARTED
    new = await events_of(bridge.PlayAudio(request(site.url("short"), "new")))
    assert kinds(new) == ["STARTED", "COMPLETED"]
    assert (await events_of(old))[-1].metadata["reason"] == "replaced"
    assert len(fake.last.tracks) == 2, "the track is kept for the newer voice"
    await events_of(bridge.PlayAudio(request(site.url("short"), "alone", stop_other=True)))
    assert (await events_of(other))[-1].metadata["reason"] == "replaced"


async def test_a_room_that_stays_away_and_a_caller_who_leaves_end_it(
    bridge: Any, fake: FakeLiveKit, site: Site
) -> None:
    site.files["clip"] = wav(30)
    await joined(bridge)
    call = bridge.PlayAudio(request(site.url("clip")))
    assert (await call.read()).type == Event.STARTED
    fake.last.lose(LossReason.NETWORK)
    assert (await events_of(call))[-1].metadata["reason"] == "network"
    await joined(bridge)
    call = bridge.PlayAudio(request(site.url("clip")))
    assert (await call.read()).type == Event.STARTED
    call.cancel()
    await eventually(lambda: not fake.last.tracks[0].published or "still published")


async def test_a_clip_is_said_while_it_still_arrives(bridge: Any, fake: FakeLiveKit, site: Site) -> None:
    site.files["clip"] = encoded("mp3", "libmp3lame", 3, 44100, 2)
    await joined(bridge)
    events = await events_of(bridge.PlayAudio(request(site.url("slow")), timeout=patient(30)))
    assert kinds(events)[0] == "STARTED"
    assert events[-1].metadata["reason"] == "stalled"


async def test_a_playback_silences_live_sound_of_its_track(bridge: Any, fake: FakeLiveKit, site: Site) -> None:
    site.files["clip"] = wav(0.3)
    await joined(bridge)
    stream = await opened(bridge)
    await stream.write(pb.AudioChunk(pcm_data=b"\1\0" * 16000))
    await eventually(lambda: bool(fake.last.tracks))
    events = await events_of(bridge.PlayAudio(request(site.url("clip"))))
    assert kinds(events) == ["STARTED", "COMPLETED"]
    (track,) = fake.last.tracks
    assert track.pcm.rstrip(b"\0").endswith(tone(0.3, 16000).tobytes().rstrip(b"\0"))
    stream.cancel()


async def test_playbacks_are_limited(start: Callable[..., Any], fake: FakeLiveKit, site: Site) -> None:
    site.files["clip"] = wav(30)
    limits = PlaybackLimits(hosts=(f"127.0.0.1:{site.port}",), per_user=2)
    _, bridge = await start(playback=limits)
    await joined(bridge)
    calls = [bridge.PlayAudio(request(site.url("clip"), str(n), track_id=n)) for n in range(2)]
    for call in calls:
        assert (await call.read()).type == Event.STARTED
    (event,) = await events_of(bridge.PlayAudio(request(site.url("clip"), "x", track_id=5)))
    assert event.metadata["reason"] == "too_many"
    for call in calls:
        call.cancel()


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("192.168.1.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("0.0.0.0", False),
        ("::1", False),
        ("::", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("2001:0:7f00:1::", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("ff02::1", False),
        ("example.com", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public
