"""Numbers of a real bridge: of each worker on its own port, of all at the supervisor, whoever dies meanwhile."""

import os
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from glassbridge.bridge.config import BridgeConfig
from glassbridge.runtime.grpc_options import CHANNEL_OPTIONS
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub
from tests.bridge.test_processes import READY_WITHIN, Bridge, launch, up
from tests.support.poll import eventually_sync
from tests.telemetry.test_numbers import Samples, read

__all__ = ["launch"]


def scrape(address: str) -> Samples:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
        return read(answer.read().decode())


def fail_to_join(target: str) -> None:
    """A JoinRoom with a token that is none."""
    request = pb.JoinRoomRequest(user_id="ann", room_name="ann", token="t", livekit_url="ws://127.0.0.1:9")
    with grpc.insecure_channel(target, options=CHANNEL_OPTIONS) as channel:
        stub = LiveKitBridgeStub(channel)  # type: ignore[no-untyped-call]
        assert not stub.JoinRoom(request, timeout=10).success


def test_what_a_dead_worker_counted_stays_counted(launch: Callable[..., Bridge], tmp_path: Path) -> None:
    path = tmp_path / "b.sock"
    bridge = launch(workers=2, socket=str(path), metrics_port=0)
    up(bridge, f"unix:{path}.0", f"unix:{path}.1")
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


def test_workers_have_the_ports_after_the_supervisors() -> None:
    config = BridgeConfig(workers=2, metrics_port=9465)
    assert [config.worker_metrics_port(number) for number in range(2)] == [9466, 9467]
    assert BridgeConfig(workers=2, metrics_port=0).worker_metrics_port(1) == 0


@pytest.mark.parametrize("fields", [{}, {"metrics_port": None}])
def test_who_asks_for_no_numbers_gets_no_port(fields: dict[str, None]) -> None:
    assert BridgeConfig.from_json(BridgeConfig(**fields).to_json()).metrics_port is None  # type: ignore[arg-type]
