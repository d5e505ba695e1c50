"""Numbers of a real bridge: of each worker on its own port, of all at the supervisor, whoever dies meanwhile."""

import os
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from glassbridge.bridge.config import BridgeConfig, PlaybackLimits
from glassbridge.runtime.grpc_options import CHANNEL_OPTIONS
from glassbridge.telemetry import exposition, metrics
from glassbridge.telemetry.numbers import Program
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.audio_frames import TOPIC_NUMBERED, FrameNumber, encode_numbered
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub
from tests.bridge.conftest import USER, joined, next_audio, opened
from tests.bridge.site import Site, events_of, request, site, wav
from tests.bridge.test_processes import READY_WITHIN, Bridge, launch, up
from tests.bridge.test_stream import PCM
from tests.support.fake_participant import FakeLiveKit
from tests.support.patience import patient
from tests.support.poll import eventually, eventually_sync
from tests.telemetry.test_numbers import Samples, read

__all__ = ["launch", "site"]


def scrape(address: str) -> Samples:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
        return read(answer.read().decode())


def fail_to_join(target: str) -> None:
    """A JoinRoom with a token that is none."""
    request = pb.JoinRoomRequest(user_id="ann", room_name="ann", token="t", livekit_url="ws://127.0.0.1:9")
    with grpc.insecure_channel(target, options=CHANNEL_OPTIONS) as channel:
        stub = LiveKitBridgeStub(channel)  # type: ignore[no-untyped-call]
        assert not stub.JoinRoom(request, timeout=patient(10)).success


def test_what_a_dead_worker_counted_stays_counted(launch: Callable[..., Bridge], tmp_path: Path) -> None:
    path = tmp_path / "b.sock"
    bridge = launch(workers=2, socket=str(path), metrics_port=0)
    up(bridge, f"unix:{path}.0", f"unix:{path}.1")
    eventually_sync(lambda: bool(bridge.logged("bridge ready")) or bridge.said, READY_WITHIN)
    address = str(bridge.logged("bridge ready")[0]["metrics"])

    def of(found: Samples, name: str, worker: str, **labels: str) -> float | None:
        return found.get(("glassbridge_" + name, frozenset({"worker": worker, **labels}.items())))

    def told(name: str, worker: str, wanted: float | None, **labels: str) -> None:
        def is_told() -> bool | str:
            is_now = of(scrape(address), name, worker, **labels)
            return is_now == wanted or f"{name} of worker {worker} is {is_now}, not {wanted}; {bridge.said[-2000:]}"

        eventually_sync(is_told, READY_WITHIN, every=0.1)

    failed = {"result": "failed", "reason": "token_refused"}
    fail_to_join(f"unix:{path}.0")
    told("room_joins_total", "0", 1, **failed)
    told("room_joins_total", "1", None, **failed)
    own = next(str(line["metrics"]) for line in bridge.logged("worker listening") if line["worker"] == 0)
    joins = ("glassbridge_room_joins_total", frozenset(failed.items()))
    assert scrape(own)[joins] == 1, "each worker tells of itself, too"
    found = scrape(address)
    assert ("process_resident_memory_bytes", frozenset({("worker", "")})) in found
    assert ("process_resident_memory_bytes", frozenset({("worker", "1")})) in found

    bridge.has_a_warm_spare()
    os.kill(bridge.pid_of(0), signal.SIGKILL)
    told("worker_ends_total", "0", 1, cause="died")
    told("room_joins_total", "0", 1, **failed)
    told("worker_up", "0", 1)
    up(bridge, f"unix:{path}.0")
    fail_to_join(f"unix:{path}.0")
    told("room_joins_total", "0", 2, **failed)
    assert of(scrape(address), "worker_up", "1") == 1
    assert of(scrape(address), "worker_ends_total", "1", cause="died") is None


def counted(name: str, **labels: str) -> float:
    """What this process has counted, or shows, now; 0 where it has nothing."""
    body, _ = exposition.text([((), metrics.snapshot(Program.WORKER))])
    return read(body.decode()).get(("glassbridge_" + name, frozenset(labels.items())), 0.0)


async def test_a_worker_counts_rooms_frames_and_what_becomes_of_them(
    start: Callable[..., Any], fake: FakeLiveKit
) -> None:
    _, bridge = await start(max_age=60.0)
    watched = {
        "room_joins_total": {"result": "joined", "reason": ""},
        "room_join_seconds_count": {},
        "replacements_total": {},
        "rooms_lost_total": {"reason": "replaced"},
        "frames_received_total": {"hop": "room"},
        "frames_delivered_total": {"hop": "bridge"},
        "frames_dropped_total": {"hop": "bridge", "reason": "malformed"},
        "audio_age_seconds_count": {"hop": "bridge"},
    }
    before = {name: counted(name, **labels) for name, labels in watched.items()}
    assert (counted("rooms", state="joined"), counted("streams")) == (0, 0)
    await joined(bridge, generation=1)
    await joined(bridge, generation=2)
    assert counted("room_unclaimed_seconds") > 0.0, "no stream has claimed it yet"
    call = await opened(bridge, generation=2)
    assert (counted("rooms", state="joined"), counted("streams")) == (1, 1)
    assert counted("room_unclaimed_seconds") == 0.0
    for position in range(3):
        fake.last.packet(encode_numbered(FrameNumber(1, position, position), PCM), TOPIC_NUMBERED)
    fake.last.packet(b"")
    for _ in range(3):
        await next_audio(call)
    grown = {"room_joins_total": 2, "room_join_seconds_count": 2, "frames_received_total": 3}
    grown |= {"frames_delivered_total": 3, "audio_age_seconds_count": 3}

    def all_counted() -> bool | str:
        found = {name: counted(name, **labels) - before[name] for name, labels in watched.items()}
        wanted = {name: grown.get(name, 1) for name in watched}
        return found == wanted or f"{wanted}; counted {found}"

    await eventually(all_counted)
    call.cancel()
    await eventually(lambda: counted("rooms", state="joined") == counted("streams") == 0 or "the room to be left")


async def test_playbacks_are_counted_by_how_they_end(start: Callable[..., Any], fake: FakeLiveKit, site: Site) -> None:
    _, bridge = await start(playback=PlaybackLimits(hosts=("127.0.0.1",)))
    site.files |= {"short": wav(0.1), "long": wav(5.0)}
    await joined(bridge)
    results = ("completed", "failed", "cancelled")
    before = {result: counted("playbacks_total", result=result) for result in results}
    begun = counted("playback_start_seconds_count")
    await events_of(bridge.PlayAudio(request(site.url("short"))))
    call = bridge.PlayAudio(request(site.url("long")))
    assert (await call.read()).type == pb.PlayAudioEvent.STARTED
    assert counted("playbacks") == 1
    await bridge.StopAudio(pb.StopAudioRequest(user_id=USER), timeout=patient(5))
    await events_of(call)
    call = bridge.PlayAudio(request(site.url("long")))
    assert (await call.read()).type == pb.PlayAudioEvent.STARTED
    call.cancel()

    def all_counted() -> bool | str:
        found = {result: counted("playbacks_total", result=result) - before[result] for result in results}
        return found == dict.fromkeys(results, 1) or str(found)

    await eventually(all_counted)
    assert counted("playback_start_seconds_count") - begun == 3
    await eventually(lambda: counted("playbacks") == 0 or "none to be left")


def test_workers_have_the_ports_after_the_supervisors() -> None:
    config = BridgeConfig(workers=2, metrics_port=9465)
    assert [config.worker_metrics_port(number) for number in range(2)] == [9466, 9467]
    assert BridgeConfig(workers=2, metrics_port=0).worker_metrics_port(1) == 0


@pytest.mark.parametrize("fields", [{}, {"metrics_port": None}])
def test_who_asks_for_no_numbers_gets_no_port(fields: dict[str, None]) -> None:
    assert BridgeConfig.from_json(BridgeConfig(**fields).to_json()).metrics_port is None  # type: ignore[arg-type]
