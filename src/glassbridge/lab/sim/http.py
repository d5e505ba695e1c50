"""HTTP between a phone and its clouds, as phone/socket.py and phone/room.py use aiohttp: a WebSocket, or one answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, Self, cast

import aiohttp

from glassbridge.cloud.connection import ConnectParams
from glassbridge.core.values import UserId
from glassbridge.lab.sim.asking import ask, dial
from glassbridge.lab.sim.cloud import Cloud
from glassbridge.lab.sim.net import Link
from glassbridge.lab.sim.socket import PhoneEnd


@dataclass(frozen=True, slots=True)
class Way:
    """From one phone to one cloud."""

    cloud: Cloud
    link: Link
    end: int


class Http:
    """One client session. `find` gives the way to the cloud of a URL, `opened` hears of each WebSocket."""

    def __init__(self, user: UserId, find: Callable[[str], Way], opened: Callable[[PhoneEnd], None]) -> None:
        self._user = user
        self._find = find
        self._opened = opened
        self._socket: PhoneEnd | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """What is open breaks."""
        if self._socket is not None:
            self._socket.abort()

    async def ws_connect(
        self, url: str, *, params: Mapping[str, str], headers: Mapping[str, str], **_: Any
    ) -> PhoneEnd:
        """Raises aiohttp.ClientError. When cancelled, nothing is left behind."""
        way = self._find(url)
        connection = await dial(way.link, way.end)
        if connection is None:
            raise aiohttp.ClientConnectionError("no answer")
        upgraded: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def answer(accepted: bool) -> None:
            connection.on_close[way.end] = hears
            if not upgraded.done():
                upgraded.set_result(accepted)

        socket = PhoneEnd(connection, way.end, way.cloud.process.name)
        hears, connection.on_close[way.end] = connection.on_close[way.end], lambda _code: answer(False)
        request = cast(aiohttp.web.Request, SimpleNamespace(query=params, headers=headers))
        wanted = ConnectParams.of(request)
        connection.send(way.end, way.cloud.accept, connection, socket, self._user, wanted, answer)
        try:
            accepted = await upgraded
        except asyncio.CancelledError:
            connection.abort(way.end)
            raise
        if not accepted:
            connection.close(way.end)
            raise aiohttp.ClientConnectionError("refused")
        self._socket = socket
        self._opened(socket)
        return socket

    @asynccontextmanager
    async def get(self, url: str, **_: Any) -> AsyncIterator["_Answer"]:
        """The phone's LiveKit token; there is nothing else to be had. Raises aiohttp.ClientError."""
        way = self._find(url)
        ticket = await ask(way.link, way.end, partial(way.cloud.ticket, self._user))
        if ticket is None:
            raise aiohttp.ClientConnectionError("no answer")
        yield _Answer(json.dumps({"data": ticket}).encode())


class _Answer:
    """As much of aiohttp's as the programs use."""

    status = 200

    def __init__(self, body: bytes) -> None:
        self._body = body

    @property
    def content(self) -> "_Answer":
        return self

    async def iter_chunked(self, _most: int) -> AsyncIterator[bytes]:
        yield self._body
