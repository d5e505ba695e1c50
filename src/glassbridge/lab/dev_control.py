"""The hands of the console in development: a Unix socket on which the cloud passes on what an operator asks for."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any, Self

from aiohttp import web

from glassbridge.lab.break_it import BreakIt

FORMER = 8
"""Verdicts that are told."""


class DevControl:
    """`async with`; give `environment` to the programs. Without `breaking` nothing can be broken."""

    def __init__(self, admin_token: str, breaking: BreakIt | None = None) -> None:
        self.admin_token = admin_token
        self.phone_page = ""
        """The browser phone, with a core token behind the `#`."""
        self._breaking = breaking
        self._folder = tempfile.TemporaryDirectory(prefix="glassbridge-dev-")
        self._socket = Path(self._folder.name, "control")
        app = web.Application()
        app.router.add_get("/", self._state)
        app.router.add_post("/faults/{key}", self._press)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self._socket)).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        self._folder.cleanup()

    @property
    def environment(self) -> Mapping[str, str]:
        """For the programs."""
        return {"GLASSBRIDGE_ADMIN_TOKEN": self.admin_token, "GLASSBRIDGE_DEV_CONTROL": str(self._socket)}

    async def _state(self, _request: web.Request) -> web.Response:
        return web.json_response(self._told())

    async def _press(self, request: web.Request) -> web.Response:
        begun = self._breaking is not None and self._breaking.press(request.match_info["key"])
        return web.json_response(self._told(), status=200 if begun else 409)

    def _told(self) -> dict[str, Any]:
        told: dict[str, Any] = {"phone_page": self.phone_page, "faults": [], "trouble": [], "broken": False}
        if (breaking := self._breaking) is not None:
            told["faults"] = [{"key": key, "label": label} for key, label in breaking.faults.items()]
            told["broken"] = breaking.current is not None
            told["trouble"] = breaking.trouble(monotonic())[-FORMER:]
        return told
