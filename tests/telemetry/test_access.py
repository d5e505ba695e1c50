"""The access log has the path and never the query."""

import aiohttp
import structlog
from aiohttp import web

from glassbridge.telemetry.access import AccessLogger


async def test_a_request_is_a_line_without_its_query_and_probes_are_quiet() -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/{any}", answer)
    runner = web.AppRunner(app, access_log_class=AccessLogger)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    with structlog.testing.capture_logs() as lines:
        async with aiohttp.ClientSession() as http:
            for path in ("/phone?token=opaque&x=1", "/livez"):
                async with http.get(base + path) as response:
                    await response.read()
        await runner.cleanup()
    phone, probe = lines
    assert (phone["path"], phone["status"], phone["log_level"]) == ("/phone", 200, "info")
    assert probe["log_level"] == "debug"
    assert "opaque" not in str(lines)
