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
from enum import Flag, auto
from typing import Any

from glassbridge.lab.links import ByteLink, Gate, Mode, Way
from glassbridge.livekit.server import LOOPBACK, LiveKitServer
from glassbridge.runtime.tasks import TaskGroup

MEDIA_ADDRESS = "127.0.0.9"
_UFRAG = re.compile(rb"a=ice-ufrag:([\w+/]+)")
_LONGEST_UFRAG_LINE = 300
_STUN_USERNAME = 0x0006


def behind_breaker() -> dict[str, Any]:
    """What a LiveKitServer's `rtc` needs so that all media takes the way through a LinkBreaker."""
    # As ICE lite it never begins checks by itself: those would go round us.
    return {"node_ip": MEDIA_ADDRESS, "use_ice_lite": True}


class Path(Flag):
    """A kind of traffic."""

    SIGNAL = auto()
    MEDIA = auto()
    BOTH = SIGNAL | MEDIA


class ClientLink:
    """The way of one client. All faults take effect at once and last until heal()."""

    def __init__(self, breaker: "LinkBreaker") -> None:
        self._breaker = breaker
        self._signal = ByteLink(self._watch, _LONGEST_UFRAG_LINE)
        self._media = {way: Gate() for way in Way}
        self.url = ""

    async def listen(self) -> None:
        """Called by the LinkBreaker."""
        port = await self._signal.to(self._breaker.signal_port)
        self.url = f"ws://{LOOPBACK}:{port}"

    async def close(self) -> None:
        """Called by the LinkBreaker."""
        await self._signal.__aexit__()

    @property
    def connections(self) -> int:
        """Signalling connections that are open now."""
        return len(self._signal.connections)

    def hold(self, paths: Path = Path.BOTH, ways: Way = Way.BOTH) -> None:
        """Withholds every byte, and delivers it when healed."""
        self._set(Mode.HOLD, paths, ways)

    def drop(self, paths: Path = Path.BOTH, ways: Way = Way.BOTH) -> None:
        """Loses every byte; signalling connections are reset when healed."""
        self._set(Mode.DROP, paths, ways)

    def part(self, ways: Way = Way.BOTH) -> None:
        """A network that is gone for a while: TCP waits (and is delivered when healed), datagrams are lost."""
        self.hold(Path.SIGNAL, ways)
        self.drop(Path.MEDIA, ways)

    def inject(self, data: bytes) -> None:
        """Says this to the clients, as if the server had."""
        self._signal.inject(data)

    def cut(self) -> None:
        """Resets the signalling connections; new ones are let through."""
        self._signal.cut()

    def refuse(self) -> None:
        """Resets the signalling connections, resets new ones too, and loses all media."""
        self.drop(Path.MEDIA)
        self._signal.refuse()

    def heal(self) -> None:
        """Lets everything through again; what was held is delivered first."""
        self._signal.heal()
        for gate in self._media.values():
            gate.set(Mode.THROUGH)

    def gate(self, way: Way) -> Gate:
        """What media has to pass."""
        return self._media[way]

    def _set(self, mode: Mode, paths: Path, ways: Way) -> None:
        if Path.SIGNAL in paths:
            {Mode.HOLD: self._signal.hold, Mode.DROP: self._signal.drop}[mode](ways)
        if Path.MEDIA in paths:
            for way in ways:
                self._media[way].set(mode)

    def _watch(self, seen: bytes) -> None:
        for ufrag in _UFRAG.findall(seen):
            self._breaker.owners[ufrag] = self


class LinkBreaker:
    """Stands in front of one LiveKitServer that was started with `rtc=behind_breaker()`."""

    def __init__(self, server: LiveKitServer) -> None:
        self.signal_port = server.port
        self.media_port = server.udp_port
        self.owners: dict[bytes, ClientLink] = {}
        """Whose media it is, by the server's ICE user name fragment."""
        self.tasks = TaskGroup("link breaker")
        self._links: list[ClientLink] = []
        self._front: asyncio.DatagramTransport | None = None
        self._flows: dict[tuple[str, int], _Flow] = {}

    async def __aenter__(self) -> "LinkBreaker":
        loop = asyncio.get_running_loop()
        address = (MEDIA_ADDRESS, self.media_port)
        self._front, _ = await loop.create_datagram_endpoint(lambda: _Front(self._arrived), local_addr=address)
        return self

    async def __aexit__(self, *_: object) -> None:
        for link in self._links:
            await link.close()
        await self.tasks.close()
        for flow in self._flows.values():
            flow.close()
        if self._front is not None:
            self._front.close()

    async def link(self) -> ClientLink:
        """A way for one more client."""
        link = ClientLink(self)
        await link.listen()
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
    """The media of one client socket. Flows of clients that have no ClientLink pass untouched."""

    def __init__(self, front: asyncio.DatagramTransport, client: tuple[str, int]) -> None:
        self.link: ClientLink | None = None
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
