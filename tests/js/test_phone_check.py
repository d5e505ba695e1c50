"""`glassbridge phone-check` examines the JavaScript phone: as a page in Chromium and in Firefox, and on Node."""

import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from subprocess import DEVNULL

import pytest
from aiohttp import web

from glassbridge.cloud.console.assets import FOLDER, package_folder
from glassbridge.runtime.child import Child
from tests.js.node import ROOT, tool
from tests.support.poll import eventually
from tests.support.process import Program

PAGE = ROOT / "tests" / "js" / "subject.html"


@pytest.fixture
async def subject_page() -> AsyncIterator[str]:
    """The address of a page that is a phone at once."""

    async def page(_: web.Request) -> web.FileResponse:
        return web.FileResponse(PAGE)

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_static("/phone", package_folder())
    app.router.add_static("/vendor", FOLDER / "vendor")
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/?cloud={{url}}&token={{token}}"
    await runner.cleanup()


@pytest.fixture
async def sound_output(tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """A loudspeaker that nobody hears, and how programs find it."""
    socket = tmp_path / "sound"
    argv = ["pulseaudio", "-n", "--exit-idle-time=-1", "-L", "module-null-sink"]
    argv += ["-L", f"module-native-protocol-unix auth-anonymous=1 socket={socket}"]
    here = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    server = await Child.start(argv, env=os.environ | here, stdout=DEVNULL, stderr=DEVNULL)
    try:
        await eventually(lambda: socket.exists() or "PulseAudio is not ready")
        yield {"PULSE_SERVER": f"unix:{socket}"}
    finally:
        await server.stop(1.0)


async def examined(*words: str, env: dict[str, str] | None = None) -> dict[str, str]:
    """What became of each promise; fails, with the sentence, where one is broken."""
    async with Program(sys.executable, "-m", "glassbridge", "phone-check", "--json", *words, env=env or {}) as check:
        await check.ends(within=240)
        found = [json.loads(line) for line in check.out if line.startswith("{")]
    assert found, check.err[-20:]
    print(*(f"{one}" for one in found), sep="\n")
    assert not [one for one in found if one["verdict"] == "broken"]
    return {one["promise"]: one["verdict"] for one in found}


@pytest.mark.slow
@pytest.mark.chromium
@pytest.mark.timeout(600)
async def test_a_page_keeps_all_promises(subject_page: str) -> None:
    results = await examined(subject_page)
    assert list(results.values()).count("kept") >= 30, results


@pytest.mark.slow
@pytest.mark.firefox
@pytest.mark.timeout(600)
async def test_a_page_in_firefox_keeps_all_promises(subject_page: str, sound_output: dict[str, str]) -> None:
    """It took no place in a room while our server named a STUN server whose port Firefox refuses."""
    results = await examined("--browser", "firefox", subject_page, env=sound_output)
    assert list(results.values()).count("kept") >= 30, results


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_on_node_it_keeps_those_that_need_no_room() -> None:
    node = tool("node")
    results = await examined("--livekit", "none", "--", node, "--experimental-websocket", "tests/js/speaker.mjs")
    assert list(results.values()).count("kept") >= 20, results
