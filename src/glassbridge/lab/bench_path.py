"""`glassbridge bench path`: what the path from a phone's packet to the gRPC stream costs, beside its floor.

One run measures, with the same phones on the same livekit-server and one after the other: the floor (bare participants
on the official SDK, nothing behind them), our bridge as a real process, then replaced joins under live audio. Absolute
figures move with the machine; the ratios of one run do not.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psutil

from glassbridge.core.values import UserId, user_id
from glassbridge.lab.stamps import Arrival, Stamp
from glassbridge.livekit.binary import provide_binary
from glassbridge.livekit.server import LiveKitServer
from glassbridge.livekit.tokens import LiveKitKeys, agent_token, phone_token
from glassbridge.runtime.grpc_options import CHANNEL_OPTIONS
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub

JOIN_TIMEOUT = 20.0
TOKEN_TTL = 3600.0
ROOMS_PER_PHONE_PROCESS = 5


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles in milliseconds of `n` measurements."""

    n: int
    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread | None":
        """None when there is nothing to measure."""
        ordered = sorted(values)
        if not ordered:
            return None

        def at(share: float) -> float:
            return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)

        return cls(len(ordered), at(0.50), at(0.95), at(0.99), round(ordered[-1], 2))


@dataclass(slots=True)
class Side:
    """What one side of the comparison (the floor, or ours) measured."""

    join_ms: Spread | None = None
    first_audio_ms: Spread | None = None
    """From the start of the join to the first PCM at the consumer."""
    latency_ms: Spread | None = None
    """From the phone's send to the consumer."""
    frames_sent: int = 0
    frames_lost: int = 0
    cpu_ms_per_session_second: dict[str, float] = field(default_factory=dict)
    """By process; the consumer of our side is the process that plays the cloud."""
    memory_base_mb: float = 0.0
    memory_per_session_mb: float = 0.0
    rejoin_ms: Spread | None = None
    rejoin_first_audio_ms: Spread | None = None
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PathConfig:
    """How to measure; times in seconds."""

    sessions: int = 10
    frame_ms: int = 100
    seconds: float = 15.0
    replaces: int = 20
    workers: int = 1
    participant: str = "own"
    livekit_bin: Path | None = None
    """livekit-server; None: found as always (livekit/binary.py)."""


class Child:
    """A load process of ours (lab/bench_load.py) that answers in JSON lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid

    async def tell(self, **message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        await self.process.stdin.drain()

    async def hear(self, event: str, timeout: float = 60) -> dict[str, Any]:
        """The next line of that event. Raises RuntimeError when the child ends first, TimeoutError."""
        assert self.process.stdout is not None
        async with asyncio.timeout(timeout):
            while line := await self.process.stdout.readline():
                message: dict[str, Any] = json.loads(line)
                if message.get("event") == event:
                    return message
        raise RuntimeError(f"a load process ended before it said {event!r}")


@asynccontextmanager
async def load_child(role: str, config: dict[str, Any]) -> AsyncIterator[Child]:
    """Starts one and waits until it is ready; kills it when it does not end by itself."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "glassbridge.lab.bench_load",
        role,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 28,
    )
    child = Child(process)
    try:
        await child.tell(**config)
        await child.hear("ready")
        yield child
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()


class CpuMeter:
    """CPU and memory of named processes, with their children."""

    def __init__(self, **pids: int | None) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU so far, by name."""
        return {name: sum(sum(p.cpu_times()[:2]) for p in self._tree(name)) for name in self._processes}

    def memory(self, name: str) -> float:
        """Resident megabytes."""
        return sum(float(p.memory_info().rss) for p in self._tree(name)) / 1e6

    def _tree(self, name: str) -> list[psutil.Process]:
        process = self._processes[name]
        return [process, *process.children(recursive=True)]


class Consumer:
    """Plays the cloud for one user: joins by gRPC, opens the stream, stamps what arrives."""

    def __init__(self, stub: LiveKitBridgeStub, user: UserId, url: str, keys: LiveKitKeys) -> None:
        self._stub = stub
        self._user = user
        self._url = url
        self._keys = keys
        self._call: Any = None
        self._reader: asyncio.Task[None] | None = None
        self.arrived: list[Arrival] = []
        self._first: asyncio.Future[int] | None = None
        self.errors: list[str] = []

    async def join(self) -> tuple[float, float]:
        """(milliseconds of JoinRoom, milliseconds from its start to the first PCM); replaces what is there."""
        request = pb.JoinRoomRequest(
            user_id=self._user,
            room_name=self._user,
            token=agent_token(self._keys, user=self._user, room=self._user, ttl=TOKEN_TTL),
            livekit_url=self._url,
            target_identity=self._user,
        )
        old_call, old_reader, self._call = self._call, self._reader, None
        begin = time.monotonic_ns()
        answer = await self._stub.JoinRoom(request, timeout=JOIN_TIMEOUT)
        joined = time.monotonic_ns()
        if not answer.success:
            raise RuntimeError(f"JoinRoom: {answer.error}")
        self._first = asyncio.get_running_loop().create_future()
        call = self._call = self._stub.StreamAudio()
        await call.write(pb.AudioChunk(user_id=self._user, sample_rate=16_000, channels=1))
        self._reader = asyncio.create_task(self._read(call))
        first = await asyncio.wait_for(self._first, JOIN_TIMEOUT)
        if old_call is not None and old_reader is not None:
            old_call.cancel()
            await asyncio.wait([old_reader], timeout=5)
        return (joined - begin) / 1e6, (first - begin) / 1e6

    async def _read(self, call: Any) -> None:
        try:
            async for chunk in call:
                now = time.monotonic_ns()
                stamp = Stamp.read(chunk.pcm_data)
                if stamp is None:
                    continue
                self.arrived.append((stamp.sequence, stamp.sent_ns, now))
                if self._first is not None and not self._first.done() and call is self._call:
                    self._first.set_result(now)
        except grpc.aio.AioRpcError as error:
            if call is self._call:
                self.errors.append(f"StreamAudio: {error.code().name}")
        except asyncio.CancelledError:
            if call is self._call:
                raise

    async def leave(self) -> None:
        """Leaves the room; whatever the bridge answers is good enough."""
        call, self._call = self._call, None
        await self._stub.LeaveRoom(pb.LeaveRoomRequest(user_id=self._user, reason="bench"), timeout=10)
        if call is not None:
            call.cancel()
        if self._reader is not None:
            await asyncio.wait([self._reader], timeout=5)


async def measure(config: PathConfig, say: Any = lambda text: None) -> dict[str, Any]:
    """Runs it and returns the report as plain data: `floor`, `ours`, `ratio`, `config`.

    Raises UserError when no livekit-server can be had. Safe to cancel: every process ends.
    """
    users = [user_id(f"bench-{index:04d}@example.test") for index in range(config.sessions)]
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="glassbridge-bench-")))
        keys = LiveKitKeys("benchkey", "bench-only-secret-of-at-least-32-chars")
        say("starting livekit-server and phones")
        server = await stack.enter_async_context(LiveKitServer(await provide_binary(config.livekit_bin, say), keys))
        phones = []
        for first in range(0, config.sessions, ROOMS_PER_PHONE_PROCESS):
            tokens = [
                phone_token(keys, user=u, room=u, ttl=TOKEN_TTL) for u in users[first : first + ROOMS_PER_PHONE_PROCESS]
            ]
            load = {"url": server.url, "tokens": tokens, "first": first, "frame_ms": config.frame_ms}
            phones.append(await stack.enter_async_context(load_child("phones", load)))
        for child in phones:
            await child.tell(do="start", at_ns=time.monotonic_ns() + 200_000_000)
        say("measuring the floor: bare SDK participants")
        floor = await measure_floor(config, server.url, server.pid, keys, users)
        say("measuring our bridge")
        ours = await measure_bridge(config, server.url, server.pid, keys, users, folder / "bridge.sock", say)
        for child in phones:
            await child.tell(do="stop")
            await child.hear("sent")
    return {"config": asdict(config), "floor": asdict(floor), "ours": asdict(ours), "ratio": ratios(floor, ours)}


async def measure_floor(
    config: PathConfig, url: str, server_pid: int | None, keys: LiveKitKeys, users: list[UserId]
) -> Side:
    """The least that a participant on the official SDK reaches here and now."""
    side = Side()
    tokens = [agent_token(keys, user=u, room=u, ttl=TOKEN_TTL) for u in users]
    async with load_child("floor", {"url": url, "tokens": tokens}) as child:
        meter = CpuMeter(participant=child.pid, livekit=server_pid)
        side.memory_base_mb = round(meter.memory("participant"), 1)
        await child.tell(do="join")
        joins = [await child.hear("joined") for _ in users]
        side.join_ms = Spread.of(j["join_ms"] for j in joins)
        side.first_audio_ms = Spread.of(j["audio_ms"] for j in joins)
        window = await steady(config, meter, side, "participant")
        await child.tell(do="stop")
        arrived = (await child.hear("arrived"))["stamps"]
        account(side, window, arrived)
    return side


async def measure_bridge(
    config: PathConfig, url: str, server_pid: int | None, keys: LiveKitKeys, users: list[UserId], socket: Path, say: Any
) -> Side:
    """Our bridge as a real process, this process playing the cloud."""
    side = Side()
    async with bridge_process(config, socket) as pid, AsyncExitStack() as stack:
        targets = [f"unix:{socket}"] if config.workers == 1 else [f"unix:{socket}.{k}" for k in range(config.workers)]
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(t, options=CHANNEL_OPTIONS)) for t in targets
        ]
        stubs = [LiveKitBridgeStub(channel) for channel in channels]  # type: ignore[no-untyped-call]
        for stub in stubs:
            await stub.HealthCheck(pb.HealthCheckRequest(), timeout=20, wait_for_ready=True)
        consumers = [Consumer(stubs[i % len(stubs)], user, url, keys) for i, user in enumerate(users)]
        meter = CpuMeter(bridge=pid, livekit=server_pid, consumer=psutil.Process().pid)
        side.memory_base_mb = round(meter.memory("bridge"), 1)
        joins = [await consumer.join() for consumer in consumers]
        side.join_ms = Spread.of(j[0] for j in joins)
        side.first_audio_ms = Spread.of(j[1] for j in joins)
        window = await steady(config, meter, side, "bridge")
        account(side, window, [consumer.arrived for consumer in consumers])
        say(f"replacing {config.replaces} joins under live audio")
        again = []
        for number in range(config.replaces):
            try:
                again.append(await consumers[number % len(consumers)].join())
            except (RuntimeError, TimeoutError, grpc.aio.AioRpcError) as error:
                side.errors.append(f"replace {number}: {type(error).__name__}")
        side.rejoin_ms = Spread.of(j[0] for j in again)
        side.rejoin_first_audio_ms = Spread.of(j[1] for j in again)
        side.errors += [error for consumer in consumers for error in consumer.errors]
        await asyncio.gather(*(consumer.leave() for consumer in consumers))
    return side


@asynccontextmanager
async def bridge_process(config: PathConfig, socket: Path) -> AsyncIterator[int]:
    """`glassbridge bridge` as an operator starts it, but for the spare, whose imports would count as load; yields the
    pid of its supervisor."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "glassbridge", "bridge", "--socket", str(socket)),
        *("--workers", str(config.workers), "--participant", config.participant, "--no-spare"),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 6)
            except TimeoutError:
                process.kill()
                await process.wait()


async def steady(config: PathConfig, meter: CpuMeter, side: Side, measured: str) -> tuple[int, int]:
    """Lets things settle, then measures CPU over the window and memory at its end; returns the window (ns)."""
    await asyncio.sleep(2)
    before, begin = meter.cpu(), time.monotonic_ns()
    await asyncio.sleep(config.seconds)
    after, end = meter.cpu(), time.monotonic_ns()
    session_seconds = (end - begin) / 1e9 * config.sessions
    side.cpu_ms_per_session_second = {
        name: round((after[name] - before[name]) * 1000 / session_seconds, 2) for name in after
    }
    grown = meter.memory(measured) - side.memory_base_mb
    side.memory_per_session_mb = round(grown / config.sessions, 2)
    await asyncio.sleep(0.5)
    return begin, end


def account(side: Side, window: tuple[int, int], arrived: Iterable[Iterable[Arrival]]) -> None:
    """Latency and loss of the frames that were sent inside the window, by their sequence numbers."""
    begin, end = window
    latencies: list[float] = []
    for frames in arrived:
        inside = {sequence: got - sent for sequence, sent, got in frames if begin <= sent < end}
        latencies += [ns / 1e6 for ns in inside.values()]
        sent_inside = max(inside) - min(inside) + 1 if inside else 0
        side.frames_sent += sent_inside
        side.frames_lost += sent_inside - len(inside)
        if not inside:
            side.errors.append("a session received nothing")
    side.latency_ms = Spread.of(latencies)


def ratios(floor: Side, ours: Side) -> dict[str, float]:
    """Ours over the floor, by row."""

    def p50(side: Side, name: str) -> float:
        spread = getattr(side, name)
        return spread.p50 if spread else 0.0

    pairs = {name: (p50(ours, name), p50(floor, name)) for name in ("join_ms", "first_audio_ms", "latency_ms")}
    pairs["cpu"] = (ours.cpu_ms_per_session_second["bridge"], floor.cpu_ms_per_session_second["participant"])
    return {name: round(a / b, 2) for name, (a, b) in pairs.items() if b}


def table(report: dict[str, Any]) -> str:
    """The report as people read it."""
    floor, ours, ratio = report["floor"], report["ours"], report["ratio"]

    def spread(value: dict[str, float] | None) -> str:
        return "-" if value is None else f"{value['p50']:.1f} / {value['p95']:.1f} / {value['p99']:.1f}"

    def cpu(side: dict[str, Any]) -> str:
        return ", ".join(f"{name} {ms:.1f}" for name, ms in side["cpu_ms_per_session_second"].items())

    def memory(side: dict[str, Any]) -> str:
        return f"{side['memory_base_mb']:.0f} + {side['memory_per_session_mb']:.2f} each"

    def lost(side: dict[str, Any]) -> str:
        return f"{side['frames_lost']} of {side['frames_sent']}"

    rows = [
        ("JoinRoom, ms p50/p95/p99", spread(ours["join_ms"]), spread(floor["join_ms"]), ratio.get("join_ms")),
        (
            "join to first audio, ms",
            spread(ours["first_audio_ms"]),
            spread(floor["first_audio_ms"]),
            ratio.get("first_audio_ms"),
        ),
        ("one-way latency, ms", spread(ours["latency_ms"]), spread(floor["latency_ms"]), ratio.get("latency_ms")),
        ("CPU, ms per session-second", cpu(ours), cpu(floor), ratio.get("cpu")),
        ("memory, MB", memory(ours), memory(floor), None),
        ("frames lost", lost(ours), lost(floor), None),
        ("replaced join, ms", spread(ours["rejoin_ms"]), "", None),
        ("replaced join to audio, ms", spread(ours["rejoin_first_audio_ms"]), "", None),
    ]
    head = ("", "ours", "floor (bare SDK)", "ratio")
    lines = [(name, a, b, "" if r is None else f"{r:.2f}") for name, a, b, r in rows]
    widths = [max(len(row[i]) for row in [head, *lines]) for i in range(4)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *lines]]
    errors = ours["errors"]
    text.append(f"errors: {len(errors)}" + (f" ({errors[0]})" if errors else ""))
    return "\n".join(text)
