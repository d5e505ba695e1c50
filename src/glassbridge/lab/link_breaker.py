"""Breaks the way between LiveKit clients and a local livekit-server: signalling (TCP) and media (UDP), without root.

The server says that its media is received on an address of ours (127.0.0.9); there a forwarder stands in front of it.
Each client that is to be broken gets a Link, with a URL of its own. Whose a media flow is shows in its first packet:
the ICE user name fragment that the server gave this client through its Link.

    async with LiveKitServer(binary, keys, rtc=behind_breaker()) as server, LinkBreaker(server) as breaker:
        link = await breaker.link()
        await connect(link.url, token, events)
        link.hold()      # nothing gets through, and comes late ...
        link.heal()      # ... now
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, Flag, auto
from typing import Any

from glassbridge.livekit.server import LOOPBACK, LiveKitServer
from glassbridge.runtime.tasks import TaskGroup

MEDIA_ADDRESS = "127.0.0.9"
MAX_HELD = 4_000
"""Datagrams that one direction of one client may hold; the oldest are lost first."""
_CHUNK = 64 << 10
_UFRAG = re.compile(rb"a=ice-ufrag:([\w+/]+)")
_LONGEST_UFRAG_LINE = 300
_STUN_USERNAME = 0x0006


def behind_breaker() -> dict[str, Any]:
    """What a LiveKitServer's `rtc` needs so that all media takes the way through a LinkBreaker."""
    # As ICE lite it never begins checks by itself: those would go round us.
    return {"node_ip": MEDIA_ADDRESS, "use_ice_lite": True}


class Way(Flag):
    """A direction."""

    UP = auto()
    """From client to server."""
    DOWN = auto()
    BOTH = UP | DOWN


class Path(Flag):
    """A kind of traffic."""

    SIGNAL = auto()
    MEDIA = auto()
    BOTH = SIGNAL | MEDIA


class Mode(Enum):
    """What happens to bytes."""

    THROUGH = "through"
    HOLD = "hold"
    """Kept, and delivered when healed."""
    DROP = "drop"
    """Lost. TCP cannot lose a part: connections that lost something are reset when healed."""


class _Gate:
    """One direction of one path of one client."""

    def __init__(self) -> None:
        self.mode = Mode.THROUGH
        self.opened = asyncio.Event()
        self.opened.set()
        self._held: deque[Callable[[], None]] = deque(maxlen=MAX_HELD)

    def set(self, mode: Mode) -> None:
        self.mode = mode
        if mode is not Mode.THROUGH:
            self.opened.clear()
            return
        self.opened.set()
        while self._held:
            self._held.popleft()()

    def datagram(self, deliver: Callable[[], None]) -> None:
        if self.mode is Mode.THROUGH:
            deliver()
        elif self.mode is Mode.HOLD:
            self._held.append(deliver)


class Link:
    """The way of one client. All faults take effect at once and last until heal()."""

    def __init__(self, breaker: "LinkBreaker") -> None:
        self._breaker = breaker
        self._gates = {(path, way): _Gate() for path in Path for way in Way}
        self._server: asyncio.Server | None = None
        self._connections: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._refusing = False
        self.url = ""

    def hold(self, paths: Path = Path.BOTH, ways: Way = Way.BOTH) -> None:
        """Withholds every byte, and delivers it when healed."""
        self._set(Mode.HOLD, paths, ways)

    def drop(self, paths: Path = Path.BOTH, ways: Way = Way.BOTH) -> None:
        """Loses every byte; signalling connections are reset when healed."""
        self._set(Mode.DROP, paths, ways)

    def cut(self) -> None:
        """Resets the signalling connections; new ones are let through."""
        for ends in self._connections:
            for writer in ends:
                writer.transport.abort()

    def refuse(self) -> None:
        """Resets the signalling connections, resets new ones too, and loses all media."""
        self._refusing = True
        self.drop(Path.MEDIA)
        self.cut()

    def heal(self) -> None:
        """Lets everything through again; what was held is delivered first."""
        self._refusing = False
        if any(self._gates[Path.SIGNAL, way].mode is Mode.DROP for way in Way):
            self.cut()
        for gate in self._gates.values():
            gate.set(Mode.THROUGH)

    def _set(self, mode: Mode, paths: Path, ways: Way) -> None:
        for path in paths:
            for way in ways:
                self._gates[path, way].set(mode)

    def gate(self, way: Way) -> _Gate:
        """What media has to pass."""
        return self._gates[Path.MEDIA, way]

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: asyncio.StreamReaderProtocol(_PatientReader(), self._accepted), LOOPBACK, 0
        )
        self.url = f"ws://{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self.cut()
            await self._server.wait_closed()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
        else:
            self._breaker.tasks.spawn(self._forward(reader, writer), "signal")

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up, down = self._gates[Path.SIGNAL, Way.UP], self._gates[Path.SIGNAL, Way.DOWN]
        try:
            await up.opened.wait()
            server_reader, server_writer = await _dial(self._breaker.signal_port)
        except OSError:
            writer.transport.abort()
            return
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        ends = (writer, server_writer)
        self._connections.add(ends)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(_pump(reader, server_writer, up))
                pumps.create_task(_pump(server_reader, writer, down, self._watch))
        finally:
            self._connections.discard(ends)
            for end in ends:
                end.close()

    def _watch(self, seen: bytes) -> None:
        for ufrag in _UFRAG.findall(seen):
            self._breaker.owners[ufrag] = self


class _PatientReader(asyncio.StreamReader):
    """Gives what has arrived even after the peer has reset the connection, as the kernel does."""

    def set_exception(self, exc: Exception) -> None:
        self.feed_eof()


async def _dial(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop, reader = asyncio.get_running_loop(), _PatientReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.create_connection(lambda: protocol, LOOPBACK, port)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    gate: _Gate,
    watch: Callable[[bytes], None] = lambda _: None,
) -> None:
    """Carries bytes until either end is gone; then the other end is gone too."""
    tail = b""
    with suppress(ConnectionError):
        while data := await reader.read(_CHUNK):
            await gate.opened.wait()
            tail += data
            watch(tail)
            tail = tail[-_LONGEST_UFRAG_LINE:]
            writer.write(data)
            await writer.drain()
    await gate.opened.wait()
    writer.close()


class LinkBreaker:
    """Stands in front of one LiveKitServer that was started with `rtc=behind_breaker()`."""

    def __init__(self, server: LiveKitServer) -> None:
        self.signal_port = server.port
        self.media_port = server.udp_port
        self.owners: dict[bytes, Link] = {}
        """Whose media it is, by the server's ICE user name fragment."""
        self.tasks = TaskGroup("link breaker")
        self._links: list[Link] = []
        self._front: asyncio.DatagramTransport | None = None
        self._flows: dict[tuple[str, int], _Flow] = {}

    async def __aenter__(self) -> "LinkBreaker":
        loop = asyncio.get_running_loop()
        address = (MEDIA_ADDRESS, self.media_port)
        self._front, _ = await loop.create_datagram_endpoint(lambda: _Front(self._arrived), local_addr=address)
        return self

    async def __aexit__(self, *_: object) -> None:
        for link in self._links:
            await link._close()
        await self.tasks.close()
        for flow in self._flows.values():
            flow.close()
        if self._front is not None:
            self._front.close()

    async def link(self) -> Link:
        """A way for one more client."""
        link = Link(self)
        await link._listen()
        self._links.append(link)
        return link

    def _arrived(self, data: bytes, client: tuple[str, int]) -> None:
        flow = self._flows.get(client)
        if flow is None:
            assert self._front is not None
            flow = self._flows[client] = _Flow(self._front, client)
            self.tasks.spawn(flow.open(self.media_port), "media")
        if flow.link is None:
            flow.link = self.owners.get(_stun_username(data))
        flow.up(data)


class _Flow(asyncio.DatagramProtocol):
    """The media of one client socket. Flows of clients that have no Link pass untouched."""

    def __init__(self, front: asyncio.DatagramTransport, client: tuple[str, int]) -> None:
        self.link: Link | None = None
        self._front = front
        self._client = client
        self._back: asyncio.DatagramTransport | None = None
        self._early: deque[bytes] = deque(maxlen=50)

    async def open(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, remote_addr=(LOOPBACK, port))

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._back = transport
        while self._early:
            self._back.sendto(self._early.popleft())

    def close(self) -> None:
        if self._back is not None:
            self._back.close()

    def up(self, data: bytes) -> None:
        self._through(Way.UP, lambda: self._early.append(data) if self._back is None else self._back.sendto(data))

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._through(Way.DOWN, lambda: self._front.sendto(data, self._client))

    def _through(self, way: Way, deliver: Callable[[], None]) -> None:
        if self.link is None:
            deliver()
        else:
            self.link.gate(way).datagram(deliver)


class _Front(asyncio.DatagramProtocol):
    def __init__(self, arrived: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._arrived = arrived

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._arrived(data, addr)


def _stun_username(packet: bytes) -> bytes:
    """The server's part of the user name in an ICE check; empty for any other packet."""
    if len(packet) < 20 or packet[0] > 3:
        return b""
    at = 20
    while at + 4 <= len(packet):
        kind, length = int.from_bytes(packet[at : at + 2]), int.from_bytes(packet[at + 2 : at + 4])
        if kind == _STUN_USERNAME:
            return packet[at + 4 : at + 4 + length].split(b":")[0]
        at += 4 + length + -length % 4
    return b""
