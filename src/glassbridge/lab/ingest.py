"""A log sink on this machine that takes what Better Stack or an OpenTelemetry collector would, and says what it would
not. It can also do what sinks do in the field: stand still, be gone, answer with an error."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ssl import SSLContext
from time import monotonic_ns
from typing import Any, Final

import msgspec
from aiohttp import web

from glassbridge.lab.backend import LOOPBACK

TOKEN: Final = "source-token-of-the-lab"  # noqa: S105 - a double's
MAX_BODY: Final = 10 << 20
"""Bytes of a request, uncompressed: Better Stack's limit."""
LEVELS: Final = ("debug", "info", "warn", "error")


@dataclass(frozen=True, slots=True)
class ArrivedLine:
    """One line that was taken."""

    fields: Mapping[str, Any]
    at_ns: int
    """When it arrived, CLOCK_MONOTONIC nanoseconds."""


@dataclass
class Ingest:
    """Use as an async context. Lines are taken once; what it answers is up to the test."""

    status: int = 202
    """What it answers to a request that is in order; only then are its lines taken."""
    max_lines: int = 1_000_000
    """A larger batch gets 413."""
    token: str = TOKEN
    ssl_context: SSLContext | None = None
    """With it, it speaks HTTPS."""
    arrivals: list[ArrivedLine] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What a real one would have refused."""
    requests: int = 0
    batches: list[int] = field(default_factory=list)
    """Lines of each request, taken or not."""

    def __post_init__(self) -> None:
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._port = 0
        self._site: web.TCPSite | None = None
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post("/", self._better_stack)
        app.router.add_post("/v1/logs", self._otlp)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> "Ingest":
        await self._runner.setup()
        await self.return_()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.thaw()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"{'http' if self.ssl_context is None else 'https'}://{LOOPBACK}:{self._port}"

    @property
    def lines(self) -> list[Mapping[str, Any]]:
        """What was taken, in the order of arrival."""
        return [arrival.fields for arrival in self.arrivals]

    @property
    def idle(self) -> float:
        """Seconds since the last line was taken; 0 before any."""
        return (monotonic_ns() - self.arrivals[-1].at_ns) / 1e9 if self.arrivals else 0.0

    def messages(self) -> list[str]:
        return [str(line.get("message")) for line in self.lines]

    # ---- trouble

    def freeze(self) -> None:
        """Connections are accepted, requests read, and nothing is answered or taken."""
        self._thawed.clear()

    def thaw(self) -> None:
        self._thawed.set()

    async def refuse(self) -> None:
        """Nobody listens any more."""
        if self._site is not None:
            await self._site.stop()
            self._site = None

    async def return_(self) -> None:
        """Listens again, at the same address."""
        if self._site is None:
            self._site = web.TCPSite(
                self._runner, LOOPBACK, self._port, reuse_address=True, ssl_context=self.ssl_context
            )
            await self._site.start()
            self._port = self._runner.addresses[0][1]

    # ---- requests

    async def _better_stack(self, request: web.Request) -> web.Response:
        self.requests += 1
        lines: list[Any] = []
        try:
            body = await request.read()
            lines = msgspec.json.decode(body, type=list[Any])
        except msgspec.MsgspecError:
            self._complain("the body is no JSON array")
        except web.HTTPRequestEntityTooLarge:
            return web.Response(status=413)
        self._check_request(request)
        return await self._answer(request, [line for line in lines if self._is_line(line)], len(lines))

    async def _otlp(self, request: web.Request) -> web.Response:
        self.requests += 1
        lines: list[Mapping[str, Any]] = []
        try:
            said = msgspec.json.decode(await request.read())
            for resource in said["resourceLogs"]:
                fixed = _plain(resource["resource"]["attributes"])
                for record in resource["scopeLogs"][0]["logRecords"]:
                    moment = int(record["timeUnixNano"])
                    fields = {"message": record["body"]["stringValue"], "time_ns": moment}
                    lines.append(fixed | fields | _plain(record["attributes"]))
        except (msgspec.MsgspecError, KeyError, ValueError, TypeError) as error:
            self._complain(f"no OTLP logs: {type(error).__name__} {error}")
        self._check_request(request)
        return await self._answer(request, lines, len(lines))

    async def _answer(self, request: web.Request, lines: list[Mapping[str, Any]], count: int) -> web.Response:
        self.batches.append(count)
        await self._thawed.wait()
        if request.transport is None or request.transport.is_closing():
            return web.Response(status=499)  # it has given us up and will come again
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=403)
        if count > self.max_lines:
            return web.Response(status=413)
        if self.status < 300:
            now = monotonic_ns()
            self.arrivals += [ArrivedLine(line, now) for line in lines]
        return web.Response(status=self.status)

    def _check_request(self, request: web.Request) -> None:
        if request.content_type != "application/json":
            self._complain(f"content type {request.content_type}")
        if request.headers.get("Content-Encoding") != "gzip":
            self._complain("not compressed")

    def _is_line(self, line: Any) -> bool:
        """As Better Stack and the original's saved queries want it."""
        wrong = []
        if not isinstance(line, dict):
            wrong = ["no object"]
        else:
            if not _is_moment(line.get("dt")):
                wrong.append(f"dt {line.get('dt')!r}")
            if not isinstance(line.get("message"), str) or not line["message"]:
                wrong.append(f"message {line.get('message')!r}")
            if line.get("level") not in LEVELS:
                wrong.append(f"level {line.get('level')!r}")
            if not line.get("service"):
                wrong.append("no service")
        for what in wrong:
            self._complain(what)
        return not wrong

    def _complain(self, what: str) -> None:
        if len(self.problems) < 100:
            self.problems.append(what)


def _is_moment(text: Any) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _plain(attributes: list[Any]) -> dict[str, Any]:
    return {part["key"]: next(iter(part["value"].values()), None) for part in attributes}
