"""The shape of every REST answer."""

from collections.abc import Mapping

from aiohttp import web

from glassbridge.cloud.clock import iso_now
from glassbridge.wire.rejections import Rejection


def success(data: object, *, beside: Mapping[str, object] | None = None, **options: object) -> web.Response:
    """What was asked for; `beside` is where clients of the original look for it. `options` are those of aiohttp's
    json_response."""
    body = {"success": True, "data": data, "timestamp": iso_now(), **(beside or {})}
    return web.json_response(body, **options)  # type: ignore[arg-type]


def failure(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """An error: `code` for programs, `message` for people."""
    error = {"code": code, "message": message}
    body = {"success": False, "error": error, "timestamp": iso_now()}
    return web.json_response(body, status=status, headers=headers)


def refuse(
    rejection: Rejection, headers: Mapping[str, str] | None = None, status: int | None = None, **values: object
) -> web.Response:
    """The rejection as an answer; `values` fill its text, `status` replaces its own."""
    return failure(status or rejection.status or 400, rejection.code, rejection.text(**values), headers)


class NoSession(Exception):
    """The user of this request has no session on this cloud."""

    @staticmethod
    def answer() -> web.Response:
        """If no other cloud has one."""
        return refuse(Rejection.SESSION_NOT_FOUND)
