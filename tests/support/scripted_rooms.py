"""LiveKit's room service without LiveKit: an HTTP server that says what a test tells it about who is in a room."""

import asyncio

from aiohttp import web
from livekit.protocol import models, room


class ScriptedRooms:
    """`async with`; everybody is in each room unless a test takes somebody out."""

    def __init__(self) -> None:
        self.url = ""
        self.without_phone = False
        self.without_agent = False
        self.silent = False
        """No call gets an answer."""
        self.asked: list[str] = []
        """Rooms of which somebody wanted to know who is there."""
        self.put_out: list[tuple[str, str]] = []
        """(room, identity) of those whom somebody put out."""
        self._over = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> "ScriptedRooms":
        app = web.Application()
        app.router.add_post("/twirp/livekit.RoomService/ListParticipants", self._participants)
        app.router.add_post("/twirp/livekit.RoomService/ListRooms", self._rooms)
        app.router.add_post("/twirp/livekit.RoomService/RemoveParticipant", self._remove)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"ws://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._over.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _rooms(self, _request: web.Request) -> web.Response:
        if self.silent:
            await self._over.wait()
        return web.Response(body=b"", content_type="application/protobuf")

    async def _remove(self, request: web.Request) -> web.Response:
        who = room.RoomParticipantIdentity.FromString(await request.read())
        self.put_out.append((who.room, who.identity))
        return web.Response(body=b"", content_type="application/protobuf")

    async def _participants(self, request: web.Request) -> web.Response:
        name = room.ListParticipantsRequest.FromString(await request.read()).room
        self.asked.append(name)
        if self.silent:
            await self._over.wait()
        here = [(name, self.without_phone), (f"cloud-agent:{name}", self.without_agent)]
        participants = [models.ParticipantInfo(identity=identity) for identity, absent in here if not absent]
        answer = room.ListParticipantsResponse(participants=participants)
        return web.Response(body=answer.SerializeToString(), content_type="application/protobuf")
