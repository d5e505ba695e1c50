"""The access log has the path and never the query."""

import asyncio
import logging

import aiohttp
import pytest
import structlog
from aiohttp import web

from glassbridge.telemetry.access import SERVER_LOGGER, AccessLogger
from tests.support.patience import soon


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


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03opaque\r\n\r\n",
        b"GET / HTTP/1.1\r\nbroken header opaque\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b"opaque HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_one_line_without_what_was_sent(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    runner = web.AppRunner(web.Application(), access_log=None, logger=SERVER_LOGGER)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    with structlog.testing.capture_logs() as lines, caplog.at_level(logging.INFO):
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"404 Not Found" in await soon(reader.readuntil(b"404: Not Found"), 10)
        writer.write(sent)  # after a good one, each is an error for aiohttp
        assert b"400 Bad Request" in await soon(reader.read(), 10)
        writer.close()
        await runner.cleanup()
    assert [(line["event"], line["peer"]) for line in lines] == [("not HTTP", "127.0.0.1")]
    assert "opaque" not in f"{lines} {caplog.text}"


async def test_who_goes_before_the_answer_is_no_error_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    gone = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        await asyncio.sleep(0)  # aiohttp learns of it
        gone.set()
        raise ConnectionResetError("Cannot write to closing transport")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None, logger=SERVER_LOGGER)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    with structlog.testing.capture_logs() as lines, caplog.at_level(logging.DEBUG):
        _, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await soon(gone.wait(), 10)
        await runner.cleanup()
        writer.close()
    assert [line["event"] for line in lines if line["log_level"] != "debug"] == []
    assert "Traceback" not in caplog.text
