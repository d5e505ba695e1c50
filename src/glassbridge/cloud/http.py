"""The HTTP side of a cloud: admission of callers, and answers in JSON."""

import asyncio
from typing import Any, Final

import structlog
from aiohttp import web

from glassbridge.cloud.admin import AdminRoutes
from glassbridge.cloud.admin_gate import AdminGate
from glassbridge.cloud.answers import NoSession, failure, refuse, success
from glassbridge.cloud.apps.forwarding import PREFIX, Forwarding
from glassbridge.cloud.apps.host import AppHost
from glassbridge.cloud.apps.rest import AppRoutes
from glassbridge.cloud.apps.settings_rest import SettingsRoutes
from glassbridge.cloud.apps.sockets import AppSockets
from glassbridge.cloud.apps.storage import Storage
from glassbridge.cloud.apps.tts import Tts
from glassbridge.cloud.apps.uploads import Uploads
from glassbridge.cloud.auth import CoreTokenError, bearer, only_authorization
from glassbridge.cloud.body import expect_later
from glassbridge.cloud.clock import iso_now
from glassbridge.cloud.config import CloudConfig
from glassbridge.cloud.connection import ConnectParams, PhoneConnection
from glassbridge.cloud.console.development import Development
from glassbridge.cloud.console.pages import ConsolePages
from glassbridge.cloud.exchange import Exchange
from glassbridge.cloud.origins import Origins
from glassbridge.cloud.other_clouds import OtherClouds
from glassbridge.cloud.overview import Overview
from glassbridge.cloud.phone_rest import PhoneRoutes
from glassbridge.cloud.recheck import Recheck
from glassbridge.cloud.relay import RequestRelay
from glassbridge.cloud.sessions import Sessions
from glassbridge.cloud.tokens import CoreTokens, Permit
from glassbridge.cloud.transcripts import TranscriptRoutes
from glassbridge.cloud.user_requests import UserRequests
from glassbridge.cloud.websocket import VERSION_HEADERS, phone_websocket
from glassbridge.core.lease import LeaseState
from glassbridge.core.ownership import NodeState
from glassbridge.core.values import UserId
from glassbridge.livekit.tokens import phone_token
from glassbridge.runtime.coarse_timer import CoarseTimer
from glassbridge.speech.voice import Voice
from glassbridge.telemetry import exposition, metrics
from glassbridge.telemetry.listener import know_client, sign_in
from glassbridge.telemetry.numbers import Program
from glassbridge.wire.close_codes import CloseCode
from glassbridge.wire.phone import ConnectionError_, encode
from glassbridge.wire.rejections import Rejected, Rejection

log = structlog.get_logger()

MAX_BODY = 64 << 10
"""Bytes; nothing here takes a body so far."""


PERMIT = web.RequestKey("permit", Permit)
"""Of a request whose core token was verified already."""


_OF_AIOHTTP: Final = {404: Rejection.ADDRESS_UNKNOWN, 405: Rejection.METHOD_WRONG}


@web.middleware
async def errors_as_json(request: web.Request, handler: Any) -> web.StreamResponse:
    """Errors of aiohttp itself (no such path, wrong method) in the same shape; a failure of ours says nothing more."""
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        if (rejection := _OF_AIOHTTP.get(error.status)) is not None:
            return refuse(rejection)
        return failure(error.status, error.reason.upper().replace(" ", "_"), error.reason)
    except Rejected as error:
        return failure(error.status, error.code, str(error))
    except NoSession:
        return NoSession.answer()
    except Exception:  # boundary: one request fails, not the server
        if request.transport is None or request.transport.is_closing():
            raise
        log.exception("request failed", path=request.path[:512], peer=request.remote)
        return refuse(Rejection.SERVER_FAILED)
    return response


class HttpApi:
    """The handlers. One instance for each running cloud."""

    def __init__(
        self,
        config: CloudConfig,
        sessions: Sessions,
        apps: AppHost,
        voice: Voice | None,
        tokens: CoreTokens,
        recheck: Recheck,
        forwarding: Forwarding,
        relay: RequestRelay,
    ) -> None:
        self._config = config
        self._forwarding = forwarding
        self._sessions = sessions
        self._tokens = tokens
        self._recheck = recheck
        self._timer = CoarseTimer()
        """Of all phones."""
        self._origins = Origins(config.allowed_origins)
        sign_in_time = config.connections.sign_in_time
        sockets = AppSockets(apps, sessions, config, recheck, self._origins, relay)
        self._host = apps
        self._apps = AppRoutes(apps, sessions, sockets, self._user)
        self._exchange = Exchange(config, tokens, apps.world)
        self._storage = Storage(apps, apps.store)
        self._settings = SettingsRoutes(apps, apps.store, sessions, self._user)
        self._phone = PhoneRoutes(sessions, self._user)
        self._transcripts = TranscriptRoutes(sessions, self._user)
        self._tts = Tts(apps, voice, self._user)
        self.uploads = Uploads(apps, config.connections.body_time, self._name_of_sounds)
        self._users = UserRequests(sessions, relay, forwarding, self._user, apps.world.monotonic)
        self._development = Development(config.dev_control)
        gate = AdminGate(config.admin_token, *config.former_admin_tokens)
        others = OtherClouds(lambda: sessions.keeper, relay)
        development = self._development.here
        self._admin = AdminRoutes(
            gate, sessions.flights, others, Overview(sessions), sign_in_time, development=development
        )
        self._console = ConsolePages(config.phones_livekit_url)

    def application(self) -> web.Application:
        """All routes."""
        middlewares = [know_client, self._origins.share, errors_as_json, self._users.middleware]
        app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY)
        app.router.add_get("/glasses-ws", self.phone_socket)
        app.router.add_get("/ws/client", self.phone_socket)
        app.router.add_get("/api/client/livekit/token", self.livekit_token)
        app.router.add_get("/health", self.health)
        app.router.add_get("/livez", self.live)
        app.router.add_get("/readyz", self.ready)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/api/tts", self._tts.get)
        self.uploads.add_to(app.router)
        self._apps.add_to(app.router)
        app.router.add_route("*", f"{PREFIX}{{cloud}}/{{rest:.*}}", self._forwarding.serve, expect_handler=expect_later)
        self._exchange.add_to(app.router)
        self._storage.add_to(app.router)
        self._settings.add_to(app.router)
        self._phone.add_to(app.router)
        self._transcripts.add_to(app.router)
        self._admin.add_to(app.router)
        self._development.add_to(app.router, self._admin.refusal)
        self._console.add_to(app.router)
        return app

    def _name_of_sounds(self) -> str:
        """Of this cloud, in the addresses of sounds that it keeps; empty where it is alone."""
        is_alone = self._config.cluster is None and not self._config.apps.public_url
        return "" if is_alone else self._forwarding.name

    async def _permit(self, request: web.Request) -> Permit:
        known: Permit | None = request.get(PERMIT)
        if known is not None:
            return known
        token = bearer(only_authorization(request.headers), request.query.get("token"))
        permit = request[PERMIT] = await self._tokens.verify(token)
        sign_in(request)
        return permit

    async def _user(self, request: web.Request) -> UserId:
        return (await self._permit(request)).user

    async def phone_socket(self, request: web.Request) -> web.StreamResponse:
        """`/glasses-ws`: refuses in JSON before the upgrade, or serves the phone until its socket closes."""
        if not self._origins.allow(request):
            return _refusal(Rejected(Rejection.ORIGIN_NOT_ALLOWED))
        try:
            permit = await self._permit(request)
        except CoreTokenError as error:
            log.info("phone refused", code=error.code, peer=request.remote)
            return _refusal(error)
        user = permit.user
        if not self._sessions.stage.takes:
            return _refusal(Rejected(Rejection.PHONE_WHILE_STOPPING))
        if not self._sessions.has_room(user):
            log.warning("phone refused", code="SESSION_ERROR", user_id=user)
            return _refusal(Rejected(Rejection.PHONE_WHILE_FULL))
        socket = phone_websocket(self._config)
        if not socket.can_prepare(request):
            return _refusal(Rejected(Rejection.WEBSOCKET_ONLY))
        await socket.prepare(request)
        sign_in(request, for_good=True)
        connection = PhoneConnection(
            socket,
            request.transport,
            user,
            self._sessions.next_number(),
            ConnectParams.of(request),
            self._config,
            self._timer,
        )
        with self._recheck.guards(
            lambda: self._tokens.still_good(permit), lambda: connection.close(CloseCode.TOKEN_ENDED)
        ):
            await self._sessions.serve(connection)
        return socket

    async def livekit_token(self, request: web.Request) -> web.Response:
        """Where the phone's LiveKit room is, with a fresh token."""
        user, config = await self._user(request), self._config
        token = phone_token(
            config.livekit_keys, user=user, room=user, ttl=config.client_token_ttl, now=self._host.world.wall()
        )
        log.info("LiveKit token minted", holder="phone", user_id=user, seconds=config.client_token_ttl)
        data = {"url": config.phones_livekit_url, "token": token, "room": user, "identity": user}
        return success(data, headers={"Cache-Control": "no-store"})

    async def health(self, request: web.Request) -> web.Response:
        """Whether this cloud serves, for load balancers and people; always 200 while it answers at all. Operators are
        told how much it serves, too."""
        pool, directory = self._sessions.pool, self._sessions.keeper.state
        is_well = pool.live and directory is not LeaseState.AWAY
        status = "draining" if not self._sessions.stage.ready else "ok" if is_well else "degraded"
        told: dict[str, object] = {"status": status, "timestamp": iso_now()}
        if self._admin.sees(request):
            told |= {
                "sessions": {"activeCount": self._sessions.active},
                "bridges": {"live": pool.live, "total": len(pool.bridges)},
                "directory": directory.label,
                "tasks": len(asyncio.all_tasks()),
            }
        return web.json_response(told)

    async def metrics(self, request: web.Request) -> web.Response:
        """The metrics of this cloud, for callers with the admin token: they tell how many users there are."""
        if (refusal := self._admin.refusal(request)) is not None:
            return refusal
        return exposition.response(request, lambda: [((), metrics.snapshot(Program.CLOUD))])

    async def live(self, _request: web.Request) -> web.Response:
        """The event loop turns."""
        return web.Response(text="ok")

    async def ready(self, _request: web.Request) -> web.Response:
        """Whether new phones are welcome: 503 while draining or full.

        Without a bridge, LiveKit or the directory they still are: sockets carry audio too, and what all clouds share
        must not turn phones away from all of them.
        """
        match self._sessions.node_state()[0]:
            case NodeState.DRAINING:
                return refuse(Rejection.STOPPING)
            case NodeState.FULL:
                return refuse(Rejection.FULL)
        return web.json_response({"status": "ready", "bridges": self._sessions.pool.live})


def _refusal(why: Rejected) -> web.Response:
    """What a phone gets instead of a socket."""
    status = why.status
    body = encode(ConnectionError_(code=why.code, message=str(why), timestamp=iso_now()))
    headers = VERSION_HEADERS if status == 426 else None
    return web.Response(status=status, text=body, content_type="application/json", headers=headers)
