"""docs/web-phone.md as a stranger walks it: its page, built by Vite, in Chromium with a microphone, against a
real system whose worker is killed; and what only a browser can show of the package."""

import base64
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from math import pi, sin
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from glassbridge.lab import clips
from glassbridge.livekit.opus import Decoder
from tests.console.browser import Browser, Page
from tests.console.test_end_to_end import links, understood
from tests.support.process import Program

TOLD = "document.querySelector('#told').textContent"
HEARD = f"{TOLD} === 'you are heard' || {TOLD}.startsWith('audio is back')"
LINES = "document.querySelectorAll('#captions li').length"


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[str]:
    """The folder on a web server of its own, another origin than the cloud's."""

    async def index(_: web.Request) -> web.FileResponse:
        return web.FileResponse(folder / "index.html")

    app = web.Application()
    app.router.add_get("/", index)
    app.router.add_static("/", folder)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def press(cloud: str, admin_token: str, key: str) -> None:
    """As in the terminal of `glassbridge dev --break`."""
    headers = {"Authorization": f"Bearer {admin_token}"}
    async with aiohttp.ClientSession() as http, http.post(f"{cloud}/api/dev/faults/{key}", headers=headers) as answer:
        assert answer.status == 200, await answer.text()


async def sessions(cloud: str, admin_token: str) -> list[dict[str, object]]:
    """What the cloud says of the sessions that it has."""
    headers = {"Authorization": f"Bearer {admin_token}"}
    async with aiohttp.ClientSession() as http, http.get(f"{cloud}/api/admin/sessions", headers=headers) as answer:
        found: list[dict[str, object]] = (await answer.json())["data"]
        return found


async def start(page: Page) -> None:
    await page.click("#start")
    await page.until(f"{TOLD} === 'you are heard'", 60)


@pytest.mark.slow
@pytest.mark.chromium
@pytest.mark.real
@pytest.mark.timeout(600)
async def test_the_page_of_the_docs_survives_the_death_of_the_worker(web_page: Path) -> None:
    async with (
        served(web_page / "dist") as origin,
        Program.glassbridge(
            "dev", "--break", "--port", "0", "--livekit-port", "0", env={"GLASSBRIDGE_ALLOWED_ORIGINS": origin}
        ) as dev,
        Browser(microphone=clips.wav()) as browser,
    ):
        await dev.says("A core token for me", within=60)
        to_console, to_phone = links(dev)
        cloud = to_phone.partition("/console")[0]
        admin, token = (link.partition("#token=")[2] for link in (to_console, to_phone))
        page = await browser.open(f"{origin}/#token={token}&cloud={cloud}")
        await start(page)
        await understood(page, "#captions li")
        lines = await page.run(LINES)
        await press(cloud, admin, "k")
        await dev.says("worker died", within=60)
        await page.until(f"{LINES} > {lines + 2}", 60)
        await page.until(HEARD, 30)
        assert [one for one in page.complaints if "favicon" not in one] == []


ENCODE = """
(async () => {
  const { opusEncoder } = await import("/console/assets/glassbridge-phone/browser/opus.js");
  const factory = await opusEncoder();
  if (factory === null) return null;
  const encoder = factory(24000);
  const packets = await Promise.all(BLOCKS.map((block) => encoder.encode(Int16Array.from(block))));
  encoder.close();
  return packets.map((packet) => btoa(String.fromCharCode(...packet)));
})()
"""


@pytest.mark.chromium
async def test_the_browsers_opus_is_what_a_cloud_decodes(pages: str) -> None:
    sound = [round(8000 * sin(2 * pi * 440 * i / 16_000)) for i in range(320 * 50)]
    blocks = [sound[at : at + 320] for at in range(0, len(sound), 320)]
    async with Browser() as browser:
        page = await browser.open(f"{pages}/console/phone")
        packets = await page.run(ENCODE.replace("BLOCKS", json.dumps(blocks)))
        assert page.complaints == []
    assert packets is not None, "this Chromium encodes no Opus"
    assert len(packets) == len(blocks)
    decoder = Decoder()
    heard = b"".join(decoder.decode(base64.b64decode(packet)) for packet in packets)
    samples = struct.unpack(f"<{len(heard) // 2}h", heard)
    assert len(samples) == len(sound)
    middle = samples[8000:15_000]
    assert 3000 < (sum(one * one for one in middle) / len(middle)) ** 0.5 < 8000, "as loud as it was"
    crossings = sum(before < 0 <= after for before, after in pairwise(middle))
    assert abs(crossings * 16_000 / len(middle) - 440) < 10, "as high as it was"
