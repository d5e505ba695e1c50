"""An HTTP listener that bounds its connections and their times: aiohttp has no limit to connections and no time for a
header (core/connections.py decides both).

What aiohttp answers by itself, such as to bytes that are no HTTP, has the shape of all other errors here.
"""

import asyncio
import resource
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

import msgspec
import structlog
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from glassbridge.core.addresses import TrustedProxies
from glassbridge.core.connections import ConnectionLimits, ConnectionRefusal, Connections, Wait
from glassbridge.runtime.timer import Timer
from glassbridge.telemetry import metrics
from glassbridge.telemetry.access import CLIENT, SERVER_LOGGER, AccessLogger
from glassbridge.wire.rejections import Rejection

log = structlog.get_logger()

BACKLOG: Final = 4096
"""Connections that the kernel holds until we take them; aiohttp's 128 overflow when all phones come back at once. The
kernel cuts it down to net.core.somaxconn."""
LINGER: Final = 2.0
"""Seconds for which an unwanted body is read on, so that its sender sees the answer."""
AT_ONCE: Final = 100
"""Connections that are cut off in one go: the event loop has other work, too."""
TELL_EVERY: Final = 10.0
"""Seconds between two log lines about connections that were refused or cut off."""
SERVER: Final = "glassbridge"
"""Header `Server`: no version of anything."""
SPARE_DESCRIPTORS: Final = 64
"""A connection whose descriptor is one of the last so many is refused: accept() never runs out of them, and log files,
bridges and registries can still be opened."""
OUT_OF_DESCRIPTORS: Final = "descriptors"

_ANSWERS: Final = {
    ConnectionRefusal.FULL.value: Rejection.CONNECTIONS_FULL,
    ConnectionRefusal.ADDRESS_FULL.value: Rejection.ADDRESS_FULL,
    OUT_OF_DESCRIPTORS: Rejection.DESCRIPTORS_FULL,
    Wait.HEADER.value: Rejection.HEADER_LATE,
}
_REASONS: Final = {408: "Request Timeout", 429: "Too Many Requests", 503: "Service Unavailable"}


def error_body(rejection: Rejection) -> bytes:
    """The JSON of an error that has no handler."""
    error = {"code": rejection.code, "message": rejection.text()}
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return msgspec.json.encode({"success": False, "error": error, "timestamp": now})


def _raw(reason: str) -> bytes:
    """A whole HTTP answer for a peer that has no request."""
    rejection = _ANSWERS[reason]
    status, body = rejection.status or 400, error_body(rejection)
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nServer: {SERVER}\r\nContent-Type: application/json; charset=utf-8\r\n"
        f"X-Content-Type-Options: nosniff\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Gate:
    """The connections of one listener, with the one timer that they share."""

    def __init__(self, limits: ConnectionLimits, proxies: TrustedProxies | None = None) -> None:
        self._descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._all: Connections[GuardedHandler] = Connections(limits.fitted(self._descriptors))
        self.limits = self._all.limits
        self.proxies = proxies or TrustedProxies()
        self._timer = Timer(self._expire)
        """It may ring for a connection that can wait longer than a newer one."""
        self._untold: Counter[tuple[str, str]] = Counter()
        self._told_at = float("-inf")

    def __len__(self) -> int:
        return len(self._all)

    @property
    def waiting(self) -> int:
        """Connections that we wait for."""
        return self._all.waiting

    def open(self, handler: "GuardedHandler", address: str, descriptor: int) -> bytes | None:
        """None: the connection is taken; else what it is answered."""
        if descriptor >= self._descriptors - SPARE_DESCRIPTORS:
            return self._refused(OUT_OF_DESCRIPTORS, address)
        proxied = address in self.proxies
        refusal, other = self._all.open(handler, "" if proxied else address, _now())
        if refusal is not None:
            return self._refused(refusal.value, address)
        if other is not None:
            reason = ConnectionRefusal.ADDRESS_FULL if other.address == address else ConnectionRefusal.FULL
            other.time_out(self._refused(reason.value, other.address))
        if proxied:
            self._all.sign_in(handler)
        self._arm()
        return None

    def charge(self, handler: "GuardedHandler", client: str) -> bool:
        """A proxy has brought a request of `client`; False: that address has as many connections as it may."""
        refusal = self._all.charge(handler, client)
        if refusal is not None:
            self._refused(refusal.value, client)
        return refusal is None

    def sign_in(self, handler: "GuardedHandler", *, for_good: bool) -> None:
        """The peer has shown who it is; `for_good`: its WebSocket begins."""
        self._all.sign_in(handler)
        if for_good:
            self._all.release(handler)

    def wait(self, handler: "GuardedHandler", wait: Wait | None) -> None:
        """It is waited for this."""
        self._all.wait(handler, wait, _now())
        self._arm()

    def wait_for_request(self, handler: "GuardedHandler") -> None:
        """Its answer was taken."""
        self._all.wait_for_request(handler, _now())
        self._arm()

    def close(self, handler: "GuardedHandler") -> None:
        """It is gone."""
        self._all.close(handler)

    def stop(self) -> None:
        """The listener is closed."""
        self._timer.stop()

    def _arm(self) -> None:
        at = self._all.next_deadline()
        if at is not None:
            self._timer.by(at)

    def _expire(self) -> None:
        for handler, wait in self._all.expire(_now(), AT_ONCE):
            metrics.CONNECTIONS_TIMED_OUT.add(wait.value)
            if wait in (Wait.HEADER, Wait.ANSWER):
                self._tell(wait.value, handler.address)
            handler.time_out(_raw(wait.value) if wait is Wait.HEADER else b"", abort=wait is Wait.ANSWER)
        self._arm()

    def _refused(self, reason: str, address: str) -> bytes:
        metrics.CONNECTIONS_REFUSED.add(reason)
        self._tell(reason, address)
        return _raw(reason)

    def _tell(self, reason: str, address: str) -> None:
        """One line each TELL_EVERY seconds, whatever number of peers come."""
        self._untold[reason, address if len(self._untold) < 1000 else "others"] += 1
        if _now() - self._told_at < TELL_EVERY:
            return
        self._told_at = _now()
        by_reason: Counter[str] = Counter()
        for (why, _), count in self._untold.items():
            by_reason[why] += count
        peers = {peer: count for (_, peer), count in self._untold.most_common(3)}
        log.warning("connections refused", reasons=dict(by_reason), peers=peers, open=len(self))
        self._untold.clear()


def _now() -> float:
    return asyncio.get_running_loop().time()


class GuardedHandler(web.RequestHandler):
    """One connection. It tells its gate what it waits for."""

    __slots__ = ("_gate", "_seen", "_taken", "_wait_known", "address", "signed_in")

    def __init__(self, manager: web.Server, gate: Gate, **options: Any) -> None:
        super().__init__(manager, loop=asyncio.get_running_loop(), **options)
        self._gate = gate
        self._taken = False
        self._seen = 0
        """Requests that have begun."""
        self._wait_known = True
        """The gate knows that a header is on its way."""
        self.address = ""
        self.signed_in = False
        """The peer has shown who it is."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else ""
        refusal = self._gate.open(self, self.address, transport.get_extra_info("socket").fileno())
        if refusal is None:
            self._taken = True
            super().connection_made(transport)
            return
        refused = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        refused.write(refusal)
        refused.close()

    def data_received(self, data: bytes) -> None:
        if not self._taken:
            return
        super().data_received(data)
        if self._request_count != self._seen:
            self._seen = self._request_count
            self._wait_known = False
            self._gate.wait(self, None)
        elif not self._wait_known and self._waiter is not None:
            self._wait_known = True
            self._gate.wait(self, Wait.HEADER)

    def eof_received(self) -> None:
        if self._taken:
            super().eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._taken:
            self._gate.close(self)
            super().connection_lost(exc)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        self._gate.wait(self, Wait.ANSWER)
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            if self._messages:  # the next request is here already
                self._gate.wait(self, None)
            else:
                self._gate.wait_for_request(self)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        found = super().handle_error(request, status, exc, message)
        body = error_body(Rejection.NO_HTTP if found.status == 400 else Rejection.SERVER_FAILED)
        answer = web.Response(status=found.status, body=body, content_type="application/json", headers=_headers())
        answer.force_close()
        return answer

    def sign_in(self, *, for_good: bool = False) -> None:
        """The peer has shown who it is; `for_good`: its WebSocket begins."""
        self.signed_in = True
        self._gate.sign_in(self, for_good=for_good)

    def charge(self, client: str) -> bool:
        """A proxy has brought a request of `client`; False: too many of that address."""
        return self._gate.charge(self, client)

    def time_out(self, answer: bytes = b"", *, abort: bool = False) -> None:
        """It was waited for long enough: says why, and closes. `abort` drops what was not taken."""
        transport = self.transport
        if transport is None:
            return
        if abort:
            transport.abort()
            return
        if answer:
            transport.write(answer)
        self.force_close()


def _headers() -> dict[str, str]:
    return {"Server": SERVER, "X-Content-Type-Options": "nosniff"}


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_headers())


@web.middleware
async def know_client(request: web.Request, handler: Any) -> web.StreamResponse:
    """`request.remote` is the client, not the trusted proxy that brought its request."""
    connection = request.protocol
    if isinstance(connection, GuardedHandler):
        proxies = connection._gate.proxies
        client = proxies.client(request.remote or "", request.headers.getall("X-Forwarded-For", ()))
        if client != (request.remote or ""):
            request[CLIENT] = client  # for the access log, which gets the request as it came
            if not connection.charge(client):
                full = Rejection.ADDRESS_FULL
                return web.Response(status=full.status or 400, body=error_body(full), content_type="application/json")
            request = request.clone(remote=client)
    response: web.StreamResponse = await handler(request)
    return response


def sign_in(request: web.BaseRequest, *, for_good: bool = False) -> None:
    """The sender of this request has shown who it is; `for_good`: its connection is a signed-in WebSocket from now on,
    and counts against its address no longer."""
    if isinstance(request.protocol, GuardedHandler):
        request.protocol.sign_in(for_good=for_good)


class HttpListener:
    """Serves an application on a TCP port. `open` may raise OSError; `close` ends requests that run within `grace`."""

    def __init__(
        self,
        app: web.Application,
        gate: Gate,
        *,
        grace: float = 1.0,
        access_log: type[AbstractAccessLogger] | None = AccessLogger,
    ) -> None:
        app.on_response_prepare.append(_add_headers)
        self.gate = gate
        options: dict[str, Any] = {
            "logger": SERVER_LOGGER,
            "lingering_time": LINGER,
        }
        if access_log is None:
            options["access_log"] = None
        else:
            options["access_log_class"] = access_log
        self._options = options
        self._runner = web.AppRunner(app, shutdown_timeout=grace, **options)

    @property
    def app(self) -> web.Application:
        return self._runner.app

    @property
    def addresses(self) -> Sequence[Any]:
        """Where it listens."""
        return self._runner.addresses

    async def open(self, host: str, port: int, *, shared: bool = False) -> int:
        """Listens; the port, which was chosen when 0 was asked for."""
        await self._runner.setup()
        try:
            await _Site(self._runner, host, port, self.gate, self._options, shared=shared).start()
        except OSError:
            await self._runner.cleanup()
            raise
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Takes `grace` seconds at most for each step."""
        await self._runner.cleanup()
        self.gate.stop()


class _Site(web.TCPSite):
    """Like aiohttp's, with handlers of ours."""

    def __init__(
        self, runner: web.AppRunner, host: str, port: int, gate: Gate, options: dict[str, Any], *, shared: bool
    ) -> None:
        super().__init__(runner, host, port, backlog=BACKLOG, reuse_port=shared or None)
        self._gate = gate
        self._options = options

    async def start(self) -> None:
        await web.BaseSite.start(self)
        server = self._runner.server
        assert server is not None
        self._server = await asyncio.get_running_loop().create_server(
            lambda: GuardedHandler(server, self._gate, **self._options),
            self._host,
            self._port,
            backlog=BACKLOG,
            reuse_address=self._reuse_address,
            reuse_port=self._reuse_port,
        )
