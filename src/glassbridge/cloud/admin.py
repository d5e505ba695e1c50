"""`/api/admin`: what the flight recorders know, for whoever holds the admin token (docs/recorder.md)."""

from collections import deque
from time import monotonic
from typing import Any, Final

import msgspec
import structlog
from aiohttp import web

from glassbridge.cloud.admin_gate import COOKIE, COOKIE_LIFE, AdminGate
from glassbridge.cloud.answers import failure, success
from glassbridge.cloud.flights import Flights
from glassbridge.cloud.live import LiveView
from glassbridge.telemetry.recorder import KEPT

log = structlog.get_logger()

WRONG_IN_A_MINUTE: Final = 10
"""Wrong tokens, after which none is looked at for the rest of the minute."""
NO_STORE: Final = {"Cache-Control": "no-store"}
OFF: Final = "no admin token is set here: start the cloud with GLASSBRIDGE_ADMIN_TOKEN (openssl rand -hex 24)"
SIGN_IN: Final = "sign in: send the admin token as `Authorization: Bearer`"


class _Login(msgspec.Struct):
    token: str


_login = msgspec.json.Decoder(_Login)


class AdminRoutes:
    """The REST side of the recorders."""

    def __init__(self, gate: AdminGate, flights: Flights, *, development: bool) -> None:
        self._gate = gate
        self._flights = flights
        self._development = development
        self._live = LiveView(flights, development=development)
        self._wrong: deque[float] = deque(maxlen=WRONG_IN_A_MINUTE)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Takes its paths."""
        router.add_post("/api/admin/login", self.login)
        router.add_post("/api/admin/logout", self.logout)
        router.add_get("/api/admin/sessions", self.sessions)
        router.add_get("/api/admin/sessions/{id}/timeline", self.timeline)
        router.add_get("/api/admin/live", self.live)

    # ---- who may

    async def login(self, request: web.Request) -> web.Response:
        """Gives a browser that shows the token a cookie."""
        if not self._gate.enabled:
            return failure(403, "ADMIN_DISABLED", OFF)
        if self._is_tried_out():
            return _too_many()
        try:
            token = _login.decode(await request.read()).token
        except msgspec.DecodeError:
            return failure(400, "BAD_REQUEST", 'send {"token": "..."} as JSON')
        if not self._gate.knows(token):
            return self._refuse(request)
        answer = success({})
        answer.set_cookie(
            COOKIE, self._gate.cookie(), max_age=COOKIE_LIFE, path="/", httponly=True, samesite="Strict",
            secure=request.secure or request.headers.get("X-Forwarded-Proto") == "https",
        )  # fmt: skip
        log.info("admin signed in", peer=request.remote)
        return answer

    async def logout(self, _request: web.Request) -> web.Response:
        """Takes the cookie back."""
        answer = success({})
        answer.del_cookie(COOKIE, path="/")
        return answer

    def refusal(self, request: web.Request) -> web.Response | None:
        """What somebody gets who may not see this; None: go on."""
        if not self._gate.enabled:
            return failure(403, "ADMIN_DISABLED", OFF)
        if self._gate.allows(request):
            return None
        if "Authorization" not in request.headers:
            return failure(401, "UNAUTHORIZED", SIGN_IN)
        return _too_many() if self._is_tried_out() else self._refuse(request)

    def _is_tried_out(self) -> bool:
        return len(self._wrong) == WRONG_IN_A_MINUTE and monotonic() - self._wrong[0] < 60.0

    def _refuse(self, request: web.Request) -> web.Response:
        self._wrong.append(monotonic())
        log.warning("admin refused", peer=request.remote)
        return failure(401, "UNAUTHORIZED", f"this is not the admin token; {SIGN_IN}")

    # ---- what there is to see

    async def sessions(self, request: web.Request) -> web.Response:
        """All sessions, those that ended lately too."""
        if (refusal := self.refusal(request)) is not None:
            return refusal
        rows = self._flights.rows()
        if (user := request.query.get("user")) is not None:
            rows = [row for row in rows if row["user"] == user.strip().casefold()]
        if request.query.get("ended") == "false":
            rows = [row for row in rows if row["ended_ms"] is None]
        return _seen({"now_ms": self._flights.clock(), "development": self._development, "sessions": rows})

    async def timeline(self, request: web.Request) -> web.Response:
        """One session, second by second."""
        if (refusal := self.refusal(request)) is not None:
            return refusal
        flight = self._flights.find(request.match_info["id"])
        if flight is None:
            return failure(404, "NO_SUCH_SESSION", "no session has this id, or it ended too long ago")
        seconds = request.query.get("seconds", str(KEPT))
        if not (seconds.isdecimal() and 1 <= int(seconds[:4]) <= KEPT):
            return failure(400, "BAD_REQUEST", f"seconds is a number from 1 to {KEPT}")
        with_captions = request.query.get("captions") == "true"
        return _seen(flight.timeline(seconds=int(seconds), with_captions=with_captions))

    async def live(self, request: web.Request) -> web.StreamResponse:
        """The same, pushed."""
        refusal = self.refusal(request)
        return await self._live.serve(request) if refusal is None else refusal


def _seen(data: Any) -> web.Response:
    return success(data, headers=NO_STORE)


def _too_many() -> web.Response:
    return failure(429, "TOO_MANY_ATTEMPTS", "too many wrong admin tokens: wait a minute")
