"""What a bridge remembers of its rooms, for operators: beside its metrics."""

from math import ceil
from time import monotonic

import structlog
from aiohttp import web

from glassbridge.bridge.flight import FlightCopy
from glassbridge.core.admin_tokens import AdminTokens, TokenVerdict
from glassbridge.core.values import spelled
from glassbridge.telemetry import metrics
from glassbridge.wire.rejections import Rejection

log = structlog.get_logger()


def recorder_route(copy: FlightCopy, *admin_tokens: str) -> web.RouteDef:
    """`GET /recorder?user=`: what the copy knows, for those who show an admin token; without one for nobody. Wrong
    tokens are counted as at the cloud."""
    tokens = AdminTokens(admin_tokens)

    async def answer(request: web.Request) -> web.Response:
        peer, now = request.remote or "", monotonic()
        scheme, _, token = ",".join(request.headers.getall("Authorization", ())).partition(" ")
        verdict = tokens.judge(token.strip() if scheme.lower() == "bearer" else "", peer, now)
        if verdict is TokenVerdict.ALLOWED:
            found = copy.find(spelled(request.query.get("user", "")))
            return web.json_response(found, headers={"Cache-Control": "no-store"})
        if verdict is TokenVerdict.DISABLED:
            return _failure(Rejection.ADMIN_DISABLED)
        metrics.ADMIN_REFUSED.add(verdict.value)
        if verdict is TokenVerdict.TOO_MANY:
            wait = max(1, ceil(tokens.wait(peer, now)))
            refusal = _failure(Rejection.ADMIN_TOO_MANY, seconds=wait)
            refusal.headers["Retry-After"] = str(wait)
            return refusal
        log.warning("admin refused", peer=peer, audit=True)
        return _failure(Rejection.ADMIN_TOKEN_WRONG)

    return web.get("/recorder", answer)


def _failure(rejection: Rejection, **values: int) -> web.Response:
    error = {"code": rejection.code, "message": rejection.text(**values)}
    return web.json_response({"success": False, "error": error}, status=rejection.status or 400)
