"""`glassbridge bridge` as real processes: start, death, restart, signals, addresses."""

import ctypes
import json
import os
import resource
import select
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from glassbridge.runtime.grpc_options import CHANNEL_OPTIONS
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub
from tests.support import forked
from tests.support.bridge import words
from tests.support.patience import patient
from tests.support.poll import eventually_sync

READY_WITHIN = 30.0
HEALTH_EVERY = 0.2
"""Seconds of a quiet machine; a worker that misses five in a row is taken for frozen."""
PIDFD_GETFD = 438


class Bridge:
    """A running supervisor."""

    def __init__(self, process: "subprocess.Popen[str] | forked.Running", log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def workers(self) -> list[int]:
        try:
            return [child.pid for child in psutil.Process(self.process.pid).children()]
        except psutil.NoSuchProcess:
            return []

    @property
    def said(self) -> str:
        return self._log.read_text()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What it logged, in order."""
        return [json.loads(line) for line in self.said.splitlines() if line.startswith("{")]

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [found for found in self.events if found["event"] == event]

    def pid_of(self, worker: int) -> int:
        """Of the newest process that serves as this worker, once there is one."""

        def ready() -> list[int]:
            return [int(found["pid"]) for found in self.logged("worker ready") if found["worker"] == worker]

        eventually_sync(lambda: bool(ready()) or self.said, READY_WITHIN)
        return ready()[-1]

    def has_a_warm_spare(self) -> None:
        """Waits until one is there that serves nothing yet."""

        def warm() -> bool | str:
            used = {found["pid"] for found in self.logged("worker ready")}
            spare = [found for found in self.logged("worker process is warm") if found["pid"] not in used]
            return bool(used and spare) or f"no spare process; the log says {self.said}"

        eventually_sync(warm, READY_WITHIN, every=0.05)

    def ended_within(self, seconds: float) -> int:
        return self.process.wait(timeout=patient(seconds))


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Bridge]]:
    """Forks a bridge, or starts it as a user does, for tests of how it starts, what it imports and how it ends."""
    from glassbridge.bridge.config import BridgeConfig

    with ExitStack() as stack:

        def start(*, as_a_user_does: bool = False, **fields: Any) -> Bridge:
            log = tmp_path / f"log{len(list(tmp_path.glob('log*')))}"
            out = stack.enter_context(log.open("w"))
            argv = words(BridgeConfig(**fields))
            process = (
                subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT, text=True)
                if as_a_user_does
                else forked.Running(argv, out)
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return Bridge(process, log)

        yield start


def answer(target: str) -> pb.HealthCheckResponse | None:
    with grpc.insecure_channel(target, options=CHANNEL_OPTIONS) as channel:
        try:
            found: pb.HealthCheckResponse = LiveKitBridgeStub(channel).HealthCheck(  # type: ignore[no-untyped-call]
                pb.HealthCheckRequest(), timeout=1
            )
        except grpc.RpcError:
            return None
        return found


def up(bridge: Bridge, *targets: str) -> None:
    def ready() -> bool | str:
        assert bridge.process.poll() is None, bridge.said
        return all(map(answer, targets)) or f"no answer yet; the log says {bridge.said}"

    eventually_sync(ready, READY_WITHIN, every=0.1)


def gone(*pids: int) -> Callable[[], bool | str]:
    def check() -> bool | str:
        left = [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
        return not left or f"processes {left} are still here"

    return check


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_sigterm_stops_everything_and_leaves_nothing(launch: Callable[..., Bridge], tmp_path: Path) -> None:
    path = tmp_path / "run" / "bridge.sock"
    bridge = launch(as_a_user_does=True, socket=str(path))
    up(bridge, f"unix:{path}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    workers = bridge.workers
    assert len(workers) == 1
    begun = monotonic()
    bridge.process.send_signal(signal.SIGTERM)
    assert bridge.ended_within(5) == 0, bridge.said
    assert monotonic() - begun < patient(4)
    assert gone(*workers)() is True
    assert not path.exists()
    assert "bridge ready" in bridge.said
    assert "Traceback" not in bridge.said


def test_a_dead_worker_is_replaced_and_the_others_live_on(launch: Callable[..., Bridge], tmp_path: Path) -> None:
    path = tmp_path / "b.sock"
    bridge = launch(as_a_user_does=True, socket=str(path), workers=2)
    targets = [f"unix:{path}.{n}" for n in range(2)]
    up(bridge, *targets)
    first, second = (int(found.metadata["pid"]) for target in targets if (found := answer(target)))
    bridge.has_a_warm_spare()
    back = killed_and_back(first, targets[0])
    found = answer(targets[1])
    assert found is not None
    assert found.metadata["pid"] == str(second)
    assert back < patient(1.0), f"the worker was back after {back:.2f} s"
    (death,) = bridge.logged("worker died")
    assert (death["worker"], death["cause"]) == (0, "SIGKILL")
    bridge.process.send_signal(signal.SIGINT)
    assert bridge.ended_within(5) == 0, bridge.said
    assert not list(tmp_path.glob("b.sock*"))


def killed_and_back(pid: int, target: str) -> float:
    """Seconds from the kill of a worker until its successor answers."""
    os.kill(pid, signal.SIGKILL)
    return eventually_sync(
        lambda: (found := answer(target)) is not None and found.metadata["pid"] != str(pid), 8, every=0.005
    )


def test_workers_die_with_their_supervisor_and_the_sockets_are_had_again(
    launch: Callable[..., Bridge], tmp_path: Path
) -> None:
    path = tmp_path / "b.sock"
    bridge = launch(as_a_user_does=True, socket=str(path))
    up(bridge, f"unix:{path}")
    workers = bridge.workers
    bridge.process.kill()
    eventually_sync(gone(*workers), 3)
    again = launch(as_a_user_does=True, socket=str(path))
    up(again, f"unix:{path}")


def test_an_address_in_use_is_one_clear_line(launch: Callable[..., Bridge], tmp_path: Path) -> None:
    path, port = tmp_path / "b.sock", free_port()
    one, two = launch(socket=str(path), spare=False), launch(port=port, spare=False)
    up(one, f"unix:{path}")
    up(two, f"127.0.0.1:{port}")
    for fields, advice in (
        ({"socket": str(path)}, "is in use"),
        ({"port": port}, f"port {port} is in use"),
        ({"socket": str(tmp_path / ("x" * 120))}, "longer than"),
        ({"socket": str(tmp_path)}, "is no socket"),
        ({"host": "198.51.100.1"}, "cannot listen on"),
    ):
        late = launch(spare=False, **fields)
        assert late.ended_within(READY_WITHIN) == 1
        (line,) = (line for line in late.said.splitlines() if line.startswith("glassbridge: "))
        assert advice in line
        assert "Traceback" not in late.said
    assert answer(f"unix:{path}")
    assert answer(f"127.0.0.1:{port}")


def test_health_service_and_reflection(launch: Callable[..., Bridge], tmp_path: Path) -> None:
    path = tmp_path / "b.sock"
    bridge = launch(socket=str(path), reflection=True, spare=False)
    up(bridge, f"unix:{path}")
    with grpc.insecure_channel(f"unix:{path}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "mentra.livekit.bridge.LiveKitBridge"):
            found = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=patient(2))
            assert found.status == health_pb2.HealthCheckResponse.SERVING
        from google.protobuf.descriptor_pool import DescriptorPool
        from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        methods = {method.name for method in pool.FindServiceByName("mentra.livekit.bridge.LiveKitBridge").methods}
    assert methods == {
        "StreamAudio",
        "JoinRoom",
        "LeaveRoom",
        "PlayAudio",
        "StopAudio",
        "HealthCheck",
        "GetStatus",
    }


def test_a_frozen_worker_is_noticed_by_the_channel_and_does_not_hold_up_the_end(
    launch: Callable[..., Bridge], tmp_path: Path
) -> None:
    path = tmp_path / "b.sock"
    bridge = launch(socket=str(path), health_misses=60, spare=False)
    up(bridge, f"unix:{path}")
    with grpc.insecure_channel(f"unix:{path}", options=CHANNEL_OPTIONS) as channel:
        stub = LiveKitBridgeStub(channel)  # type: ignore[no-untyped-call]
        stub.HealthCheck(pb.HealthCheckRequest(), timeout=patient(2))
        worker = bridge.pid_of(0)
        os.kill(worker, signal.SIGSTOP)
        begun = monotonic()
        with pytest.raises(grpc.RpcError) as failure:
            stub.HealthCheck(pb.HealthCheckRequest(), timeout=patient(30))
        assert failure.value.code() == grpc.StatusCode.UNAVAILABLE
        assert monotonic() - begun < patient(5.0), "keep-alive pings must notice (traps 21)"
        os.kill(worker, signal.SIGCONT)

        def back() -> bool | str:
            try:
                return bool(stub.HealthCheck(pb.HealthCheckRequest(), timeout=patient(2)).metadata)
            except grpc.RpcError as error:
                return f"no answer after waking: {error}"

        eventually_sync(back, 5, every=0.1)
    assert bridge.process.poll() is None
    os.kill(worker, signal.SIGSTOP)
    bridge.process.send_signal(signal.SIGTERM)
    assert bridge.ended_within(5.5) == 0
    assert gone(worker)() is True
    assert not path.exists()


@pytest.mark.slow
def test_a_worker_that_dies_again_and_again_waits_longer_each_time(
    launch: Callable[..., Bridge], tmp_path: Path
) -> None:
    path = tmp_path / "b.sock"
    bridge = launch(socket=str(path), spare=False)
    up(bridge, f"unix:{path}")
    for life in range(3):
        eventually_sync(
            lambda life=life: len(bridge.logged("worker ready")) > life or bridge.said,  # type: ignore[misc]
            20,
        )
        os.kill(bridge.pid_of(0), signal.SIGKILL)
    eventually_sync(lambda: len(bridge.logged("worker died")) == 3 or bridge.said, 5)
    delays = [death["restart_in_s"] for death in bridge.logged("worker died")]
    assert delays[0] == 0.0
    assert all(delay <= ceiling for delay, ceiling in zip(delays[1:], (0.5, 1.0), strict=True)), delays
    assert {death["cause"] for death in bridge.logged("worker died")} == {"SIGKILL"}


def test_a_frozen_worker_is_replaced(launch: Callable[..., Bridge], tmp_path: Path) -> None:
    path = tmp_path / "b.sock"
    bridge = launch(socket=str(path), health_every=patient(HEALTH_EVERY), health_misses=5)
    up(bridge, f"unix:{path}")
    bridge.has_a_warm_spare()
    frozen = bridge.pid_of(0)
    os.kill(frozen, signal.SIGSTOP)
    back = eventually_sync(
        lambda: (found := answer(f"unix:{path}")) is not None and found.metadata["pid"] != str(frozen), 8
    )
    assert back > 0.8, "five questions in a row are to be missed"
    assert gone(frozen)() is True
    (death,) = bridge.logged("worker died")
    assert death["cause"].startswith("frozen")


def test_a_machine_that_slept_costs_no_worker(launch: Callable[..., Bridge], tmp_path: Path) -> None:
    path = tmp_path / "b.sock"
    bridge = launch(socket=str(path), health_every=patient(HEALTH_EVERY), health_misses=5)
    up(bridge, f"unix:{path}")
    bridge.has_a_warm_spare()
    worker = bridge.pid_of(0)
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in (bridge.process.pid, worker):
            os.kill(pid, number)
        if number is signal.SIGSTOP:
            Event().wait(patient(10 * HEALTH_EVERY))  # the fault itself: twice as long as a frozen worker is given
    eventually_sync(lambda: (found := answer(f"unix:{path}")) is not None and found.metadata["pid"] == str(worker), 5)
    Event().wait(patient(6 * HEALTH_EVERY))
    found = answer(f"unix:{path}")
    assert found is not None
    assert found.metadata["pid"] == str(worker), bridge.said
    assert not bridge.logged("worker died")


@pytest.mark.parametrize("address", ["unix", pytest.param("tcp", marks=pytest.mark.slow)])
def test_workers_are_recycled_one_after_the_other_and_the_address_always_answers(
    launch: Callable[..., Bridge], tmp_path: Path, address: str
) -> None:
    path, port = tmp_path / "b.sock", free_port()
    bridge = launch(**({"socket": str(path)} if address == "unix" else {"port": port}), workers=2)
    targets = [f"unix:{path}.{n}" if address == "unix" else f"127.0.0.1:{port + n}" for n in range(2)]
    up(bridge, *targets)
    bridge.has_a_warm_spare()
    before = [bridge.pid_of(number) for number in range(2)]
    bridge.process.send_signal(signal.SIGUSR1)
    eventually_sync(lambda: len(bridge.logged("worker ready")) == 4 or bridge.said, READY_WITHIN)
    after = [bridge.pid_of(number) for number in range(2)]
    assert not set(before) & set(after)
    assert [hand["worker"] for hand in bridge.logged("worker hands over")] == [0, 1]
    story = [
        (e["event"], e["worker"]) for e in bridge.events if e["event"] in ("worker stopped", "worker is asked to go")
    ]
    assert story[:3] == [("worker is asked to go", 0), ("worker stopped", 0), ("worker is asked to go", 1)]
    assert all(found["warm"] for found in bridge.logged("worker ready")[2:]), "nobody waits for imports"
    eventually_sync(gone(*before), 5)
    for target, pid in zip(targets, after, strict=True):
        found = answer(target)
        assert found is not None
        assert found.metadata["pid"] == str(pid)
    assert not bridge.logged("worker died")


@pytest.mark.slow
def test_a_worker_that_has_grown_is_recycled(launch: Callable[..., Bridge], tmp_path: Path) -> None:
    path = tmp_path / "b.sock"
    bridge = launch(as_a_user_does=True, socket=str(path), max_resident_mb=1.0, settled=0.5, health_every=0.1)
    up(bridge, f"unix:{path}")
    eventually_sync(lambda: len(bridge.logged("worker ready")) >= 2 or bridge.said, READY_WITHIN)
    assert bridge.logged("worker is asked to go")[0]["cause"].startswith("grown to")


@pytest.mark.slow
def test_the_end_of_the_supervisor_frees_the_port(launch: Callable[..., Bridge]) -> None:
    port = free_port()
    bridge = launch(as_a_user_does=True, port=port)
    up(bridge, f"127.0.0.1:{port}")
    bridge.has_a_warm_spare()
    workers = bridge.workers
    assert len(workers) == 2, "one that serves and one that is warm"
    bridge.process.kill()
    eventually_sync(gone(*workers), 3)
    again = launch(as_a_user_does=True, port=port)
    up(again, f"127.0.0.1:{port}")


def lifeline_of(bridge: Bridge, worker: int) -> socket.socket:
    """The worker's own end of its lifeline: what we write there, the supervisor takes for the worker's word."""
    ends = [int(arg) for arg in psutil.Process(worker).cmdline() if arg.isdecimal()]
    pidfd = os.pidfd_open(worker)
    try:
        return socket.socket(fileno=taken_over(pidfd, ends[0]))
    finally:
        os.close(pidfd)


def taken_over(pidfd: int, fd: int) -> int:
    """pidfd_getfd(2): a descriptor of another process."""
    libc = ctypes.CDLL(None, use_errno=True)
    found: int = libc.syscall(PIDFD_GETFD, pidfd, fd, 0)
    if found < 0:
        pytest.skip(f"this system gives no descriptor of another process: {os.strerror(ctypes.get_errno())}")
    return found


BAD_LINES = {
    "over-long": b"pong 1 " + b"x" * (3 << 20) + b"\n",
    "no number": b"pong much {}\n",
    "not finite": b"pong inf {}\n",
    "no JSON": b"pong 1.0 {{{{\n",
    "other JSON": b"pong 1.0 [1, 2]\n",
    "unknown word": b"hello there\n",
    "not UTF-8": b"\xff\xfe\xfd \xff\n",
    "empty": b"\n\n\n",
    "no flight": b'flight {"at_ms": 1, "passed": [["u", 1, 2]]}\n',
    "odd decision": b'flight {"at_ms": 1, "decision": {"generation": "x"}}\n',
    "deep": b'flight {"at_ms": 1, "decision": {"a": ' + b"[" * 100_000 + b"\n",
}


@pytest.mark.skipif(sys.platform != "linux", reason="pidfd_getfd is Linux's")
def test_no_line_on_the_lifeline_loses_the_worker(launch: Callable[..., Bridge], tmp_path: Path) -> None:
    path = tmp_path / "b.sock"
    bridge = launch(
        socket=str(path), health_every=patient(HEALTH_EVERY), health_misses=5, max_resident_mb=100_000.0, settled=0.1
    )
    up(bridge, f"unix:{path}")
    bridge.has_a_warm_spare()
    worker = bridge.pid_of(0)
    with lifeline_of(bridge, worker) as lifeline:
        for name, line in BAD_LINES.items():
            before = len(bridge.logged("worker line skipped"))
            lifeline.setblocking(True)  # the worker's own reading sets it otherwise
            sent = 0
            while sent < len(line):
                try:
                    sent += lifeline.send(line[sent:])
                except BlockingIOError:
                    select.select([], [lifeline], [], 5)
            if before < 5:
                eventually_sync(
                    lambda before=before: len(bridge.logged("worker line skipped")) > before or bridge.said,  # type: ignore[misc]
                    5,
                )
            assert answer(f"unix:{path}"), name
    Event().wait(patient(10 * HEALTH_EVERY))  # twice as long as a frozen worker is given
    found = answer(f"unix:{path}")
    assert found is not None
    assert found.metadata["pid"] == str(worker), bridge.said
    assert not bridge.logged("worker died")
    assert len(bridge.logged("worker line skipped")) == 5, "the first ones are told, all are counted"
    causes = [line["cause"] for line in bridge.logged("worker line skipped")]
    assert any(cause.startswith("it is longer than") for cause in causes), causes


def cold_start(launch: Callable[..., Bridge], path: Path) -> float:
    """Seconds that a successor takes without a spare process."""
    bridge = launch(as_a_user_does=True, socket=str(path), spare=False)
    up(bridge, f"unix:{path}")
    return killed_and_back(bridge.pid_of(0), f"unix:{path}")


def spare_of(bridge: Bridge) -> int:
    used = {found["pid"] for found in bridge.logged("worker ready")}
    return [int(found["pid"]) for found in bridge.logged("worker process is warm") if found["pid"] not in used][-1]


def test_a_frozen_spare_costs_what_a_cold_start_costs(launch: Callable[..., Bridge], tmp_path: Path) -> None:
    path = tmp_path / "b.sock"
    cold = cold_start(launch, tmp_path / "cold.sock")
    # nothing but the need for it finds it frozen
    bridge = launch(as_a_user_does=True, socket=str(path), health_every=60.0)
    up(bridge, f"unix:{path}")
    bridge.has_a_warm_spare()
    spare = spare_of(bridge)
    os.kill(spare, signal.SIGSTOP)
    back = killed_and_back(bridge.pid_of(0), f"unix:{path}")
    assert back < patient(2 * cold + 1.0), f"{back:.2f} s, {cold:.2f} s without a spare"
    eventually_sync(gone(spare), 3)
    assert bridge.logged("spare worker frozen")
    bridge.has_a_warm_spare()


def test_a_spare_that_freezes_or_dies_is_replaced_before_it_is_needed(
    launch: Callable[..., Bridge], tmp_path: Path
) -> None:
    path = tmp_path / "b.sock"
    bridge = launch(socket=str(path), health_every=patient(HEALTH_EVERY), health_misses=5)
    up(bridge, f"unix:{path}")
    for number, event in ((signal.SIGSTOP, "spare worker frozen"), (signal.SIGKILL, "spare worker died")):
        bridge.has_a_warm_spare()
        spare = spare_of(bridge)
        os.kill(spare, number)
        eventually_sync(lambda event=event: bool(bridge.logged(event)) or bridge.said, 5)  # type: ignore[misc]
        eventually_sync(lambda spare=spare: spare_of(bridge) != spare or bridge.said, READY_WITHIN)  # type: ignore[misc]
    back = killed_and_back(bridge.pid_of(0), f"unix:{path}")
    assert back < patient(1.0), f"the worker was back after {back:.2f} s"


def test_a_system_that_gives_no_descriptor_costs_only_the_worker_that_died(
    launch: Callable[..., Bridge], tmp_path: Path
) -> None:
    path = tmp_path / "b.sock"
    bridge = launch(as_a_user_does=True, socket=str(path), workers=2, spare=False)
    targets = [f"unix:{path}.{n}" for n in range(2)]
    up(bridge, *targets)
    first, second = bridge.pid_of(0), bridge.pid_of(1)
    _, hard = resource.prlimit(bridge.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(bridge.process.pid, resource.RLIMIT_NOFILE, (4, hard))
    os.kill(first, signal.SIGKILL)
    eventually_sync(lambda: len(bridge.logged("worker cannot be started")) >= 3 or bridge.said, 15)
    assert bridge.process.poll() is None
    found = answer(targets[1])
    assert found is not None
    assert found.metadata["pid"] == str(second)
    told = bridge.logged("worker cannot be started")
    assert {each["error"] for each in told} == {"Too many open files"}
    assert all(each["restart_in_s"] <= 10 for each in told)
    bridge.process.send_signal(signal.SIGUSR1)
    eventually_sync(lambda: bool(bridge.logged("recycling stopped")) or bridge.said, 5)
    resource.prlimit(bridge.process.pid, resource.RLIMIT_NOFILE, (hard, hard))
    eventually_sync(lambda: answer(targets[0]) is not None, READY_WITHIN)
    found = answer(targets[1])
    assert found is not None
    assert found.metadata["pid"] == str(second)
    bridge.process.send_signal(signal.SIGTERM)
    assert bridge.ended_within(8) == 0, bridge.said


def test_a_hangup_costs_no_worker(launch: Callable[..., Bridge], tmp_path: Path) -> None:
    path = tmp_path / "b.sock"
    bridge = launch(socket=str(path))
    up(bridge, f"unix:{path}")
    bridge.has_a_warm_spare()
    worker, spare = bridge.pid_of(0), spare_of(bridge)
    for pid in (bridge.process.pid, worker, spare):
        os.kill(pid, signal.SIGHUP)
    eventually_sync(lambda: len(bridge.logged("SIGHUP ignored")) == 2 or bridge.said, 5)
    os.kill(worker, signal.SIGKILL)
    eventually_sync(lambda: (found := answer(f"unix:{path}")) is not None and found.metadata["pid"] == str(spare), 8)
    bridge.process.send_signal(signal.SIGTERM)
    assert bridge.ended_within(5) == 0, bridge.said


def test_a_worker_does_not_load_ffmpeg_and_its_decoder_is_warm(launch: Callable[..., Bridge], tmp_path: Path) -> None:
    """PyAV, numpy and soxr took 28 MB of each worker, and FFmpeg is not trusted with it."""
    bridge = launch(as_a_user_does=True, socket=str(tmp_path / "b.sock"))

    def warm() -> bool | str:
        return bool(bridge.logged("decoder started")) or "no decoder"

    eventually_sync(warm, READY_WITHIN)
    bridge.has_a_warm_spare()
    (decoder,) = {event["pid"] for event in bridge.logged("decoder started")}
    maps = {pid: Path(f"/proc/{pid}/maps").read_text() for pid in [*bridge.workers, decoder]}
    assert len(maps) == 3
    assert {pid for pid, mapped in maps.items() if "libavcodec" in mapped} == {decoder}
    assert not any("numpy" in mapped for mapped in maps.values())
