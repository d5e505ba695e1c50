"""The pages without a cloud, and with one (tests/cloud/conftest.py)."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from glassbridge.cloud.console.pages import ConsolePages
from tests.cloud.conftest import Stage, grpc_is_here, stage
from tests.console.browser import Browser, Page

__all__ = ["grpc_is_here", "stage"]

LIVEKIT = "ws://127.0.0.1:7880"
ADMIN = "an-admin-token-of-the-tests"


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


@pytest.fixture
def signed_in() -> Callable[..., Any]:
    """Opens the console of a cloud as `glassbridge dev` links to it: signed in by what stands behind the `#`."""

    async def enter(browser: Browser, built: Stage) -> Page:
        page = await browser.open(f"{built.url}/console#token={ADMIN}")
        await page.until("document.body?.dataset.ready === 'yes'")
        return page

    return enter
