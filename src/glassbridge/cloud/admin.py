"""`/api/admin`: the contents of the flight recorders, for holders of the admin token (docs/recorder.md)."""

from math import ceil
from typing import Any, Final

import msgspec
import structlog
from aiohttp import web

from glassbridge import __version__
from glassbridge.cloud.admin_gate import COOKIE, COOKIE_LIFE, AdminGate
from glassbridge.cloud.answers import refuse, success
from glassbridge.cloud.body import expect_later, read_body
from glassbridge.cloud.flight import Flight
from glassbridge.cloud.flights import Flights
from glassbridge.cloud.live import LiveView
from glassbridge.cloud.other_clouds import OtherClouds
from glassbridge.cloud.overview import Overview
from glassbridge.core.admin_tokens import TokenVerdict
from glassbridge.core.values import spelled
from glassbridge.telemetry.recorder import KEPT
from glassbridge.wire.recorder_file import FORMAT, RecorderFile, encode
from glassbridge.wire.rejections import Rejection

log = structlog.get_logger()

MAX_LOGIN: Final = 4096
"""Bytes of a form."""
NO_STORE: Final = {"Cache-Control": "no-store"}


class _Login(msgspec.Struct):
    token: str


_login = msgspec.json.Decoder(_Login)


class AdminRoutes:
    """The REST side of the recorders."""

    def __init__(
        self,
        gate: AdminGate,
        flights: Flights,
        others: OtherClouds,
        overview: Overview,
        sign_in_time: float,
        *,
        development: bool,
    ) -> None:
        """`sign_in_time`: seconds in which a form must come."""
        self._gate = gate
        self._sign_in_time = sign_in_time
        self._flights = flights
        self._development = development
        self._others = others
        self._live = LiveView(flights, others, overview, development=development)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Takes its paths."""
        router.add_post("/api/admin/login", self.login, expect_handler=expect_later)
        router.add_post("/api/admin/logout", self.logout)
        router.add_get("/api/admin/sign-ins", self.sign_ins)
        router.add_delete("/api/admin/sign-ins/{id}", self.end_sign_in)
        router.add_get("/api/admin/sessions", self.sessions)
        router.add_get("/api/admin/sessions/{id}/timeline", self.timeline)
        router.add_get("/api/admin/sessions/{id}/recorder", self.recorder)
        router.add_get("/api/admin/live", self.live)

    # ---- permission

    async def login(self, request: web.Request) -> web.Response:
        """Gives a browser that shows the token a cookie."""
        if self._gate.enabled and (wait := self._gate.wait(request)) > 0.0:  # before the body is read
            return _too_many(wait)
        try:
            token = _login.decode(await read_body(request, most=MAX_LOGIN, within=self._sign_in_time)).token
        except (msgspec.DecodeError, RecursionError):
            return refuse(Rejection.BODY_WRONG, form='{"token": "..."} as JSON')
        if (refusal := self._refusal_for(self._gate.judge(request, token), request)) is not None:
            return refusal
        found, cookie = self._gate.begin(request)
        answer = success({"id": found.id})
        answer.set_cookie(
            COOKIE, cookie, max_age=COOKIE_LIFE, path="/", httponly=True, samesite="Strict",
            secure=request.secure or request.headers.get("X-Forwarded-Proto") == "https",
        )  # fmt: skip
        log.info("admin signed in", peer=request.remote, sign_in=found.id, audit=True)
        return answer

    async def logout(self, request: web.Request) -> web.Response:
        """Ends the sign-in, and takes the cookie back."""
        found = self._gate.sign_in_of(request)
        if found is not None:
            self._gate.end(found.id)
            await self._others.ask(request)
            log.info("admin signed out", peer=request.remote, sign_in=found.id, audit=True)
        answer = success({})
        answer.del_cookie(COOKIE, path="/")
        return answer

    async def sign_ins(self, request: web.Request) -> web.Response:
        """Browsers that are signed in, the one that was seen last first."""
        if (refusal := self.refusal(request)) is not None:
            return refusal
        own = self._gate.sign_in_of(request)
        rows = {found.id: found.told() for found in self._gate.sign_ins()}
        for told in (await self._others.ask(request)).values():
            for row in () if told is None else told["signIns"]:
                if row["id"] not in rows or row["seen_ms"] > rows[row["id"]]["seen_ms"]:
                    rows[row["id"]] = row
        newest = sorted(rows.values(), key=lambda row: row["seen_ms"], reverse=True)
        return _seen({"signIns": [row | {"own": own is not None and row["id"] == own.id} for row in newest]})

    async def end_sign_in(self, request: web.Request) -> web.Response:
        """Ends a sign-in: its cookie counts no longer."""
        if (refusal := self.refusal(request)) is not None:
            return refusal
        id_ = request.match_info["id"]
        ended = self._gate.end(id_)
        answers = await self._others.ask(request)
        if not ended and not any(told is not None for told in answers.values()):
            return refuse(Rejection.SIGN_IN_UNKNOWN)
        log.info("admin sign-in ended", sign_in=id_, peer=request.remote, by=self._gate.actor(request), audit=True)
        return success({})

    def sees(self, request: web.Request) -> bool:
        """Whether the request may be told what operators are told; nothing is counted where it shows nothing."""
        return self._gate.judge(request) is TokenVerdict.ALLOWED

    def refusal(self, request: web.Request) -> web.Response | None:
        """The answer for a caller that may not see this; None: it may."""
        return self._refusal_for(self._gate.judge(request), request)

    def _refusal_for(self, verdict: TokenVerdict, request: web.Request) -> web.Response | None:
        match verdict:
            case TokenVerdict.ALLOWED:
                return None
            case TokenVerdict.DISABLED:
                return refuse(Rejection.ADMIN_DISABLED)
            case TokenVerdict.MISSING:
                return refuse(Rejection.ADMIN_TOKEN_MISSING)
            case TokenVerdict.WRONG:
                log.warning("admin refused", peer=request.remote, audit=True)
                return refuse(Rejection.ADMIN_TOKEN_WRONG)
            case TokenVerdict.TOO_MANY:
                return _too_many(self._gate.wait(request))

    # ---- what there is to see

    async def sessions(self, request: web.Request) -> web.Response:
        """All sessions, those that ended lately too."""
        if (refusal := self.refusal(request)) is not None:
            return refusal
        query = request.query
        own = self._flights.rows() if "id" not in query else self._flights.row_of(query["id"])
        if (user := query.get("user")) is not None:
            own = [row for row in own if row["user"] == spelled(user)]
        wanted = {name: query[name] for name in ("user", "id") if name in query}
        merged = await self._others.merged(request, own, **wanted)
        rows = merged.rows
        if query.get("ended") == "false":  # only now: a session that ended here may live elsewhere
            rows = [row for row in rows if row["ended_ms"] is None]
        told = {"now_ms": self._flights.clock(), "development": self._development, "sessions": rows}
        return _seen(told | {"nodes": merged.nodes})

    async def timeline(self, request: web.Request) -> web.StreamResponse:
        """One session, second by second."""
        flight = await self._flight(request)
        if not isinstance(flight, Flight):
            return flight
        seconds = request.query.get("seconds", str(KEPT))
        if not (seconds.isdecimal() and len(seconds) < 5 and 1 <= int(seconds) <= KEPT):
            return refuse(Rejection.QUERY_WRONG, form=f"seconds as a number from 1 to {KEPT}")
        with_captions = request.query.get("captions") == "true"
        if with_captions:
            self._audit_view(request, flight.user)
        return _seen(flight.timeline(seconds=int(seconds), with_captions=with_captions))

    async def recorder(self, request: web.Request) -> web.StreamResponse:
        """All that is kept of one session, without captions, as a file that `glassbridge inspect` opens."""
        flight = await self._flight(request)
        if not isinstance(flight, Flight):
            return flight
        file = RecorderFile(FORMAT, __version__, flight.timeline())
        named = {"Content-Disposition": f'attachment; filename="glassbridge-{flight.id}.json"'}
        return web.Response(body=encode(file), content_type="application/json", headers=NO_STORE | named)

    async def live(self, request: web.Request) -> web.StreamResponse:
        """The same, pushed."""
        if (refusal := self.refusal(request)) is not None:
            return refusal
        watched = request.query.get("watch", "")
        if watched and (address := await self._elsewhere(request, watched)):
            return await self._others.relay(request, address)
        flight = self._flights.find(watched)
        if flight is not None:
            self._audit_view(request, flight.user)
        return await self._live.serve(request)

    async def _flight(self, request: web.Request) -> Flight | web.StreamResponse:
        """The recorder that the path names; else the answer: a refusal, or that of the cloud that has it."""
        if (refusal := self.refusal(request)) is not None:
            return refusal
        if address := await self._elsewhere(request, request.match_info["id"]):
            return await self._others.relay(request, address)
        return self._flights.find(request.match_info["id"]) or refuse(Rejection.SESSION_UNKNOWN)

    async def _elsewhere(self, request: web.Request, session: str) -> str:
        """Of which cloud this session is, if it is another one."""
        return await self._others.holder_of(request, session, self._flights.row_of(session))

    def _audit_view(self, request: web.Request, user: str) -> None:
        log.info("captions viewed", user_id=user, peer=request.remote, by=self._gate.actor(request), audit=True)


def _seen(data: Any) -> web.Response:
    return success(data, headers=NO_STORE)


def _too_many(wait: float) -> web.Response:
    seconds = max(1, ceil(wait))
    return refuse(Rejection.ADMIN_TOO_MANY, {"Retry-After": str(seconds)}, seconds=seconds)
