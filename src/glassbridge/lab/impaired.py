"""A network that is as bad as told: phones in a network namespace of their own, and a forwarder between it and ours.

Two TUN devices and a loop that reads packets from the one and writes them to the other, later, twice, or never. Nothing
of the kernel's traffic control is needed. Root is (`available`).
"""

import asyncio
import fcntl
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self

from glassbridge.lab.portal import Portal, ports
from glassbridge.runtime.child import Child
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.tasks import cancelled

_NET = "10.77.0."
SERVER, PHONE = f"{_NET}1", f"{_NET}2"
"""Addresses on the two ends of the wire. Both live in namespaces of our own."""
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_MTU = 1500
_TCP, _UDP = 6, 17
_DEVICES = "/proc/self/net/dev"
_RECEIVED_DROPS, _SENT_DROPS = 3, 11
"""Columns of that file, behind the device's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Impairment:
    """What one direction does to packets. Times in seconds."""

    loss: float = 0.0
    """Share of packets that are lost, each by itself."""
    burst: tuple[float, float] = (0.0, 0.0)
    """(length, period): everything is lost for `length` at the end of each `period`."""
    delay: float = 0.0
    jitter: float = 0.0
    """Each packet takes up to that much longer, evenly distributed: packets overtake each other."""
    duplicate: float = 0.0
    """Share of packets that come twice."""
    rate: float = 0.0
    """bit/s; 0: no limit."""
    later: tuple[float, float] = (0.0, 0.0)
    """(seconds after the wire was made bad, bit/s): another rate from then on; a rate of 0: it stays."""
    queue: float = 1.0
    """Seconds that a packet may wait for the rate; what would wait longer is lost."""
    mtu: int = 0
    """Packets over so many bytes vanish without an ICMP message; 0: none do."""
    slow: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """(from, until, delay): a further delay for a while after the wire was made bad."""
    blocks_udp: bool = False
    blocks_tcp: int = 0
    """Of this port nothing passes; 0: none is blocked."""
    blocks_from: float = 0.0
    """Seconds after the wire was made bad from which on the blocks hold."""
    portal: tuple[float, float] = (0.0, 0.0)
    """(from, until): a sign-in page answers in place of every server, and no UDP passes."""
    moves_at: float = 0.0
    """When the phone gets another address, and the one before is dead; 0: never."""


CLEAR = Impairment()


class Direction:
    """Packets one way. `change` may replace or drop them, `deliver` gets each at its time."""

    def __init__(
        self,
        deliver: Callable[[bytes], None],
        chance: random.Random,
        change: Callable[[bytes], bytes | None] = lambda packet: packet,
    ) -> None:
        self._deliver = deliver
        self._change = change
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._free_at = 0.0
        self.begin(CLEAR)

    def begin(self, impairment: Impairment) -> None:
        """From now on packets are treated so; those on their way go on."""
        self.impairment = impairment
        self._begun = self._loop.time()

    def take(self, given: bytes) -> None:
        """One packet of IPv4."""
        if (packet := self._change(given)) is None:
            return
        bad, now, chance = self.impairment, self._loop.time(), self._chance
        length, period = bad.burst
        if (
            chance.random() < bad.loss
            or (bad.mtu and len(packet) > bad.mtu)
            or (now - self._begun >= bad.blocks_from and _is_blocked(bad, packet))
            or (period and (now - self._begun) % period > period - length)
        ):
            return
        at = now
        begin, later = bad.later
        if rate := later if later and now - self._begun >= begin else bad.rate:
            self._free_at = max(self._free_at, now)
            if self._free_at - now > bad.queue:
                return
            self._free_at += len(packet) * 8 / rate
            at = self._free_at
        begin, end, more = bad.slow
        at += bad.delay + (more if begin <= now - self._begun < end else 0.0)
        for _ in range(2 if chance.random() < bad.duplicate else 1):
            when = at + chance.random() * bad.jitter
            if when <= now:
                self._deliver(packet)
            else:
                self._loop.call_at(when, self._deliver, packet)


class Wire:
    """`async with Wire(chance) as wire`: programs started by `wire.prefix` live on the far side of it."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._fds: list[int] = []
        self._holder: Child | None = None
        self._portal: Portal | None = None
        self._loop = asyncio.get_running_loop()
        self._begun, self._signs_in = 0.0, (0.0, 0.0)
        self._phone = int(PHONE.removeprefix(_NET))
        self._dead: set[bytes] = set()
        """Addresses that the phone had."""
        self._moving: asyncio.Task[None] | None = None
        self._refused = 0
        """Packets that a device did not take."""

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        try:
            self._holder = holder = await Child.start(["unshare", "--net", "sleep", "infinity"])
            near, far = (_tun(f"gb{end}{os.getpid() % 10_000}") for end in "sp")
            self._fds = [near[0], far[0]]
            self.prefix = ("nsenter", f"--net=/proc/{holder.pid}/ns/net")
            await self._moved(far[1], holder.pid)
            await _ip("addr", "add", f"{SERVER}/24", "dev", near[1])
            await _ip("link", "set", near[1], "mtu", str(_MTU), "up")
            self._device = far[1]
            await _run(*self.prefix, "ip", "addr", "add", f"{PHONE}/24", "dev", far[1])
            await _run(*self.prefix, "ip", "link", "set", far[1], "mtu", str(_MTU), "up")
            await _run(*self.prefix, "ip", "link", "set", "lo", "up")
            self._near = near[1]
            self.up = Direction(lambda packet: self._write(near[0], packet), self._chance, self._upward)
            self.down = Direction(lambda packet: self._write(far[0], packet), self._chance, self._downward)
            self._portal = await Portal.start(SERVER)
            loop.add_reader(far[0], _read, far[0], self.up)
            loop.add_reader(near[0], _read, near[0], self.down)
        except BaseException:
            await self._release()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._release()

    @property
    def dropped(self) -> int:
        """Packets so far that were lost although the network lost none of them: devices refused them, or had no room
        for them because this process came too late."""
        holder = self._holder.pid if self._holder is not None else "self"
        return self._refused + _drops(f"/proc/{holder}/net/dev", self._device) + _drops(_DEVICES, self._near)

    def _write(self, fd: int, packet: bytes) -> None:
        try:
            os.write(fd, packet)
        except OSError:
            self._refused += 1

    def begin(self, up: Impairment, down: Impairment) -> None:
        """From now on packets are treated so, each way."""
        self.up.begin(up)
        self.down.begin(down)
        self._begun, self._signs_in = self._loop.time(), up.portal
        self._dead.clear()
        if self._moving is not None:
            self._moving.cancel()
        self._moving = asyncio.ensure_future(self._move_at(up.moves_at)) if up.moves_at else None

    async def _move_at(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        former, self._phone = self._phone, self._phone + 1
        self._dead.add(ip_address(f"{_NET}{former}").packed)
        command = (*self.prefix, "ip", "addr")
        await _run(*command, "del", f"{_NET}{former}/24", "dev", self._device)
        await _run(*command, "add", f"{_NET}{self._phone}/24", "dev", self._device)

    @property
    def _shows_page(self) -> bool:
        begin, end = self._signs_in
        return begin <= self._loop.time() - self._begun < end

    def _upward(self, packet: bytes) -> bytes | None:
        if packet[12:16] in self._dead:
            return None
        return self._portal.towards(packet) if self._portal is not None and self._shows_page else packet

    def _downward(self, packet: bytes) -> bytes | None:
        if packet[16:20] in self._dead:
            return None
        return packet if self._portal is None else self._portal.back(packet, others=not self._shows_page)

    async def _moved(self, device: str, pid: int) -> None:
        """The holder is in its namespace a moment after it was started."""
        mine = os.readlink("/proc/self/ns/net")
        async with asyncio.timeout(5):
            while os.readlink(f"/proc/{pid}/ns/net") == mine:  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0.01)
        await _ip("link", "set", device, "netns", str(pid))

    async def _release(self) -> None:
        loop = asyncio.get_running_loop()
        for fd in self._fds:
            loop.remove_reader(fd)
            os.close(fd)
        self._fds.clear()
        if self._moving is not None:
            await cancelled(self._moving)
        if self._portal is not None:
            self._portal.close()
        if self._holder is not None:
            await self._holder.stop(0.1)


def available() -> bool:
    """Whether this machine lets us make such networks: root, unshare, nsenter, ip, and /dev/net/tun."""
    tools = all(shutil.which(tool) for tool in ("unshare", "nsenter", "ip"))
    return tools and os.geteuid() == 0 and os.path.exists("/dev/net/tun")


def require_available() -> None:
    """Raises UserError that says what is missing."""
    if not available():
        raise UserError(
            "bad networks need root, /dev/net/tun, and unshare, nsenter and ip: run it as root, install util-linux and "
            "iproute2"
        )


OWN_NETWORK = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
"""Runs a command in a network namespace of its own, where only loopback is."""
INSIDE = "LAB_IN_NAMESPACE"
"""In the environment of a program that is in such a namespace already."""


def in_own_network(argv: list[str]) -> int:
    """Runs a command so; returns its exit status."""
    return subprocess.run([*OWN_NETWORK, *argv], env={**os.environ, INSIDE: "1"}, check=False).returncode  # noqa: S603


def _is_blocked(bad: Impairment, packet: bytes) -> bool:
    if packet[9] == _UDP:
        return bad.blocks_udp
    return bool(bad.blocks_tcp) and packet[9] == _TCP and bad.blocks_tcp in ports(packet)


def _tun(name: str) -> tuple[int, str]:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return fd, name


def _read(fd: int, direction: Direction) -> None:
    for _ in range(64):
        try:
            packet = os.read(fd, 2048)
        except BlockingIOError:
            return
        if packet[0] >> 4 == 4:
            direction.take(packet)


def _drops(path: str, device: str) -> int:
    """Packets that a device dropped in both directions, read from a file in the form of /proc/net/dev."""
    with open(path) as file:
        for line in file:
            name, _, numbers = line.partition(":")
            if name.strip() == device:
                found = numbers.split()
                return int(found[_RECEIVED_DROPS]) + int(found[_SENT_DROPS])
    return 0


async def _ip(*args: str) -> None:
    await _run("ip", *args)


async def _run(*argv: str) -> None:
    process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    if process.returncode:
        raise UserError(f"{' '.join(argv)}: {said.decode(errors='replace').strip()}")
