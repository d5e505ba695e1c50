"""A fence between the SDK and LiveKit: signalling is let through until the place is had, and never again.

The SDK resumes by itself, which cannot be switched off, and by that steals the user from a successor (traps B3). Asked
to leave it may still finish the attempt that is under way. So it signals through a loopback socket of ours, which takes
no new connection once the fence is shut: whatever the SDK tries then, it cannot get back in. Media goes past.
"""

import asyncio
import os
import re
import ssl
from contextlib import suppress

from yarl import URL

from glassbridge.core.values import LossReason
from glassbridge.livekit.participant import ParticipantError
from glassbridge.runtime.tasks import TaskGroup

CONNECT_TIMEOUT = 5.0
MAX_HEAD = 64 << 10
_CHUNK = 64 << 10
_SECURE = ("wss", "https")
_HOST = re.compile(rb"^host:[^\r\n]*", re.IGNORECASE | re.MULTILINE)


class Fence:
    """`open()`, use `url` instead of the server's, `shut()` when the place is had, `close()` when it is left."""

    def __init__(self, server: URL) -> None:
        self._to = server
        self._tasks = TaskGroup("sdk fence")
        self._listener: asyncio.Server | None = None
        self.url = ""
        self.failure: ParticipantError | None = None
        """Why the server could not be reached, in better words than the SDK has for a socket that breaks."""

    async def open(self) -> None:
        """Begins to let through. Raises OSError when there is no loopback."""
        self._listener = await asyncio.start_server(self._accepted, "127.0.0.1", 0, limit=MAX_HEAD)
        port = self._listener.sockets[0].getsockname()[1]
        self.url = str(URL.build(scheme="ws", host="127.0.0.1", port=port, path=self._to.path))

    def shut(self) -> None:
        """Lets no new connection through; those that are there stay. Idempotent."""
        if self._listener is not None:
            self._listener.close()

    async def close(self) -> None:
        """Breaks what is still there. Idempotent."""
        self.shut()
        await self._tasks.close()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.spawn(self._carry(reader, writer), "connection")

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
                answers, server = await self._connect()
            server.write(_HOST.sub(b"Host: " + self._to.authority.encode(), head, count=1))
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(_pump(reader, server))
                pumps.create_task(_pump(answers, writer))
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
            self.failure = ParticipantError(LossReason.UNREACHABLE, self._explain(error))
        finally:
            for end in (writer, server):
                if end is not None:
                    end.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        tls = ssl.create_default_context() if self._to.scheme in _SECURE else None
        return await asyncio.open_connection(self._to.host, self._to.port, ssl=tls)

    def _explain(self, error: Exception) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate for {self._to.host} is not trusted"
        why = type(error).__name__
        if isinstance(error, OSError) and error.errno is not None:
            why = os.strerror(error.errno) if error.errno > 0 else error.strerror or why
        return f"{self._to.host}:{self._to.port}: {why}"


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carries bytes until either end is gone; then the other end hears of it."""
    with suppress(ConnectionError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    with suppress(OSError, RuntimeError):
        writer.close()
