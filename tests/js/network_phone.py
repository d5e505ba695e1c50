"""A child of `glassbridge bench network` in place of lab/network_phone.py: the JavaScript phone in Chromium speaks a
clip once and tells when, in the same JSON lines.

    python -m tests.js.network_phone CLOUD TRANSPORT PARTICIPANT CLIP FRAME_MS
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from time import monotonic_ns
from typing import Any

from aiohttp import web

from glassbridge.cloud.console.assets import FOLDER, package_folder
from tests.console.browser import Browser

PORT = 9999
"""In a network of its own. The cloud has to know the page's origin before the page is there."""
ORIGIN = f"http://127.0.0.1:{PORT}"
PAGE = Path(__file__).with_name("network_phone.html")


def tell(said: dict[str, Any]) -> None:
    """One JSON line to the lab."""
    print(json.dumps({**said, "t_ns": monotonic_ns()}), flush=True)


async def main() -> None:
    """As the module's docstring says."""
    cloud, transport, _, clip, frame_ms = sys.argv[1:]
    over = asyncio.Event()
    options = {"cloud": cloud, "transport": transport, "token": os.environ["GLASSBRIDGE_TOKEN"]}

    async def heard(request: web.Request) -> web.Response:
        tell(said := json.loads(await request.text()))
        if said["event"] == "done":
            over.set()
        return web.Response()

    async def page(_: web.Request) -> web.FileResponse:
        return web.FileResponse(PAGE)

    async def given(_: web.Request) -> web.Response:
        return web.json_response({"options": options, "frameMs": int(frame_ms)})

    async def sound(_: web.Request) -> web.FileResponse:
        return web.FileResponse(clip)

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/given", given)
    app.router.add_get("/clip", sound)
    app.router.add_post("/tell", heard)
    app.router.add_static("/phone", package_folder())
    app.router.add_static("/vendor", FOLDER / "vendor")
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", PORT).start()
    async with Browser() as browser:
        await browser.open(f"{ORIGIN}/")
        await over.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
