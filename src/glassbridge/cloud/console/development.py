"""What the console can do in development only: ask `glassbridge dev`, which started this cloud, to break something.

That program listens on a Unix socket; the cloud hands on what an operator asks for, and knows nothing of faults itself.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import aiohttp
import structlog
from aiohttp import web

from glassbridge.cloud.answers import refuse
from glassbridge.wire.rejections import Rejection

log = structlog.get_logger()

TIMEOUT: Final = 2.0
NO_STORE: Final = {"Cache-Control": "no-store"}

Refusal = Callable[[web.Request], web.Response | None]


class Development:
    """`control`: the socket; None: this is no development system, and it has none of this."""

    def __init__(self, control: Path | None) -> None:
        self._control = control
        self._refusal: Refusal = lambda _: None

    @property
    def here(self) -> bool:
        """This is a development system."""
        return self._control is not None

    def add_to(self, router: web.UrlDispatcher, refusal: Refusal) -> None:
        """Takes its paths, where there is something to do. `refusal` gives the answer for callers that may not."""
        if not self.here:
            return
        self._refusal = refusal
        router.add_get("/api/dev", self.state)
        router.add_post("/api/dev/faults/{key:[a-z0-9]}", self.press)

    async def state(self, request: web.Request) -> web.Response:
        """The possible faults, the current one, the outcome of former ones, and the phone's cloud."""
        return await self._hand_on(request, "GET", "/")

    async def press(self, request: web.Request) -> web.Response:
        """Breaks something."""
        key = request.match_info["key"]
        answer = await self._hand_on(request, "POST", f"/faults/{key}")
        log.info("fault injected", key=key, status=answer.status, peer=request.remote, audit=True)
        return answer

    async def _hand_on(self, request: web.Request, method: str, path: str) -> web.Response:
        if (refused := self._refusal(request)) is not None:
            return refused
        connector = aiohttp.UnixConnector(str(self._control))
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
                http.request(method, f"http://dev{path}") as answer,
            ):
                body = await answer.read()
                return web.Response(status=answer.status, body=body, content_type="application/json", headers=NO_STORE)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return refuse(Rejection.DEVELOPMENT_SILENT)
