"""Which web pages may open sockets here: a browser sends the tokens of its user for any page that asks it to."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

ORIGIN_NOT_ALLOWED: Final = "ORIGIN_NOT_ALLOWED"
_PORTS: Final = {"http": 80, "https": 443}


class Origins:
    """Pages of this host, and those of `allowed` origins such as https://app.example.com."""

    ADVICE: Final = "this page may not open sockets here: its origin must be in GLASSBRIDGE_ALLOWED_ORIGINS"

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
