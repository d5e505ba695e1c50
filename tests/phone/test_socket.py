"""The phone's socket where a real cloud's end of it misbehaves."""

import asyncio

from aiohttp import web

from glassbridge.phone.socket import PATH, CloudSocket
from glassbridge.runtime.world import REAL
from glassbridge.wire.close_codes import CloseCode
from tests.support.poll import eventually


async def test_a_phone_that_slept_reads_pings_before_the_end_of_its_socket() -> None:
    """They can be answered no more: the socket ends, as any other that the cloud has cut."""
    cut = asyncio.Event()

    async def cloud(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        for _ in range(3):
            await socket.ping()
        assert request.transport is not None
        request.transport.close()
        cut.set()
        return socket

    app = web.Application()
    app.router.add_get(PATH, cloud)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        [address] = runner.addresses
        base = f"http://127.0.0.1:{address[1]}"
        socket = await CloudSocket.open(REAL, base, "token", livekit=False, numbered=True, phone="me", attempt=1)
        await cut.wait()
        # Nobody reads meanwhile, as in a process that stands still.
        await eventually(lambda: socket._ws._writer.transport.is_closing() or "the end has not arrived", 5.0)
        assert await socket.listen(_refuse) == CloseCode.ABNORMAL
    finally:
        await runner.cleanup()


async def _refuse(message: object) -> None:
    raise AssertionError(f"nothing was said but pings: {message}")
