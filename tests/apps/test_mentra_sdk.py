"""The original's SDK (npm `@mentra/sdk`) under our clouds, as a real Node process: what docs/original.md says of it."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from glassbridge.livekit.server import free_port
from tests.apps.test_moves import GRACE
from tests.cloud.app_stage import KEY, PACKAGE, QUICK, AppStage, app_stages
from tests.cloud.conftest import ANN, Phone
from tests.support.poll import eventually, stays
from tests.support.process import Program

VERSION = "2.1.29"
PEER = Path(__file__).with_name("mentra_peer.mjs")
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "glassbridge"


@pytest.fixture(scope="session")
def peer_folder() -> Path:
    """Where the SDK is installed, once for this machine; the test says loudly what is missing."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("NODE IS MISSING: the original's SDK is not tried (install Node 20)")
    folder = CACHE / f"mentra-sdk-{VERSION}"
    if not (folder / "node_modules" / "@mentra" / "sdk").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true, "type": "module"}')
        command = ["npm", "install", "--no-audit", "--no-fund", "--omit=dev", f"@mentra/sdk@{VERSION}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180, check=False)
        if done.returncode != 0:
            pytest.skip(f"THE SDK CANNOT BE INSTALLED: {done.stderr[-300:]}")
    shutil.copy(PEER, folder / PEER.name)
    return folder


class Peer:
    """The app's process."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def told(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line[1:]) for line in self._program.out if line.startswith("@")]
        return [line for line in lines if line["event"] == event]

    async def does(self, what: str, argument: Any = None) -> None:
        stdin = self._program.child.stdin
        assert stdin is not None
        stdin.write(json.dumps({"does": what, "argument": argument}).encode() + b"\n")
        await stdin.drain()

    async def done(self, name: str, within: float) -> dict[str, Any]:
        """How something that it does ended."""
        await eventually(lambda: any(one["name"] == name for one in self.told("done")) or f"{name} hangs", within)
        return next(one for one in self.told("done") if one["name"] == name)


class Scene:
    """Two clouds, the app, and a phone that is with one of them."""

    def __init__(self, peer: Peer, *clouds: AppStage) -> None:
        self.peer, self.clouds = peer, clouds
        self.phone: Phone | None = None

    async def move_to(self, number: int) -> None:
        if self.phone is not None:
            await self.phone.vanish()
        self.phone = await self.clouds[number].phone(query="?livekit=true")
        await self.phone.say(type="start_app", packageName=PACKAGE)

    async def is_heard(self, number: int, within: float = 8.0) -> None:
        """What is said reaches the app as a transcription."""
        before, built = len(self.peer.told("transcription")), self.clouds[number]

        async def heard() -> bool | str:
            assert self.phone is not None
            await self.phone.say(type="VAD", status=True)
            if ANN in built.bridge.rooms:
                built.bridge.send(ANN, bytes(6400))
            for stream in built.recogniser.streams:
                stream.say("hello", final=True)
            return len(self.peer.told("transcription")) > before or f"deaf: {self.peer.told('error')}"

        await eventually(heard, within, every=0.2)


@pytest.fixture
async def scene(peer_folder: Path) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack, app_stages() as begin:
        port = free_port()
        program = Program("node", str(peer_folder / PEER.name), PACKAGE, KEY, str(port))
        peer = Peer(await stack.enter_async_context(program))
        await eventually(lambda: bool(peer.told("ready")) or f"not ready: {program.err}", 20.0)
        url = f"http://127.0.0.1:{port}"
        clouds = [await begin(url=url, cloud={"grace": GRACE}) for _ in range(2)]
        try:
            yield Scene(peer, *clouds)
        finally:
            print(*program.out[-200:], *program.err[-20:], sep="\n")


async def test_an_app_follows_its_user_and_is_never_stopped(scene: Scene) -> None:
    await scene.move_to(0)
    await scene.is_heard(0)
    for moves, cloud in enumerate((1, 0, 1), start=1):
        await scene.move_to(cloud)
        await scene.is_heard(cloud)
        assert len(scene.peer.told("session")) <= moves + 1, "at most one onSession a move"
    await stays(lambda: not scene.peer.told("stop") or f"stopped: {scene.peer.told('stop')}", GRACE + QUICK.grace + 1)
    await scene.is_heard(1)


async def test_a_cloud_that_is_stopped_stops_no_app(scene: Scene) -> None:
    await scene.move_to(0)
    await scene.is_heard(0)
    await scene.clouds[0].cloud.sessions.close()
    scene.phone = None
    await scene.move_to(1)
    await scene.is_heard(1)
    await stays(lambda: not scene.peer.told("stop") or f"stopped: {scene.peer.told('stop')}", 5.0)
    await scene.is_heard(1)
    assert len(scene.peer.told("session")) == 2


async def test_a_users_session_that_ends_stops_the_app(scene: Scene) -> None:
    await scene.move_to(0)
    await scene.is_heard(0)
    assert scene.phone is not None
    await scene.phone.vanish()
    await eventually(
        lambda: (
            any(stop["reason"] == "User session ended" for stop in scene.peer.told("stop"))
            or f"stopped: {scene.peer.told('stop')}"
        ),
        GRACE + 5,
    )
    await stays(lambda: len(scene.peer.told("session")) == 1 or "it came back", 1.0)


async def test_the_users_stop_stops_the_app(scene: Scene) -> None:
    await scene.move_to(0)
    await scene.is_heard(0)
    assert scene.phone is not None
    await scene.phone.say(type="stop_app", packageName=PACKAGE)
    await eventually(lambda: bool(scene.peer.told("stop")) or "onStop was not called")


async def test_what_is_not_served_does_not_hang(scene: Scene) -> None:
    await scene.move_to(0)
    await scene.is_heard(0)
    for what in ("check_stream", "managed_stream", "location"):
        await scene.peer.does(what)
    checked = await scene.peer.done("check_stream", within=2.0)
    assert checked["result"]["hasActiveStream"] is False
    refused = await scene.peer.done("managed_stream", within=2.0)
    assert "does not serve" in refused["error"]
    errors = scene.peer.told("error")
    assert any("location_poll_request" in error["message"] for error in errors), errors
    await scene.is_heard(0)


async def test_what_it_shows_and_plays_arrives(scene: Scene) -> None:
    await scene.move_to(0)
    await scene.is_heard(0)
    assert scene.phone is not None
    await scene.peer.does("text", "shown by the SDK")

    def shown() -> list[str]:
        assert scene.phone is not None
        events = scene.phone.of_type("display_event")
        return [event["layout"].get("text", "") for event in events if event["packageName"] == PACKAGE]

    await eventually(lambda: "shown by the SDK" in shown() or str(shown()))
    built = scene.clouds[0]
    await scene.peer.does("play", "https://x.test/a.mp3")
    await eventually(lambda: len(built.player.plays) == 1 or "not asked to play")
    plays = next(iter(built.player.plays.values()))
    plays.put_nowait({"type": 0})
    plays.put_nowait({"type": 2, "duration_ms": 1200})
    plays.put_nowait(None)
    played = await scene.peer.done("play", within=3.0)
    assert played["result"]["success"] is True
    await asyncio.sleep(0)
