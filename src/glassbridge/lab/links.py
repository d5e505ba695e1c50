"""Breakable ways for bytes: a proxy in front of a TCP port or a Unix socket that can hold, lose, reset and refuse.

To a program a held way looks as a dropping network does: nothing comes, nothing is refused, and what the kernel took
goes on when the network is back. What differs: here the kernel has an acknowledgement for all that it sent
(TCP_USER_TIMEOUT never strikes), and what was sent arrives at once when healed, without the back-off of TCP.
"""

import asyncio
import socket
import tempfile
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, Flag, auto
from pathlib import Path
from typing import Self

from glassbridge.livekit.server import LOOPBACK
from glassbridge.runtime.tasks import TaskGroup

MAX_HELD = 4_000
"""Datagrams that one direction of one client may hold; the oldest are lost first."""
_CHUNK = 64 << 10

Address = int | Path
"""A TCP port of this machine, or a Unix socket."""


class Way(Flag):
    """A direction."""

    UP = auto()
    """From client to server."""
    DOWN = auto()
    BOTH = UP | DOWN


class Mode(Enum):
    """What happens to bytes."""

    THROUGH = "through"
    HOLD = "hold"
    """Kept, and delivered when healed."""
    DROP = "drop"
    """Lost. TCP cannot lose a part: connections that lost something are reset when healed."""


class Gate:
    """One direction."""

    def __init__(self) -> None:
        self.mode = Mode.THROUGH
        self.opened = asyncio.Event()
        self.opened.set()
        self._held: deque[Callable[[], None]] = deque(maxlen=MAX_HELD)

    def set(self, mode: Mode) -> None:
        """Opening delivers what was held."""
        self.mode = mode
        if mode is not Mode.THROUGH:
            self.opened.clear()
            return
        self.opened.set()
        while self._held:
            self._held.popleft()()

    def datagram(self, deliver: Callable[[], None]) -> None:
        """Delivers now, later, or never."""
        if self.mode is Mode.THROUGH:
            deliver()
        elif self.mode is Mode.HOLD:
            self._held.append(deliver)


class ByteLink:
    """The way of byte streams to one or more listeners; `async with`. Faults take effect at once and last until heal().

    `watch` sees what servers say, the end of the last piece before each new one.
    """

    def __init__(self, watch: Callable[[bytes], None] = lambda _: None, remember: int = 0) -> None:
        self.connections: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._gates = {way: Gate() for way in Way}
        self._watch = watch
        self._remember = remember
        self._servers: list[asyncio.Server] = []
        self._tasks = TaskGroup("link")
        self._refusing = False
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        self.cut()
        await self._tasks.close()
        for server in self._servers:
            await server.wait_closed()
        if self._folder is not None:
            self._folder.cleanup()

    async def to(self, back: Address) -> Address:
        """A new address of the same kind that leads to `back`; nobody needs to listen there yet."""

        def protocol() -> asyncio.StreamReaderProtocol:
            return asyncio.StreamReaderProtocol(
                _PatientReader(), lambda reader, writer: self._accepted(reader, writer, back)
            )

        loop = asyncio.get_running_loop()
        if isinstance(back, Path):
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="glassbridge-link-")
            front = Path(self._folder.name, back.name)
            self._servers.append(await loop.create_unix_server(protocol, front))
            return front
        server = await loop.create_server(protocol, LOOPBACK, 0)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def hold(self, ways: Way = Way.BOTH) -> None:
        """Withholds every byte, and delivers it when healed. New connections are taken and get nowhere."""
        self._set(Mode.HOLD, ways)

    def drop(self, ways: Way = Way.BOTH) -> None:
        """Loses every byte; connections are reset when healed."""
        self._set(Mode.DROP, ways)

    def cut(self) -> None:
        """Resets the connections; new ones are let through."""
        for ends in self.connections:
            for writer in ends:
                writer.transport.abort()

    def refuse(self) -> None:
        """Resets the connections, and new ones too."""
        self._refusing = True
        self.cut()

    def inject(self, data: bytes) -> None:
        """Says this to every client, as if its server had: between two pieces that the server sent."""
        for client, _ in self.connections:
            client.write(data)

    def heal(self) -> None:
        """Lets everything through again; what was held is delivered first."""
        self._refusing = False
        if any(gate.mode is Mode.DROP for gate in self._gates.values()):
            self.cut()
        for gate in self._gates.values():
            gate.set(Mode.THROUGH)

    def _set(self, mode: Mode, ways: Way) -> None:
        for way in ways:
            self._gates[way].set(mode)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: Address) -> None:
        if self._refusing:
            writer.transport.abort()
        else:
            self._tasks.spawn(self._forward(reader, writer, back), "forward")

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: Address) -> None:
        up, down = self._gates[Way.UP], self._gates[Way.DOWN]
        try:
            await up.opened.wait()
            server_reader, server_writer = await _dial(back)
        except OSError:
            writer.transport.abort()
            return
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        ends = (writer, server_writer)
        self.connections.add(ends)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, server_writer, up, lambda _: None))
                pumps.create_task(self._pump(server_reader, writer, down, self._watch))
        finally:
            self.connections.discard(ends)
            for end in ends:
                end.close()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        gate: Gate,
        watch: Callable[[bytes], None],
    ) -> None:
        """Carries bytes until either end is gone; then the other end is gone too."""
        tail = b""
        with suppress(ConnectionError):
            while data := await reader.read(_CHUNK):
                await gate.opened.wait()
                tail += data
                watch(tail)
                tail = tail[-self._remember :] if self._remember else b""
                writer.write(data)
                await writer.drain()
        await gate.opened.wait()
        writer.close()


class _PatientReader(asyncio.StreamReader):
    """Gives what has arrived even after the peer has reset the connection, as the kernel does."""

    def set_exception(self, exc: Exception) -> None:
        self.feed_eof()


async def _dial(back: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop, reader = asyncio.get_running_loop(), _PatientReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport: asyncio.Transport
    if isinstance(back, Path):
        transport, _ = await loop.create_unix_connection(lambda: protocol, str(back))
    else:
        transport, _ = await loop.create_connection(lambda: protocol, LOOPBACK, back)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
