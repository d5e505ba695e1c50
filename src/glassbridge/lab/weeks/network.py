"""A network in memory: connections with delay that are cut, severed, refused; names that a balancer answers.

A link that is cut holds what is on its way, as TCP does, and delivers it late. A connection that is severed has lost
its state somewhere between (a NAT, a balancer, a machine without power): packets get lost, and no side is told.
One way of it may be lost alone. A machine whose power is back resets the connections that it knows nothing of.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Protocol

from glassbridge.lab.virtual.loop import VirtualLoop
from glassbridge.lab.virtual.time import Time

_NUMBER: Final = struct.Struct("=I")
_UNACKED_AT, _ACKED_AT = 24, 56
"""tcpi_unacked and tcpi_last_ack_recv (milliseconds) of linux/tcp.h."""
RETRY: Final = (0.05, 1.0)
"""Seconds until TCP tries again once a link is healed: at least and at most."""


class Host(Protocol):
    """A process with its network interface."""

    name: str
    address: str
    running: bool
    cut: bool
    loop: VirtualLoop


class _Socket:
    """As much of a socket as programs ask a transport for."""

    family = socket.AF_INET
    type = socket.SOCK_STREAM
    proto = socket.IPPROTO_TCP

    def __init__(self, name: tuple[str, int], end: "End | None" = None) -> None:
        self._name = name
        self._end = end

    def fileno(self) -> int:
        return 10

    def getsockname(self) -> tuple[str, int]:
        return self._name

    def setsockopt(self, *_: Any) -> None:
        pass

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        """Of TCP_INFO what runtime/tcp.py `lost` asks for."""
        if self._end is None or (level, option) != (socket.IPPROTO_TCP, socket.TCP_INFO):
            raise OSError("not known here")
        return self._end.tcp_info(size)


class Server:
    """Listens until it is closed."""

    def __init__(self, network: "Network", host: Host, name: str, port: int, factory: Callable[[], Any]) -> None:
        self._network = network
        self.host = host
        self.key = name, port
        self.factory = factory
        self.sockets = (_Socket((name, port)),)

    def close(self) -> None:
        if self._network.servers.get(self.key) is self:
            del self._network.servers[self.key]

    async def wait_closed(self) -> None:
        pass


class End(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, link: "Connection", host: Host, peername: tuple[str, int], sockname: tuple[str, int]) -> None:
        super().__init__({"peername": peername, "sockname": sockname, "socket": _Socket(sockname, self)})
        self.link = link
        self.host = host
        self.loop = host.loop
        self.other: End = self
        self.protocol: Any = None
        self._closing = False
        self._gone = False
        self._paused = False
        self.dialled_by = ""
        """The task that has opened the connection; empty at the end that took it."""
        self._unread: deque[bytes | None] = deque()
        self.unacknowledged = False
        """Of what was sent here, something has not arrived, or the other machine cannot say so."""
        self.acknowledged_at = link.network.time.now

    def tcp_info(self, size: int) -> bytes:
        """As the kernel answers (linux/tcp.h)."""
        info = bytearray(size)
        quiet_ms = int((self.link.network.time.now - self.acknowledged_at) * 1e3)
        _NUMBER.pack_into(info, _UNACKED_AT, self.unacknowledged)
        _NUMBER.pack_into(info, _ACKED_AT, quiet_ms)
        return bytes(info)

    # ---- as a transport

    def get_protocol(self) -> Any:
        return self.protocol

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return self._closing

    def write(self, data: Any) -> None:
        if not self._closing and data:
            self.link.send(self, bytes(data))

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_reading(self) -> bool:
        return not self._paused

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        if self._unread:
            self.loop.call_soon(self._read)

    def close(self) -> None:
        self._leave(None, None)

    def abort(self) -> None:
        self._leave(ConnectionResetError("connection reset by peer"), None)

    # ---- what arrives

    def receive(self, what: bytes | None) -> None:
        """None: the other end has closed."""
        self._unread.append(what)
        self._read()

    def _read(self) -> None:
        while self._unread and not self._paused and not self._gone:
            what = self._unread.popleft()
            if what is None:
                if not self.protocol.eof_received():
                    self.close()
            else:
                self.protocol.data_received(what)

    def reset(self, error: BaseException) -> None:
        """The other end is gone."""
        if not self._gone:
            self._closing = True
            self._lose(error)

    def _leave(self, told: BaseException | None, ours: BaseException | None) -> None:
        if self._closing:
            return
        self._closing = True
        self.link.send(self, told)
        self.loop.call_soon(self._lose, ours)

    def _lose(self, error: BaseException | None) -> None:
        if self._gone:
            return
        self._gone = True
        self.link.network.forget(self)
        protocol, self.protocol = self.protocol, None
        self._unread.clear()
        protocol.connection_lost(error)

    def drop(self) -> None:
        """Its process has died: nothing is left to be told."""
        self._closing = self._gone = True
        self.protocol = None
        self._unread.clear()
        self.link.network.forget(self)


@dataclass(slots=True)
class _Way:
    """What is on its way to one end."""

    queue: deque[tuple[float, Any]] = field(default_factory=deque)
    armed: bool = False
    severed: bool = False


class Connection:
    """Two ends, each way with the same delay and in order."""

    def __init__(self, network: "Network", delay: float) -> None:
        self.network = network
        self.delay = delay
        self.forgotten_by: Host | None = None
        """It has lost its power since."""
        self.ways: dict[int, _Way] = {}
        self.ends: tuple[End, End]

    def send(self, sender: End, what: Any) -> None:
        """Bytes, None for a close, an error for a reset."""
        way = self.ways[id(sender.other)]
        sender.unacknowledged = True
        if way.severed:
            self._reset(sender)
            return
        due = self.network.time.now + self.delay
        if way.queue and way.queue[-1][0] == due and type(what) is bytes and type(way.queue[-1][1]) is bytes:
            way.queue[-1] = due, way.queue[-1][1] + what
            return
        way.queue.append((due, what))
        if not way.armed:
            way.armed = True
            self.network.time.at(due, self._deliver, sender.other, way)

    def sever(self, *ends: End) -> None:
        """Nothing more arrives at these ends; at neither where none is named."""
        for end in ends or self.ends:
            self.ways[id(end)].severed = True

    def _reset(self, sender: End) -> None:
        """A machine that is up again answers for a connection that it has forgotten."""
        host = self.forgotten_by
        if host is not None and host.running and not host.cut and not sender.host.cut:
            self.network.time.at(self.network.time.now + 2 * self.delay, _reset, sender)

    def _deliver(self, end: End, way: _Way) -> None:
        way.armed = False
        network = self.network
        if way.severed:
            way.queue.clear()
            return
        if any(one.host.cut for one in self.ends):
            network.held.append((self, end, way))
            way.armed = True
            return
        while way.queue and way.queue[0][0] <= network.time.now:
            _, what = way.queue.popleft()
            if end.host.running and not end.loop.is_closed():
                if isinstance(what, BaseException):
                    end.loop.call_soon(end.reset, what)
                else:
                    end.loop.call_soon(end.receive, what)
        if not self.ways[id(end.other)].severed:
            end.other.unacknowledged, end.other.acknowledged_at = bool(way.queue), network.time.now
        if way.queue:
            way.armed = True
            network.time.at(way.queue[0][0], self._deliver, end, way)

    def go_on(self, end: End, way: _Way) -> None:
        """The link is healed."""
        self.network.time.at(self.network.time.now + self.network.chance.uniform(*RETRY), self._deliver, end, way)


class Network:
    """The listeners by address, and all connections."""

    def __init__(self, time: Time, chance: Random) -> None:
        self.time = time
        self.chance = chance
        self.servers: dict[tuple[str, int], Server] = {}
        self.held: list[tuple[Connection, End, _Way]] = []
        """Deliveries that wait for a link to heal."""
        self.balancers: dict[str, Callable[[], str | None]] = {}
        """Names that stand for whichever host is picked."""
        self._ends: dict[str, dict[End, None]] = {}
        """Open ones, by the name of their process."""
        self.dark: set[tuple[str, int]] = set()
        """Where a machine without power listened: no answer, and no refusal."""
        self._ports = 0
        self._healed: list[asyncio.Future[None]] = []

    def ends_of(self, host: Host) -> list[End]:
        """Open connections of a process."""
        return list(self._ends.get(host.name, ()))

    def forget(self, end: End) -> None:
        """It is closed."""
        self._ends.get(end.host.name, {}).pop(end, None)

    def listen(self, host: Host, factory: Callable[[], Any], name: str, port: int) -> Server:
        """Raises OSError if the address is taken."""
        if (name, port) in self.servers:
            raise OSError(98, "Address already in use")
        self.dark.discard((name, port))
        server = self.servers[name, port] = Server(self, host, name, port, factory)
        return server

    async def dial(self, caller: Host, factory: Callable[[], Any], name: str, port: int) -> Any:
        """Connects; the protocol. Raises OSError; where packets get lost, it takes as long as the caller waits."""
        delay = self.chance.uniform(0.001, 0.06)
        await asyncio.sleep(2 * delay)
        balancer = self.balancers.get(name)
        host = balancer() if balancer is not None else name
        while caller.cut or ((server := self.servers.get((host or name, port))) is not None and server.host.cut):
            await self._wait_for_healing()
        if (host or name, port) in self.dark:
            await asyncio.get_running_loop().create_future()
        if server is None:
            raise ConnectionRefusedError(111, "Connection refused")
        return self._connect(caller, server, factory, delay)

    def _connect(self, caller: Host, server: Server, factory: Callable[[], Any], delay: float) -> Any:
        self._ports += 1
        ours, theirs = (caller.address, 10_000 + self._ports % 50_000), (server.host.address, server.key[1])
        link = Connection(self, delay)
        near, far = End(link, caller, theirs, ours), End(link, server.host, ours, theirs)
        near.other, far.other = far, near
        near.dialled_by = _task_name()
        link.ends = near, far
        link.ways = {id(near): _Way(), id(far): _Way()}
        for end in link.ends:
            self._ends.setdefault(end.host.name, {})[end] = None
        near.protocol, far.protocol = factory(), None
        far.loop.call_soon(self._accept, server, far)
        near.protocol.connection_made(near)
        return near.protocol

    @staticmethod
    def _accept(server: Server, end: End) -> None:
        end.protocol = server.factory()
        end.protocol.connection_made(end)

    async def _wait_for_healing(self) -> None:
        healed = asyncio.get_running_loop().create_future()
        self._healed.append(healed)
        try:
            await healed
        finally:
            if healed in self._healed:
                self._healed.remove(healed)
        await asyncio.sleep(self.chance.uniform(*RETRY))

    # ---- what goes wrong

    def heal(self) -> None:
        """A link is whole again: what was held goes on."""
        held, self.held = self.held, []
        for link, end, way in held:
            link.go_on(end, way)
        waiting, self._healed = self._healed, []
        for healed in waiting:
            if not healed.done() and not healed.get_loop().is_closed():
                healed.get_loop().call_soon(_wake, healed)

    def sever(self, host: Host, *, half: bool = False) -> None:
        """All open connections of a process lose their way, or that to it only; new ones are fine."""
        for end in self.ends_of(host):
            end.link.sever(*((end,) if half else ()))

    def reached_by(self, host: Host, task: str) -> list[Host]:
        """Where the connections lead that a task of this process has opened."""
        return [end.other.host for end in self.ends_of(host) if end.dialled_by == task]

    def end(self, host: Host, *, silent: bool) -> None:
        """The process is gone: its system closes what it had, unless the whole machine is gone."""
        for key in [key for key, server in self.servers.items() if server.host is host]:
            del self.servers[key]
            if silent:
                self.dark.add(key)
        for end in self.ends_of(host):
            if silent:
                end.link.sever()
                end.link.forgotten_by = host
            else:
                end.link.send(end, ConnectionResetError("connection reset by peer"))
            end.drop()


def _task_name() -> str:
    task = asyncio.current_task()
    return "" if task is None else task.get_name()


def _reset(end: End) -> None:
    if end.host.running and not end.loop.is_closed():
        end.loop.call_soon(end.reset, ConnectionResetError("connection reset by peer"))


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
