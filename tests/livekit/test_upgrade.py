"""Opening the socket of the signalling over a network that loses greetings: a listener that is full drops them."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from glassbridge.core.values import LossReason
from glassbridge.livekit import upgrade
from glassbridge.livekit.participant import ParticipantError
from glassbridge.livekit.upgrade import SignalSocket, open_socket
from tests.support.livekit import token
from tests.support.patience import soon
from tests.support.poll import eventually

pytestmark = pytest.mark.skipif(
    not Path("/proc/net/tcp").exists(), reason="who asks is read from Linux's /proc/net/tcp"
)

SYN_SENT = "02"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Full:
    """A listener whose queue is full, so that the kernel answers no greeting."""

    def __init__(self, listener: socket.socket, guests: list[socket.socket]) -> None:
        self._listener = listener
        self._guests = guests
        self.port: int = listener.getsockname()[1]
        self.asked: set[str] = set()
        """Ports from which somebody asked and got no answer."""

    def ports(self) -> set[str]:
        """Also those of before, but not the guests'."""
        ours = {f"{guest.getsockname()[1]:04X}" for guest in self._guests}
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, state, *_ = line.split()
            if state == SYN_SENT and remote.endswith(f":{self.port:04X}"):
                self.asked.add(local.partition(":")[2])
        return self.asked - ours

    async def answer(self) -> None:
        """Lets everybody in, and answers 404, until cancelled."""
        for guest in self._guests:
            guest.close()
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self._listener)
            with connection:
                connection.setblocking(False)
                if await loop.sock_recv(connection, 4096):
                    await loop.sock_sendall(connection, NOT_FOUND)


def _is_in(guest: socket.socket) -> bool:
    try:
        guest.getpeername()
    except OSError:
        return False
    return True


@asynccontextmanager
async def full() -> AsyncIterator[Full]:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        listener.setblocking(False)
        guests = [socket.socket() for _ in range(4)]
        try:
            for guest in guests:
                guest.setblocking(False)
                guest.connect_ex(listener.getsockname())
            if _is_in(guests[-1]):
                pytest.skip("this kernel lets everybody in")
            yield Full(listener, guests)
        finally:
            for guest in guests:
                guest.close()


async def test_a_greeting_that_was_lost_is_not_waited_for() -> None:
    """TCP alone would ask again after 1, 3 and 7 s from the same port."""
    async with full() as server:
        opening = asyncio.create_task(open_socket(f"ws://127.0.0.1:{server.port}", token("ann"), {}))
        await eventually(lambda: len(server.ports()) >= 2, within=20.0)
        assert not opening.done()
        answering = asyncio.create_task(server.answer())
        with pytest.raises(ParticipantError, match="404"):
            await opening
        answering.cancel()


async def test_an_address_that_answers_no_greeting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "CONNECT_WITHIN", 0.4)
    async with full() as server:
        with pytest.raises(ParticipantError, match="nobody answers") as caught:
            await open_socket(f"ws://127.0.0.1:{server.port}", token("ann"), {})
    assert caught.value.reason is LossReason.UNREACHABLE
    assert caught.value.__cause__ is None


async def test_a_ping_of_a_server_that_has_gone_is_no_failure() -> None:
    """Its pong has nowhere to go: the place ends as closed, not as "task failed" (lab F5a)."""

    async def ping_and_go(request: web.Request) -> web.WebSocketResponse:
        greeted = web.WebSocketResponse(autoping=False)
        await greeted.prepare(request)
        await greeted.ping()
        assert request.transport is not None
        request.transport.abort()
        return greeted

    app = web.Application()
    app.router.add_get("/rtc", ping_and_go)
    async with TestServer(app) as server, aiohttp.ClientSession(ws_response_class=SignalSocket) as client:
        socket = await client.ws_connect(server.make_url("/rtc"), autoping=False)
        await eventually(lambda: socket.get_extra_info("socket") is None or "still open")
        assert (await soon(socket.receive(), 5)).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
