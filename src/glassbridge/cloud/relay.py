"""Passes requests on to another cloud, one hop: whole ones, streamed ones, WebSockets.

A relayed request says so in a header, which is signed over method, target and client by the secret that the clouds
share. A cloud that gets one serves it and never relays it again; the request counts against the client, not
the cloud that relayed it. Permissions are checked where the request is served, by the client's own credentials.
"""

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import aiohttp
import structlog
from aiohttp import WSMsgType, web
from yarl import URL

from glassbridge.cloud.answers import refuse
from glassbridge.cloud.body import CONTINUE
from glassbridge.cloud.config import CloudConfig
from glassbridge.cloud.websocket import WebSocket, app_websocket
from glassbridge.core.app_times import LOOK_EVERY, LOOKS
from glassbridge.runtime.tasks import cancelled
from glassbridge.runtime.tcp import lost
from glassbridge.runtime.world import REAL, World
from glassbridge.telemetry import metrics
from glassbridge.telemetry.listener import sign_in
from glassbridge.wire.close_codes import CloseCode, may_be_sent
from glassbridge.wire.rejections import Rejection

log = structlog.get_logger()

HEADER: Final = "X-Glassbridge-Forwarded"
RELAYED: Final = web.RequestKey("relayed", bool)
"""Of a request that another cloud has relayed."""
CONNECT_TIMEOUT: Final = 3.0
ANSWER_TIMEOUT: Final = 60.0
"""Seconds between two pieces of an answer, and in which the client takes one."""
HANDSHAKE_TIME: Final = 5.0
"""Seconds in which the other cloud opens a WebSocket, or refuses it: the app is deaf meanwhile, and comes again."""
HEARTBEAT: Final = 15.0
MOST_AT_ONCE: Final = 8_192
"""Connections to other clouds: each app that came to the wrong one takes one."""
UNREACHABLE: Final = (aiohttp.ClientError, TimeoutError, OSError, ValueError)
"""Errors of a request to another cloud. ValueError: the directory, or another cloud, has named a bad address."""
MAX_ANSWER: Final = 32 << 20
"""Bytes of an answer that is read as a whole."""
_PURPOSE: Final = b"glassbridge relayed request\0"
_BLOCK: Final = 64 << 10
_OF_ONE_HOP: Final = frozenset({
    "connection", "host", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade", "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions",
    "x-forwarded-for", HEADER.lower(),
})  # fmt: skip
_OF_ONE_BODY: Final = frozenset({"content-length", "content-encoding", "expect"})


@dataclass(frozen=True, slots=True)
class RelayedAnswer:
    """An answer that was read as a whole. Names of headers are as they were sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def response(self) -> web.Response:
        """The same, for the client."""
        return web.Response(status=self.status, headers=self.headers, body=self.body)


class RequestRelay:
    """Use as an async context."""

    def __init__(self, config: CloudConfig, world: World = REAL) -> None:
        self._config = config
        self._world = world
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "RequestRelay":
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=ANSWER_TIMEOUT)
        self._http = self._world.http(
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            limit=MOST_AT_ONCE,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    # ---- what comes from other clouds

    async def accept(
        self, request: web.Request, serve: Callable[[web.Request], Any], fallback: int = 401
    ) -> web.StreamResponse:
        """Serves a request that a cloud of ours has relayed; others are answered `fallback`."""
        client = self._client(request)
        if client is None:
            log.warning("relayed request refused", peer=request.remote, cause="no secret of ours has signed it")
            return web.Response(status=fallback)
        sign_in(request)
        inner = request.clone(remote=client)
        inner[RELAYED] = True
        answer: web.StreamResponse = await serve(inner)
        return answer

    @staticmethod
    def is_relayed(request: web.Request) -> bool:
        """Whether it may not be relayed again; anybody may say so of a request of its own."""
        return RELAYED in request or HEADER in request.headers

    def _client(self, request: web.Request) -> str | None:
        """The client for which another cloud has relayed this; None: not signed by a secret of ours."""
        client = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
        shown = request.headers.get(HEADER, "").encode(errors="backslashreplace")
        path = request.rel_url.raw_path_qs
        signed = any(
            hmac.compare_digest(shown, _signature(request.method, path, client, secret).encode())
            for secret in self._secrets
        )
        return client if signed else None

    # ---- what goes to other clouds

    async def stream(self, request: web.Request, address: str, target: URL) -> web.StreamResponse:
        """The answer of the cloud at `address`, as it comes; an error of ours when there is none. An answer that ends
        half-way ends the connection: the client must not take what is there for all of it."""
        response: web.StreamResponse | None = None
        try:
            async with self._ask(request, address, target, data=_body(request)) as answer:
                kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_ONE_HOP}
                response = web.StreamResponse(status=answer.status, headers=kept)
                await response.prepare(request)
                async for piece in answer.content.iter_chunked(_BLOCK):
                    async with asyncio.timeout(ANSWER_TIMEOUT):
                        await response.write(piece)
                await response.write_eof()
                metrics.RELAYED.add("stream")
                return response
        except UNREACHABLE as error:
            refusal = _unreachable(address, error)
            if response is None:
                return refusal
            if request.transport is not None:
                request.transport.abort()
            return response

    async def whole(
        self, request: web.Request, address: str, body: bytes, within: float, target: URL | None = None
    ) -> RelayedAnswer | None:
        """The answer of the cloud at `address`; None: it did not answer within so many seconds. Never raises."""
        try:
            async with (
                asyncio.timeout(within),
                self._ask(request, address, target or request.rel_url, data=body or None) as answer,
            ):
                said = bytearray()
                async for piece in answer.content.iter_chunked(_BLOCK):
                    said += piece
                    if len(said) > MAX_ANSWER:
                        return None
                kept = {
                    name: value
                    for name, value in answer.headers.items()
                    if name.lower() not in _OF_ONE_HOP and name.lower() != "content-length"
                }
                return RelayedAnswer(answer.status, kept, bytes(said))
        except UNREACHABLE as error:
            log.info("request not relayed", cloud=address, error=type(error).__name__)
            return None

    async def socket(
        self,
        request: web.Request,
        address: str,
        target: URL,
        near: WebSocket | None = None,
        first: Sequence[str | bytes] = (),
    ) -> web.StreamResponse:
        """A WebSocket of an app; `near` is open already when `first` has come on it."""
        opened, near = near is not None, near or app_websocket(self._config)
        if not opened and not near.can_prepare(request):
            return refuse(Rejection.WEBSOCKET_ONLY)
        assert self._http is not None
        options: dict[str, Any] = {"autoping": False, "autoclose": False, "max_msg_size": 0}
        headers = self._headers(request, target)
        try:
            async with asyncio.timeout(HANDSHAKE_TIME):
                far = await self._http.ws_connect(
                    URL(f"http://{address}{target.raw_path_qs}", encoded=True),
                    heartbeat=HEARTBEAT,
                    headers=headers,
                    **options,
                )
            async with far:
                if not opened:
                    await near.prepare(request)
                sign_in(request, for_good=True)  # the other cloud closes what does not sign in
                metrics.RELAYED.add("socket")
                log.info("app socket relayed", cloud=address)
                for said in first:
                    await (far.send_str(said) if isinstance(said, str) else far.send_bytes(said))
                await _join(near, far, request.transport)
                if not near.closed and request.transport is not None:
                    # No close frame came: a code would be a goodbye, which the other cloud has not said.
                    request.transport.abort()
            return near
        except aiohttp.WSServerHandshakeError as error:
            if opened:
                raise
            return refuse(Rejection.NOT_LET_IN, status=error.status)
        except UNREACHABLE as error:
            if opened:
                raise
            return _unreachable(address, error)

    def _ask(self, request: web.Request, address: str, target: URL, data: Any) -> Any:
        assert self._http is not None
        headers = self._headers(request, target)
        if not isinstance(data, AsyncIterator):  # a body that was read already
            headers = {name: value for name, value in headers.items() if name.lower() not in _OF_ONE_BODY}
        there = URL(f"http://{address}{target.raw_path_qs}", encoded=True)
        return self._http.request(request.method, there, data=data, headers=headers, allow_redirects=False)

    def _headers(self, request: web.Request, target: URL) -> dict[str, str]:
        client = request.remote or ""
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_ONE_HOP}
        headers["X-Forwarded-For"] = ", ".join([*request.headers.getall("X-Forwarded-For", ()), client])
        method = "GET" if "Upgrade" in request.headers else request.method
        headers[HEADER] = _signature(method, target.raw_path_qs, client, self._secrets[0])
        return headers

    @property
    def _secrets(self) -> tuple[str, ...]:
        """The first one signs, all of them verify."""
        cluster = self._config.cluster
        return self._config.keys.core if cluster is None else cluster.secrets


def _signature(method: str, path: str, client: str, secret: str) -> str:
    said = "\0".join((method, path, client)).encode(errors="surrogateescape")
    return hmac.new(secret.encode(), _PURPOSE + said, sha256).hexdigest()


def _unreachable(address: str, error: BaseException) -> web.Response:
    log.info("request not relayed", cloud=address, error=type(error).__name__)
    return refuse(Rejection.CLOUD_UNREACHABLE)


def _body(request: web.Request) -> AsyncIterator[bytes] | None:
    return _pieces(request) if request.can_read_body else None


async def _pieces(request: web.Request) -> AsyncIterator[bytes]:
    """The body; a client that waits for `100 Continue` gets it once the other cloud has sent it."""
    if "Expect" in request.headers:
        await request.writer.write(CONTINUE)
        request.writer.output_size = 0  # the answer has not begun
    async for piece in request.content.iter_chunked(_BLOCK):
        yield piece


Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _join(near: Socket, far: Socket, transport: asyncio.Transport | None) -> None:
    """Hands on both ways until either end is gone. The other cloud sees our machine acknowledge what it sends: that the
    app's does not any more, `transport` shows only here."""
    up = asyncio.create_task(_pump(near, far), name="app:up")
    down = asyncio.create_task(_pump(far, near), name="app:down")
    unseen = asyncio.create_task(_lost(transport), name="app:lost")
    try:
        await asyncio.wait((up, down, unseen), return_when=asyncio.FIRST_COMPLETED)
        died = unseen.done()
    finally:
        await cancelled(up, down, unseen)
    if died:
        log.warning("app unreachable", reason="its machine acknowledges nothing that is sent")
        await far.close(code=CloseCode.SILENT)


async def _lost(transport: asyncio.Transport | None) -> None:
    """Until the app's machine is gone; for ever where that is not known."""
    if transport is not None and (raw := transport.get_extra_info("socket")) is not None:
        await lost(raw, LOOK_EVERY, LOOKS)
    else:
        await asyncio.get_running_loop().create_future()


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
