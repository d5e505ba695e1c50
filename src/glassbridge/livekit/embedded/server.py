"""The stand-in's HTTP side: joins, token checks, room service."""

import asyncio
import errno
from time import monotonic

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from aiortc import RTCCertificate
from livekit.protocol import rtc

from glassbridge.livekit.binary import PORT_OPTION, LiveKitServerError
from glassbridge.livekit.embedded import service
from glassbridge.livekit.embedded.member import Member, Terms
from glassbridge.livekit.embedded.room import Action, Reason, Room
from glassbridge.livekit.signal import JOIN_PATH, VALIDATE_PATH, JoinQuery, encode_response, token_of
from glassbridge.livekit.tokens import Claims, LiveKitKeys, TokenError, verify
from glassbridge.runtime.listen import cannot_listen, port_in_use
from glassbridge.runtime.tasks import TaskGroup

log = structlog.get_logger()

MAX_MESSAGE_BYTES = 512 << 10
MAX_REQUEST_BYTES = 64 << 10
CLOSE_TIMEOUT = 5.0


async def _for_any_page(request: web.Request, response: web.StreamResponse) -> None:
    """Browsers may ask from pages of any origin, as of the real server: only the token counts."""
    response.headers["Access-Control-Allow-Origin"] = "*"
    if wanted := request.headers.get("Access-Control-Request-Headers"):
        response.headers["Access-Control-Allow-Headers"] = wanted


@web.middleware
async def _preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
    return web.Response(status=204) if request.method == "OPTIONS" else await handler(request)


class EmbeddedLiveKit:
    """The stand-in; `async with` starts and stops it. After stop() or kill() it can start() again on its port.

    `port` 0 takes any free one. `host` is where it listens, for signalling and for media.
    """

    def __init__(
        self, keys: LiveKitKeys, *, port: int = 0, host: str = "127.0.0.1", refresh_interval: float = 300.0
    ) -> None:
        keys.require_strong()
        self._keys = keys
        self._host = host
        self._terms = Terms(keys, RTCCertificate.generateCertificate(), host, refresh_interval=refresh_interval)
        self._runner: web.AppRunner | None = None
        self._tasks = TaskGroup("embedded LiveKit")
        self._members: dict[Member, asyncio.Task[None]] = {}
        self.rooms: dict[str, Room] = {}
        self.port = port

    @property
    def url(self) -> str:
        return f"ws://{self._host}:{self.port}"

    async def __aenter__(self) -> "EmbeddedLiveKit":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Returns when it answers. Raises LiveKitServerError when its port is in use."""
        begun = monotonic()
        app = web.Application(client_max_size=MAX_REQUEST_BYTES, middlewares=[_preflight])
        app.on_response_prepare.append(_for_any_page)
        app.router.add_get("/", self._health)
        app.router.add_get(JOIN_PATH, self._join)
        app.router.add_get(VALIDATE_PATH, self._validate)
        app.router.add_post(service.PREFIX + "{method}", self._room_service)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=CLOSE_TIMEOUT)
        await runner.setup()
        site = web.TCPSite(runner, self._host, self.port, reuse_address=True)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            if error.errno == errno.EADDRINUSE:
                raise LiveKitServerError(f"TCP {port_in_use(self.port, PORT_OPTION)}") from None
            raise LiveKitServerError(cannot_listen(f"{self._host}:{self.port}", error)) from None
        self._runner = runner
        self._tasks = TaskGroup("embedded LiveKit")
        self.port = runner.addresses[0][1]
        took = round((monotonic() - begun) * 1000)
        log.warning("embedded LiveKit started: a stand-in for development only", url=self.url, took_ms=took)

    async def stop(self) -> None:
        """Tells everybody SERVER_SHUTDOWN and frees everything; idempotent."""
        await self._end(silently=False)

    async def kill(self) -> None:
        """Goes away as in a crash: every connection breaks silently; idempotent."""
        await self._end(silently=True)

    async def _end(self, *, silently: bool) -> None:
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        for site in list(runner.sites):
            await site.stop()
        for member in self._members:
            if silently:
                member.abort()
            member.dismiss(Reason.SERVER_SHUTDOWN)
        if self._members:
            await asyncio.wait(self._members.values(), timeout=CLOSE_TIMEOUT)
        await self._tasks.close()
        await runner.cleanup()
        self.rooms.clear()

    # Requests

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def _validate(self, request: web.Request) -> web.Response:
        self._claims_to_join(request)
        return web.Response(text="success")

    async def _join(self, request: web.Request) -> web.StreamResponse:
        claims = self._claims_to_join(request)
        query = JoinQuery.parse(request.query)
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES, compress=False)
        await socket.prepare(request)
        if query.reconnect:
            # The real server resumes the participant that holds the identity now (traps B3); this one never resumes.
            leave = rtc.LeaveRequest(reason=Reason.STATE_MISMATCH, action=Action.RECONNECT, can_reconnect=True)
            await socket.send_bytes(encode_response(leave=leave))
            return socket
        if self._runner is None or request.transport is None:
            return socket
        room = self.rooms.setdefault(claims.room, Room(claims.room))
        member = Member(room, claims, query, socket, request.transport, self._terms)
        self._members[member] = tending = self._tasks.spawn(self._tend(member, room), member.sid)
        room.admit(member)
        await member.run()
        if member.gone:  # returning would close the socket before the last words are out
            await asyncio.wait([tending])
        return socket

    async def _tend(self, member: Member, room: Room) -> None:
        try:
            await member.ended.wait()
        finally:
            await member.close()
            del self._members[member]
            if not room.members and self.rooms.get(room.name) is room:
                del self.rooms[room.name]

    async def _room_service(self, request: web.Request) -> web.Response:
        claims = self._claims(request)
        try:
            return service.serve(self.rooms, claims, request.match_info["method"], await request.read())
        except service.TwirpError as error:
            return error.response()

    def _claims_to_join(self, request: web.Request) -> Claims:
        claims = self._claims(request)
        if not claims.join:
            raise web.HTTPUnauthorized(text="permissions denied")
        if not claims.room:
            raise web.HTTPBadRequest(text="no room name")
        if not claims.identity:
            raise web.HTTPBadRequest(text="identity cannot be empty")
        return claims

    def _claims(self, request: web.Request) -> Claims:
        """Refuses in the words of the real server, which quotes the whole token: clients must cope with that."""
        token = token_of(request.headers, request.query)
        if not token:
            raise web.HTTPUnauthorized(text="invalid authorization header. Must start with Bearer")
        try:
            return verify(token, self._keys)
        except TokenError as error:
            text = str(error)
            if text.startswith("invalid "):
                raise web.HTTPUnauthorized(text=text) from None
            raise web.HTTPUnauthorized(text=f"invalid token: {token}, error: {text}") from None
