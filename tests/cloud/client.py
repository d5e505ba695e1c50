"""A bare WebSocket client of the cloud that keeps what it is told."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.support.patience import deadline
from tests.support.poll import eventually


@dataclass
class Client:
    """What phones and apps have in common."""

    socket: aiohttp.ClientWebSocketResponse
    told: list[dict[str, Any]] = field(default_factory=list)
    pcm: bytearray = field(default_factory=bytearray)
    """All binary frames, one after the other."""
    reader: "asyncio.Task[None] | None" = None

    def read(self) -> None:
        """Begins to read."""
        self.reader = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        async for message in self.socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                self.told.append(json.loads(message.data))
            elif message.type is aiohttp.WSMsgType.BINARY:
                self.pcm += message.data

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.told if message["type"] == kind]

    async def until(self, kind: str, count: int = 1, within: float = 5.0) -> dict[str, Any]:
        """The `count`-th message of this type, once it is there."""
        await eventually(lambda: len(self.of_type(kind)) >= count or f"{count} x {kind}; told {self.told}", within)
        return self.of_type(kind)[count - 1]

    async def closed_with(self, within: float = 5.0) -> int | None:
        """Waits for the cloud to close; the code."""
        assert self.reader is not None
        async with deadline(within):
            await self.reader
        return self.socket.close_code

    async def vanish(self) -> None:
        """Goes without a word: the TCP connection is cut."""
        connection = self.socket._response.connection
        transport = connection.transport if connection is not None else None
        assert transport is not None
        transport.abort()

    async def close(self) -> None:
        await self.socket.close()
        if self.reader is not None:
            await asyncio.wait((self.reader,), timeout=2)
            self.reader.cancel()
