"""The pages without a cloud."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from glassbridge.cloud.console.pages import ConsolePages

LIVEKIT = "ws://127.0.0.1:7880"


@pytest.fixture
async def pages() -> AsyncIterator[str]:
    """Gives the base URL."""
    app = web.Application()
    ConsolePages(LIVEKIT).add_to(app.router)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()
