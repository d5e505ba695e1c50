"""A cloud of the original, as far as audio concerns it.

    python -m glassbridge.lab.originals.cloud HOST PORT

It keeps a user's session for GRACE seconds after the phone's socket has closed, swaps the socket when the phone comes
again (and never closes the older one), asks the bridge for its status then and joins anew where that is not connected,
and acknowledges whatever came of it. It has no audio watch and says nothing of audio. What it hears goes to the lab
(cloud/tap.py). Settings: those of our cloud that its start script has (LIVEKIT_URL, LIVEKIT_GRPC_SOCKET, ...).
"""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from time import time
from typing import Any, Final

import aiohttp
from aiohttp import web

from glassbridge.cloud.auth import CoreTokenError, bearer, verify_core_token
from glassbridge.cloud.tap import Tap
from glassbridge.core.values import UserId
from glassbridge.lab.originals.bridge_client import OriginalBridgeClient, answers
from glassbridge.livekit.tokens import LiveKitKeys, agent_token, phone_token
from glassbridge.runtime.signals import stop_on_signals
from glassbridge.runtime.tasks import TaskGroup, cancelled

GRACE: Final = 60.0
PHONE_TOKEN, BRIDGE_TOKEN = 24 * 3600.0, 416 * 24 * 3600.0
"""Seconds that tokens live."""


class Session:
    """Of one user. Born with the first socket, gone GRACE seconds after the last."""

    def __init__(self, user: UserId, number: int, cloud: "OriginalCloud") -> None:
        self.user = user
        self._cloud = cloud
        self._tap = Tap(cloud.tap, user, f"{user}/{number}", wants_late=False)
        self._client = OriginalBridgeClient(cloud.bridge, self._joining, self._tap.put)
        self._socket: web.WebSocketResponse | None = None
        self._ending: asyncio.Task[None] | None = None

    async def serve(self, socket: web.WebSocketResponse) -> None:
        """One socket, until it is closed."""
        self._socket = socket
        if self._ending is not None:
            await cancelled(self._ending)
            self._ending = None
        await self._client.ensure_connected()
        await socket.send_json({"type": "connection_ack", "sessionId": self.user, "timestamp": round(time() * 1000)})
        await socket.send_json(
            {"type": "microphone_state_change", "isMicrophoneEnabled": True, "requiredData": ["pcm"]}
        )
        async for frame in socket:
            if frame.type is aiohttp.WSMsgType.BINARY:
                self._tap.put(frame.data)
        if self._socket is socket:
            self._ending = self._cloud.tasks.spawn(self._end(), f"grace {self.user}")

    async def close(self) -> None:
        """Everything that it holds."""
        await self._client.__aexit__()
        self._tap.close()

    async def _end(self) -> None:
        await asyncio.sleep(GRACE)
        self._cloud.sessions.pop(self.user, None)
        await self.close()

    def _joining(self) -> dict[str, Any]:
        keys, user = self._cloud.keys, self.user
        token = agent_token(keys, user=user, room=user, ttl=BRIDGE_TOKEN)
        return {"user_id": user, "room_name": user, "token": token, "livekit_url": self._cloud.livekit_url}


class OriginalCloud:
    """The program; `sessions` by user."""

    def __init__(self, env: os._Environ[str]) -> None:
        self.livekit_url = env["LIVEKIT_URL"]
        self.bridge = f"unix:{env['LIVEKIT_GRPC_SOCKET']}"
        self.keys = LiveKitKeys(env["LIVEKIT_API_KEY"], env["LIVEKIT_API_SECRET"])
        self.tap = Path(env["GLASSBRIDGE_TAP"])
        self.tasks = TaskGroup("original-cloud")
        self.sessions: dict[UserId, Session] = {}
        self._phones_url = env.get("GLASSBRIDGE_LIVEKIT_PUBLIC_URL", self.livekit_url)
        self._secret = env["AUGMENTOS_AUTH_JWT_SECRET"]
        self._numbers = count(1)

    def app(self) -> web.Application:
        """Its routes."""
        app = web.Application()
        app.router.add_get("/glasses-ws", self.glasses)
        app.router.add_get("/api/client/livekit/token", self.token)
        app.router.add_get("/readyz", self.ready)
        app.router.add_get("/health", self.ready)
        return app

    async def glasses(self, request: web.Request) -> web.StreamResponse:
        """A phone's socket."""
        user = self._user(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        session = self.sessions.get(user)
        if session is None:
            session = self.sessions[user] = Session(user, next(self._numbers), self)
        await session.serve(socket)
        return socket

    async def token(self, request: web.Request) -> web.Response:
        """For the phone's place in its room."""
        user = self._user(request)
        token = phone_token(self.keys, user=user, room=user, ttl=PHONE_TOKEN)
        data = {"url": self._phones_url, "token": token, "room": user, "identity": user}
        return web.json_response({"success": True, "data": data})

    async def ready(self, _request: web.Request) -> web.Response:
        """Whether its bridge answers: what the lab asks, not the original."""
        return web.json_response({"bridges": int(await answers(self.bridge))})

    def _user(self, request: web.Request) -> UserId:
        try:
            shown = bearer(request.headers.get("Authorization"), request.query.get("token"))
            return verify_core_token(shown, self._secret)
        except CoreTokenError as error:
            raise web.HTTPUnauthorized(text=str(error)) from None


async def main(host: str, port: int) -> None:
    """Serves until SIGTERM; then its sockets are cut, as those of a process that ends."""
    cloud = OriginalCloud(os.environ)
    async with AsyncExitStack() as clean:
        stop = clean.enter_context(stop_on_signals())
        runner = web.AppRunner(cloud.app(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        clean.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, host, port, reuse_address=True).start()
        await stop.wait()
        await cloud.tasks.close()
        for session in cloud.sessions.values():
            await session.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
