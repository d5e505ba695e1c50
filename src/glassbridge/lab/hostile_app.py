"""An app whose server takes every webhook and does nothing: its sockets are an attacker's to open."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from aiohttp import web

from glassbridge.cloud.apps.registry import TomlRegistry, new_app
from glassbridge.livekit.server import free_port

PACKAGE = "org.example.hostile"


class HostileApp:
    """Use as `async with`. Clouds that are given `registry` know it."""

    def __init__(self, folder: Path) -> None:
        self.registry = folder / "apps.toml"
        self.key = ""
        """Its API key."""
        self.sounds_port = free_port()
        """Where an attacker may serve sounds: bridges may fetch from there."""
        self._cleanup = AsyncExitStack()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/webhook", self._accept)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        self._cleanup.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        record, self.key = new_app(PACKAGE, url, "Hostile", ["MICROPHONE"])
        TomlRegistry(self.registry).add(record)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cleanup.aclose()

    async def _accept(self, _request: web.Request) -> web.Response:
        return web.Response()
