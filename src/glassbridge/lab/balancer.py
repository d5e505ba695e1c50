"""A balancer before several clouds which knows nothing of sessions: haproxy with `balance random` if it is installed,
else one of our own that sends each connection to any cloud that takes it."""

import asyncio
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self

from glassbridge.lab.program import LAST_LINES
from glassbridge.livekit.server import LOOPBACK, free_port
from glassbridge.runtime.child import Child
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.tasks import TaskGroup

PLACES: Final = "/usr/sbin:/usr/local/sbin"
"""Where haproxy is, beside the PATH."""
LISTENS_WITHIN: Final = 10.0
CONNECT_TIME: Final = 1.0
HAPROXY: Final = """\
global
  maxconn 4000
defaults
  mode http
  timeout connect 1s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
  retries 2
  option redispatch
frontend phones
  bind {host}:{port}
  default_backend clouds
backend clouds
  balance random
  option httpchk GET {check}
"""
SERVER: Final = "  server {name} {host}:{port} check inter 500ms fall 2 rise 1\n"


class Balancer:
    """`async with`; what is behind it is named by its ports, and need not listen yet."""

    def __init__(
        self,
        folder: Path,
        ports: Sequence[int],
        say: Callable[[str], None],
        seed: int = 0,
        *,
        name: str = "haproxy",
        check: str = "/readyz",
    ) -> None:
        """`name` tells its file from that of another one; `check` is the path at which a server says that it serves."""
        self.port = 0
        """Where it listens; known once it is entered."""
        self._folder = folder
        self._ports = ports
        self._name, self._check = name, check
        self._say = say
        self._chance = random.Random(seed)  # noqa: S311 - no secret
        self._child: Child | None = None
        self._server: asyncio.Server | None = None
        self._tasks = TaskGroup("balancer")

    async def __aenter__(self) -> Self:
        """Raises UserError."""
        found = shutil.which("haproxy") or shutil.which("haproxy", path=PLACES)
        if found is None:
            self._say(
                "NO HAPROXY HERE: the lab's own plain balancer takes its place, which checks nothing "
                "(apt-get install haproxy)"
            )
            self._server = await asyncio.start_server(self._accepted, LOOPBACK, 0)
            self.port = int(self._server.sockets[0].getsockname()[1])
            return self
        self.port = free_port()
        config = self._folder / f"{self._name}.cfg"
        servers = (SERVER.format(name=f"cloud{at}", host=LOOPBACK, port=port) for at, port in enumerate(self._ports))
        config.write_text(
            HAPROXY.format(host=LOOPBACK, port=self.port, check=self._check) + "".join(servers), encoding="utf-8"
        )
        quiet = asyncio.subprocess.DEVNULL
        self._child = await Child.start((found, "-q", "-db", "-f", str(config)), stdout=quiet, stderr=quiet)
        try:
            async with asyncio.timeout(LISTENS_WITHIN):
                while not await self._listens():  # noqa: ASYNC110 - a port that opens is no event
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise UserError(f"haproxy does not listen within {LISTENS_WITHIN:.0f} s: run it with {config}") from None
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        await self._tasks.close()
        if self._child is not None:
            await self._child.stop(LAST_LINES)

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(LOOPBACK, self.port)
        except OSError:
            return False
        writer.close()
        return True

    # ---- ours

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.spawn(self._carry(reader, writer), "carry")

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for port in self._chance.sample(list(self._ports), len(self._ports)):
            try:
                async with asyncio.timeout(CONNECT_TIME):
                    there, back = await asyncio.open_connection(LOOPBACK, port)
            except (OSError, TimeoutError):
                continue
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(_pump(reader, back))
                pumps.create_task(_pump(there, writer))
            return
        writer.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        pass
    finally:
        sink.close()
