"""Several clouds behind one address: a request of an app names its cloud, and whichever cloud gets it passes it on.

An app is told `<public URL>/at/<cloud>/app-ws`. `<cloud>` is the address by which clouds reach each other, signed with
the core secret that they share: so only addresses of such clouds are ever connected to. A request is passed on once.
"""

import asyncio
import base64
import binascii
import hmac
import re
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final

import aiohttp
import structlog
from aiohttp import WSMsgType, web
from yarl import URL

from glassbridge.cloud.answers import failure
from glassbridge.cloud.config import CloudConfig
from glassbridge.cloud.websocket import app_websocket
from glassbridge.runtime.tasks import cancelled
from glassbridge.runtime.world import REAL, World
from glassbridge.telemetry.listener import sign_in
from glassbridge.wire.apps import APP_PATHS
from glassbridge.wire.close_codes import CloseCode, may_be_sent

log = structlog.get_logger()

PREFIX: Final = "/at/"
PATHS: Final = (*APP_PATHS, "/api/tts", "/api/sounds", "/api/sdk/", "/appsettings/")
"""Of apps; nothing else is passed on."""
_NAMED: Final = re.compile(rf"{PREFIX}[\w-]+(?=/)", re.ASCII)
_FORWARDED: Final = "X-Glassbridge-Forwarded"
_PURPOSE: Final = b"glassbridge cloud address\0"
_SIGNED: Final = 16
"""Bytes of the signature that are kept."""
CONNECT_TIMEOUT: Final = 3.0
ANSWER_TIMEOUT: Final = 60.0
HEARTBEAT: Final = 15.0
_BLOCK: Final = 64 << 10
_OF_ONE_HOP: Final = frozenset({
    "connection", "host", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade", "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions",
})  # fmt: skip


def without_name(path: str) -> str:
    """The same path without a cloud's name in it."""
    return _NAMED.sub("", path, count=1)


def name_of(address: str, secret: str) -> str:
    """The signed name, in URLs, of the cloud at host:port."""
    text = address.encode()
    return base64.urlsafe_b64encode(_mac(text, secret) + text).rstrip(b"=").decode()


def address_of(name: str, secrets: tuple[str, ...]) -> str | None:
    """host:port; None: none of these secrets has signed it."""
    try:
        data = base64.urlsafe_b64decode(name + "=" * (-len(name) % 4))
        text = data[_SIGNED:].decode()
    except (binascii.Error, ValueError):
        return None
    signed = any(hmac.compare_digest(data[:_SIGNED], _mac(text.encode(), secret)) for secret in secrets)
    return text if signed else None


def _mac(text: bytes, secret: str) -> bytes:
    return hmac.new(secret.encode(), _PURPOSE + text, sha256).digest()[:_SIGNED]


class Forwarding:
    """The handler of `/at/<cloud>/...`. Use as an async context."""

    def __init__(self, config: CloudConfig, world: World = REAL) -> None:
        self._world = world
        self.address = config.address
        """host:port of this cloud; where the configuration says nothing, set once it listens."""
        self._config = config
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Forwarding":
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=ANSWER_TIMEOUT)
        self._http = self._world.http(
            timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    @property
    def base(self) -> str:
        """The path before those of apps; empty where clouds share no secret."""
        secrets = self._config.keys.core
        return f"{PREFIX}{name_of(self.address, secrets[0])}" if secrets else ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serves the request if it is for this cloud; else the cloud that it names does."""
        name, _, rest = request.rel_url.raw_path.removeprefix(PREFIX).partition("/")
        target = URL.build(path=f"/{rest}", query_string=request.rel_url.raw_query_string, encoded=True)
        address = address_of(name, self._config.keys.core)
        if address is None or not f"/{rest}".startswith(PATHS):
            raise web.HTTPNotFound
        if address == self.address or _FORWARDED in request.headers:
            return await self._here(request.clone(rel_url=target))
        assert self._http is not None
        there = URL(f"http://{address}{target.raw_path_qs}", encoded=True)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_ONE_HOP}
        headers[_FORWARDED] = "1"
        headers["X-Forwarded-For"] = ", ".join([*request.headers.getall("X-Forwarded-For", ()), request.remote or ""])
        try:
            if f"/{rest}" in APP_PATHS:
                return await self._socket(self._http, request, there, headers)
            return await self._request(self._http, request, there, headers)
        except aiohttp.WSServerHandshakeError as error:
            return failure(
                error.status, "NOT_LET_IN", "the cloud that has this user does not open a socket: see its log"
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.info("request not passed on", cloud=address, error=type(error).__name__)
            return failure(502, "CLOUD_UNREACHABLE", "the cloud that has this user does not answer: try again")

    @staticmethod
    async def _here(request: web.Request) -> web.StreamResponse:
        """As if it had come without the name."""
        match = await request.app.router.resolve(request)
        match.add_app(request.app)
        match.freeze()
        request._match_info = match
        answer: web.StreamResponse = await match.handler(request)
        return answer

    @staticmethod
    async def _request(
        http: aiohttp.ClientSession, request: web.Request, there: URL, headers: dict[str, str]
    ) -> web.StreamResponse:
        data = request.content.iter_chunked(_BLOCK) if request.can_read_body else None
        async with http.request(request.method, there, data=data, headers=headers, allow_redirects=False) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_ONE_HOP}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for piece in answer.content.iter_chunked(_BLOCK):
                await response.write(piece)
            await response.write_eof()
            return response

    async def _socket(
        self, http: aiohttp.ClientSession, request: web.Request, there: URL, headers: dict[str, str]
    ) -> web.StreamResponse:
        near = app_websocket(self._config)
        if not near.can_prepare(request):
            return failure(426, "UPGRADE_REQUIRED", "this address speaks WebSocket only: connect with ws:// or wss://")
        far_options: dict[str, Any] = {"headers": headers, "autoping": False, "autoclose": False, "max_msg_size": 0}
        async with http.ws_connect(there, heartbeat=HEARTBEAT, **far_options) as far:
            await near.prepare(request)
            sign_in(request, for_good=True)  # the other cloud closes what does not sign in
            log.info("app passed on", cloud=there.authority)
            up = asyncio.create_task(_pump(near, far), name="app:up")
            down = asyncio.create_task(_pump(far, near), name="app:down")
            try:
                await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            finally:
                await cancelled(up, down)
                if not near.closed and request.transport is not None:
                    # No close frame came: a code would be a goodbye, which the other cloud has not said.
                    request.transport.abort()
        return near


Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _pump(source: Socket, sink: Socket) -> None:
    """Hands on until either end is gone; the close with its code, too."""
    with suppress(ConnectionError):
        while True:
            message = await source.receive()
            match message.type:
                case WSMsgType.TEXT:
                    await sink.send_str(message.data)
                case WSMsgType.BINARY:
                    await sink.send_bytes(message.data)
                case WSMsgType.PING:
                    await sink.ping(message.data)
                case WSMsgType.PONG:
                    await sink.pong(message.data)
                case WSMsgType.CLOSE:
                    code = int(message.data or CloseCode.NORMAL)
                    said = (message.extra or "").encode()
                    await sink.close(code=code if may_be_sent(code) else CloseCode.GOING_AWAY, message=said)
                    return
                case _:
                    return
