"""A13 to A17: what reaches the bridge past the cloud, and faults of the supervision that one worker may cost."""

import asyncio
import ctypes
import os
import random
import signal
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from time import monotonic, monotonic_ns
from typing import Any, Final

import grpc
import psutil

from glassbridge.core.values import UserId
from glassbridge.lab.bare_cloud import BareCloud
from glassbridge.lab.bystander import Assault, attack, needs_of
from glassbridge.lab.faults import frozen
from glassbridge.lab.hostile_livekit import MODES, serve, user_in
from glassbridge.lab.needs import LabError
from glassbridge.lab.scenario import always, most, never
from glassbridge.livekit.server import free_ports

PACKETS, PER_SECOND = 10_000, 2_000
TWO_WORKERS: Final = needs_of(workers=2)
BACK_WITHIN: Final = 20.0
JOIN_EVERY: Final = 0.5
HEARD_WITHIN: Final = 5.0
"""Seconds in which a bridge that replaces a worker for what it says has done so."""
JOIN_ANSWERED: Final = 13.0
"""Seconds; the bridge gives up a join after 10."""
SPARE_WITHIN: Final = 30.0


@attack(
    "A13",
    "garbage at the UDP ports of a participant",
    story=f"{PACKETS:,} datagrams of seven kinds at {PER_SECOND:,}/s",
    must=(never("joins"),),
)
async def garbage(assault: Assault) -> dict[str, float]:
    """Nobody answers a datagram that means nothing: `refused` is that the place in the room was kept."""
    system = assault.system
    pids = [system.a.bridge.pid, *(child.pid for child in psutil.Process(system.a.bridge.pid).children(recursive=True))]
    ports = sorted({(at.laddr.ip, at.laddr.port) for pid in pids for at in _udp(pid)})
    if not ports:
        raise LabError("the bridge has no UDP ports: is its participant in a room?")
    sent = await assault.by(send_garbage, ports=ports, count=assault.count(PACKETS), seed=system.seed)
    return {"refused": sent["sent"] > 0}


def _udp(pid: int) -> list[Any]:
    with suppress(psutil.Error):
        return list(psutil.Process(pid).net_connections("udp"))
    return []


async def send_garbage(ports: list[list[Any]], count: int, seed: int) -> dict[str, int]:
    chance = random.Random(seed)  # noqa: S311 - replayed by its seed
    sender = {
        socket.AF_INET: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        socket.AF_INET6: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
    }
    heads = (
        b"",  # nothing at all, or noise
        struct.pack(">HHI", 1, 0xFFFF, 0x2112A442),  # STUN, with a length that is not its own
        struct.pack(">HHI", 0x0101, 8, 0x2112A442) + bytes(12) + b"\x80\x2a\xff\xff",  # its attribute runs over
        b"\x16\xfe\xfd" + bytes(8) + b"\x40\x00\x01",  # DTLS
        b"\x80\x6f",  # RTP
        b"\x81\xc9\xff\xff",  # RTCP, longer than it is
        struct.pack(">HHI", 1, 8, 0x2112A442)
        + bytes(12)
        + b"\x00\x03\x00\x02\x00\x00\x00\x00",  # a number of two bytes
    )
    sent: Counter[str] = Counter(sent=0)
    for number in range(count):
        ip, port = chance.choice(ports)
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(ip, ip)  # noqa: S104 - where it listens, not we
        try:
            sender[family].sendto(
                heads[number % len(heads)] + chance.randbytes(chance.randrange(1_200)), (target, port)
            )
            sent["sent"] += 1
        except OSError:
            sent["not sent"] += 1
        if number % 20 == 19:
            await asyncio.sleep(20 / PER_SECOND)
    return sent


@attack(
    "A14",
    "a LiveKit server that is hostile",
    story=f"{len(MODES)} joins, each to a server that answers what none may, two a second",
    must=(never("unanswered"), never("joined"), always("same_worker")),
)
async def hostile_livekit(assault: Assault) -> dict[str, float]:
    system = assault.system
    modes = list(MODES)[:2] if assault.small else list(MODES)
    ports = dict(zip(modes, free_ports(len(modes)), strict=True))
    worker = system.worker_pid()
    answers = dict[str, str]()

    async def join(mode: str) -> None:
        await asyncio.sleep(modes.index(mode) * JOIN_EVERY)
        url = f"ws://127.0.0.1:{ports[mode]}"
        async with BareCloud(str(system.a.sockets[0]), url, system.keys) as cloud:
            try:
                answer = await cloud.join(UserId(user_in(mode)), 1, timeout=JOIN_ANSWERED)
                answers[mode] = "joined" if answer.success else answer.error or "no reason"
            except grpc.aio.AioRpcError as error:
                late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
                answers[mode] = "" if late else f"gRPC {error.code().name}: {error.details()}"

    serving = asyncio.create_task(assault.by(serve, ports=ports, seconds=5.0 if assault.small else 60.0))
    try:
        await _listening(ports.values())
        await asyncio.gather(*(join(mode) for mode in modes))
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    system.say(f"the bridge answered: {answers}")
    return {
        "unanswered": sum(not answer for answer in answers.values()),
        "joined": sum(answer == "joined" for answer in answers.values()),
        "same_worker": system.worker_pid() == worker and psutil.pid_exists(worker),
        "refused": not any("error inside" in answer or answer.startswith("gRPC") for answer in answers.values()),
    }


async def _listening(ports: Any) -> None:
    """Raises LabError."""
    deadline = monotonic() + 20.0
    for port in ports:
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                if monotonic() > deadline:
                    raise LabError("the hostile server does not listen") from None
                await asyncio.sleep(0.1)
            else:
                writer.close()
                break


# ---- supervision: two workers, the bystander is at one of them, and the other one suffers

_NOTHING: Final[dict[str, float]] = {}
"""What these attacks do in small: each one is as large as it can be."""


@attack(
    "A15",
    "the bridge can start no process",
    story="a worker and the spare are killed while nothing can be opened, for 5 s",
    needs=TWO_WORKERS,
    must=(most("back_s", BACK_WITHIN), always("bridge_lives"), never("joins")),
)
async def failing_fork(assault: Assault) -> dict[str, float]:
    """`refused`: the bridge says that it cannot start a worker; `back_s`: since it can."""
    if assault.small:
        return _NOTHING
    system, victim, begun = assault.system, _other_worker(assault), monotonic_ns()
    spare = await _spare(assault)
    with _no_descriptors(system.a.bridge.pid):
        os.kill(system.worker_pid(victim), signal.SIGKILL)
        os.kill(spare, signal.SIGKILL)
        await asyncio.sleep(5.0)
    back = await _back(assault, victim, monotonic_ns())
    return {"back_s": back, "bridge_lives": system.a.bridge.running, "refused": _complains(assault, begun)}


@attack(
    "A16",
    "a worker's lifeline says what nobody can read",
    story="three lines: a pong that is no number, a flight that is no JSON, 2 MiB without an end of line",
    needs=TWO_WORKERS,
    must=(most("back_s", BACK_WITHIN), never("joins")),
)
async def broken_lifeline(assault: Assault) -> dict[str, float]:
    """The worker may be replaced or not; when it is killed after that, it must be. `back_s`: from then on."""
    if assault.small:
        return _NOTHING
    system, victim, begun = assault.system, _other_worker(assault), monotonic_ns()
    pid = system.worker_pid(victim)
    lines = [b"pong much {\xff\n", b"flight {{{{\n", b"x" * (2 << 20) + b"\n"]
    with _descriptor_of(pid, _lifeline(pid)) as lifeline:
        await asyncio.to_thread(_write, lifeline, lines)
    back = await _back(assault, victim, begun, within=HEARD_WITHIN)
    if back == inf:
        killed = monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        back = await _back(assault, victim, killed)
    return {"back_s": back, "refused": _complains(assault, begun)}


@attack(
    "A17",
    "the spare is frozen when it is needed",
    story="the spare is stopped, and a second later a worker is killed",
    needs=TWO_WORKERS,
    must=(most("back_s", 8.0), never("joins")),
)
async def frozen_spare(assault: Assault) -> dict[str, float]:
    """A cold start takes about 3 s."""
    if assault.small:
        return _NOTHING
    system, victim, begun = assault.system, _other_worker(assault), monotonic_ns()
    with frozen(await _spare(assault)):
        await asyncio.sleep(1.0)
        killed = monotonic_ns()
        os.kill(system.worker_pid(victim), signal.SIGKILL)
        back = await _back(assault, victim, killed, within=40.0)
    return {"back_s": back, "refused": _complains(assault, begun)}


def _other_worker(assault: Assault) -> int:
    return 1 - assault.system.worker_of(assault.bystander)


async def _spare(assault: Assault) -> int:
    """Its process id, once it is warm. Raises LabError."""
    system, deadline = assault.system, monotonic() + SPARE_WITHIN
    while monotonic() < deadline and system.a.bridge.running:
        serving = {system.worker_pid(worker) for worker in (0, 1)}
        warm = {line["pid"] for line in system.logged("worker process is warm")}
        for child in psutil.Process(system.a.bridge.pid).children():
            if child.pid in warm - serving and "glassbridge.bridge.worker_process" in child.cmdline():
                return int(child.pid)
        await asyncio.sleep(0.1)
    raise LabError("the bridge has no warm spare worker")


async def _back(assault: Assault, worker: int, since_ns: int, within: float = BACK_WITHIN) -> float:
    """Seconds until that worker listens again; infinite: it does not within so many."""
    deadline = monotonic() + within
    while monotonic() < deadline:
        if lines := assault.system.logged("worker ready", None, since_ns, worker=worker):
            return float(lines[0]["at_ns"] - since_ns) / 1e9
        await asyncio.sleep(0.05)
    return inf


def _complains(assault: Assault, since_ns: int) -> bool:
    """The bridge has logged a warning or an error about it, and not that a task of its own failed."""
    lines = assault.system.logbook.find({"program": assault.system.a.bridge.name}, since_ns)
    told = [line["event"] for line in lines if line.get("level") in ("warning", "error")]
    return bool(told) and "supervisor task failed" not in told


@contextmanager
def _no_descriptors(pid: int) -> Iterator[None]:
    """The process can open nothing, and so start no other."""
    process = psutil.Process(pid)
    soft, hard = process.rlimit(psutil.RLIMIT_NOFILE)
    process.rlimit(psutil.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        with suppress(psutil.Error):
            process.rlimit(psutil.RLIMIT_NOFILE, (soft, hard))


def _lifeline(pid: int) -> int:
    """The descriptor of which a worker was told: see bridge/worker_process.py."""
    command = psutil.Process(pid).cmdline()
    return int(command[command.index("glassbridge.bridge.worker_process") + 1])


@contextmanager
def _descriptor_of(pid: int, number: int) -> Iterator[int]:
    """One more descriptor of what another process has open. Raises LabError where that is not allowed."""
    pidfd_getfd = 438  # the same number on each architecture
    process = os.pidfd_open(pid)
    libc = ctypes.CDLL(None, use_errno=True)
    found = libc.syscall(pidfd_getfd, process, number, 0)
    os.close(process)
    if found < 0:
        raise LabError(f"a worker's lifeline cannot be written to: {os.strerror(ctypes.get_errno())}")
    try:
        yield found
    finally:
        os.close(found)


def _write(descriptor: int, parts: list[bytes]) -> None:
    """Waits a little for a reader; one that reads no more gets no more."""
    until = monotonic() + 3.0
    for part in parts:
        rest = memoryview(part)
        while rest and monotonic() < until:
            try:
                rest = rest[os.write(descriptor, rest) :]
            except BlockingIOError:
                signal.sigtimedwait((), 0.005)
            except OSError:
                return
