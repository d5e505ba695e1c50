"""Which web pages may open sockets here, and read what a phone asks for by HTTP (CORS): a browser sends the tokens
of its user for any page that asks it to."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

PHONES: Final = "/api/client/"
"""What web pages of other hosts may ask for: the requests of phones."""
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "600",
}
_PORTS: Final = {"http": 80, "https": 443}


class Origins:
    """Pages of this host, and those of `allowed` origins such as https://app.example.com."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(_normal(origin) for origin in allowed)

    def allow(self, request: web.Request) -> bool:
        """Programs that are no browsers send no `Origin`, and are let through."""
        found = request.headers.getall("Origin", [])
        if not found:
            return True
        if len(found) > 1:
            return False
        origin = _normal(found[0])
        if not origin:
            return False
        scheme = origin.partition(":")[0]
        return origin in self._allowed or origin == _normal(f"{scheme}://{request.headers.get('Host', '')}")

    def is_foreign(self, request: web.Request) -> bool:
        """A page of an allowed origin that is not this host asks for what phones ask for."""
        return (
            request.path.startswith(PHONES)
            and len(found := request.headers.getall("Origin", [])) == 1
            and _normal(found[0]) in self._allowed
        )

    @web.middleware
    async def share(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Lets pages of allowed origins read the answers to phones. No cookie counts there, so none is asked for."""
        if not self.is_foreign(request):
            return await handler(request)
        asks_first = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        answer = web.Response(status=204, headers=_PREFLIGHT) if asks_first else await handler(request)
        answer.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
        answer.headers.add("Vary", "Origin")
        return answer


def _normal(origin: str) -> str:
    """scheme://host:port in lower case; empty where it is no origin of a web page."""
    try:
        parts = urlsplit(origin.strip().lower())
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return ""
    if (
        parts.scheme not in _PORTS
        or not parts.hostname
        or parts.username
        or parts.path
        or parts.query
        or parts.fragment
    ):
        return ""
    return f"{parts.scheme}://{parts.hostname}:{port}"
