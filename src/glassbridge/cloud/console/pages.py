"""`/console` and `/console/phone`: pages that hold no data (`/api/admin` has that), and headers that keep them so.

Every script, style and picture comes from this cloud; nothing is inline; no other site may frame the pages, run in them
or be told of them. The phone may talk to its LiveKit server, too.
"""

from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from glassbridge.cloud.answers import refuse
from glassbridge.cloud.console.assets import Assets
from glassbridge.wire.rejections import Rejection

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
"""Of every answer here. `no-cache`: browsers keep files, and ask each time whether they are still the same."""

LIVEKIT_CLOUD: Final = "livekit.cloud"
"""Its hosted servers send clients on to regional ones."""


def content_policy(*reachable: str) -> str:
    """The Content-Security-Policy; `reachable` are origins beside our own that scripts may talk to."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "worker-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "media-src 'self' blob:",
            " ".join(("connect-src 'self'", *reachable)),
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def livekit_origins(url: str) -> tuple[str, ...]:
    """Where livekit-client talks to for this server: its WebSocket, and HTTP to learn why that failed."""
    parts = urlsplit(url)
    secure = parts.scheme in ("wss", "https")
    hosts = [parts.netloc]
    if (parts.hostname or "").endswith(f".{LIVEKIT_CLOUD}"):
        hosts.append(f"*.{LIVEKIT_CLOUD}")
    return tuple(f"{scheme}://{host}" for host in hosts for scheme in (("wss", "https") if secure else ("ws", "http")))


class ConsolePages:
    """`livekit_url` is where phones find LiveKit."""

    def __init__(self, livekit_url: str) -> None:
        self._assets = Assets()
        self._policies = {
            "console.html": (content_policy(), "microphone=(), camera=(), geolocation=()"),
            "phone.html": (
                content_policy(*livekit_origins(livekit_url)),
                "microphone=(self), camera=(), geolocation=()",
            ),
        }

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Takes its paths."""
        router.add_get("/console", self.console)
        router.add_get("/console/", self.to_console)
        router.add_get("/console/phone", self.phone)
        router.add_get("/console/assets/{name:.+}", self.asset)

    async def console(self, request: web.Request) -> web.Response:
        """The page for operators; without signing in it shows a form."""
        return await self._answer(request, "console.html")

    async def to_console(self, _request: web.Request) -> web.Response:
        """The same place, spelled with a slash."""
        raise web.HTTPPermanentRedirect("/console")

    async def phone(self, request: web.Request) -> web.Response:
        """The page that is a phone."""
        return await self._answer(request, "phone.html")

    async def asset(self, request: web.Request) -> web.Response:
        """A file of the pages."""
        return await self._answer(request, request.match_info["name"])

    async def _answer(self, request: web.Request, name: str) -> web.Response:
        asset = await self._assets.get(name)
        if asset is None:
            return refuse(Rejection.FILE_UNKNOWN)
        policy, permissions = self._policies.get(name, (content_policy(), "microphone=(), camera=(), geolocation=()"))
        headers = HEADERS | {
            "Content-Security-Policy": policy,
            "Permissions-Policy": permissions,
            "ETag": asset.tag,
            "Vary": "Accept-Encoding",
        }
        if asset.tag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        body = asset.body
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            body, headers["Content-Encoding"] = asset.gzipped, "gzip"
        return web.Response(body=body, content_type=asset.type, charset="utf-8", headers=headers)
