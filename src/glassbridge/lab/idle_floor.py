"""The floor of `glassbridge bench phones`: a bare server that greets each phone and answers its pings, and does nothing
else. It has the cloud's library and event loop and uses them as their makers show it, with a task for each socket; the
cloud answers where a ping is parsed (docs/adr/0012).

    python -m glassbridge.lab.idle_floor PORT
"""

import asyncio
import gc
import sys
from typing import Final

import uvloop
from aiohttp import WSMsgType, web

from glassbridge.livekit.server import LOOPBACK
from glassbridge.runtime.listen import raise_descriptor_limit
from glassbridge.wire.phone import ConnectionAck, Ping, Pong, decode_from_phone, encode

BACKLOG: Final = 4096
GREETING: Final = encode(ConnectionAck(session_id="floor", timestamp="0"))


async def serve_phone(request: web.Request) -> web.WebSocketResponse:
    """`/glasses-ws`."""
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    await socket.send_str(GREETING)
    async for message in socket:
        if message.type is not WSMsgType.TEXT:
            continue
        said = decode_from_phone(message.data)
        if isinstance(said, Ping):
            await socket.send_str(encode(Pong(timestamp=said.timestamp)))
    return socket


async def serve(port: int) -> None:
    """For ever."""
    gc.set_threshold(10_000, 20, 20)
    raise_descriptor_limit()
    app = web.Application()
    app.router.add_get("/glasses-ws", serve_phone)
    app.router.add_get("/readyz", _ready)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, port, backlog=BACKLOG).start()
    await asyncio.Event().wait()


async def _ready(_request: web.Request) -> web.Response:
    return web.Response()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
