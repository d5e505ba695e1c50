"""The examples do what they say, against a real cloud."""

import importlib.util
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from glassbridge.app import AppServer
from glassbridge.cloud.app import Cloud
from glassbridge.cloud.apps.registry import AppRecord, StaticRegistry
from glassbridge.cloud.apps_config import AppsConfig
from glassbridge.core.subscriptions import Permission
from glassbridge.wire.app_keys import hash_key
from tests.cloud.app_stage import QUICK, PlayingBridge
from tests.cloud.conftest import ANN, Phone, ScriptedRecogniser, Stage, cloud_config
from tests.support.poll import eventually
from tests.support.scripted_rooms import ScriptedRooms

EXAMPLES = Path(__file__).parents[2] / "examples"
KEY = "key-of-an-example"
CLIP = bytes(3200)


class Show:
    """One example that runs for one phone."""

    def __init__(self, stage: Stage, bridge: PlayingBridge, phone: Phone, package: str) -> None:
        self.recogniser = stage.recogniser
        self.bridge = bridge
        self.phone = phone
        self.package = package

    def shown(self) -> list[dict[str, Any]]:
        events = self.phone.of_type("display_event")
        return [event["layout"] for event in events if event["packageName"] == self.package]

    async def until_shown(self, **layout: str) -> None:
        await eventually(lambda: self.shown()[-1:] == [layout] or f"shown: {self.shown()}")

    async def say(self, text: str, final: bool = True) -> None:
        await self.phone.socket.send_bytes(CLIP)
        await eventually(lambda: len(self.recogniser.streams) == 1 or "nobody listens")
        self.recogniser.streams[0].say(text, final)


Run = Callable[[str], Any]


@pytest.fixture
async def run(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Run]:
    async with AsyncExitStack() as stack:

        async def start(name: str) -> Show:
            monkeypatch.setenv("APP_KEY", KEY)
            spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            server: AppServer = module.server
            server.port = 0
            await stack.enter_async_context(server)
            bridge = PlayingBridge()
            await bridge.start()
            stack.push_async_callback(bridge.stop)
            rooms = await stack.enter_async_context(ScriptedRooms())
            record = AppRecord(
                package=server.package,
                url=f"http://127.0.0.1:{server.port}",
                key_hash=hash_key(KEY),
                permissions=frozenset({Permission.MICROPHONE}),
            ).with_key(KEY)
            recogniser = ScriptedRecogniser()
            config = cloud_config(bridge, rooms, apps=AppsConfig(times=QUICK))
            cloud = await stack.enter_async_context(Cloud(config, recogniser, StaticRegistry(record)))
            stage = Stage(cloud, bridge, recogniser, rooms)
            stack.push_async_callback(stage.close)
            phone = await stage.phone(query="?livekit=true")
            await eventually(lambda: ANN in bridge.rooms or "the bridge is not in the room")
            await phone.say(type="start_app", packageName=server.package)
            await phone.until("app_started")
            (session,) = server.sessions.values()
            await eventually(lambda: bool(session.subscriptions) or "nothing is in force")
            return Show(stage, bridge, phone, server.package)

        yield start


async def test_captions(run: Run) -> None:
    show = await run("captions")
    await show.say("hello wor", final=False)
    await show.until_shown(layoutType="text_wall", text="hello wor")
    await show.say("hello world")
    await show.until_shown(layoutType="text_wall", text="hello world")
    await show.phone.vanish()


async def test_translation_falls_back_to_an_echo(run: Run) -> None:
    show = await run("translation")
    await eventually(lambda: any(layout.get("title") == "No translation" for layout in show.shown()) or "not told")
    await show.say("good morning")
    await show.until_shown(layoutType="double_text_wall", topText="you said", bottomText="good morning")


async def test_the_assistant_answers_by_voice_and_stops_when_the_user_speaks(run: Run) -> None:
    show = await run("assistant")
    await show.say("hello there")
    await show.until_shown(layoutType="reference_card", title="hello there", text="Hello. I am listening.")
    await eventually(lambda: len(show.bridge.requests) == 1 or "it says nothing")
    assert "Hello.+I+am+listening." in show.bridge.requests[0].audio_url
    await show.phone.say(type="VAD", status=True)
    await eventually(lambda: len(show.bridge.stops) == 1 or "it goes on talking")
    await eventually(lambda: "not said aloud" in show.shown()[-1]["text"] or str(show.shown()[-1]))
