"""Many apps of one user, some of which do not read; and apps that say whatever comes to their mind."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glassbridge.cloud.app import Cloud
from glassbridge.cloud.apps import connection
from glassbridge.cloud.apps.config import AppsConfig
from glassbridge.cloud.apps.registry import AppRecord, StaticRegistry
from glassbridge.core.subscriptions import Permission
from glassbridge.wire import apps as wire
from glassbridge.wire.app_keys import hash_key
from tests.cloud.app_stage import KEY, PACKAGE, AppsServer, AppStage, PlayingBridge, app_stages
from tests.cloud.conftest import ScriptedRecogniser, cloud_config
from tests.support.poll import eventually
from tests.support.scripted_rooms import ScriptedRooms

APPS, DEAD = 50, 10
BLOCK = bytes(range(256)) * 25
BLOCKS = 160


async def test_apps_that_do_not_read_cost_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """All others hear a megabyte to its last bit, while ten take none of it."""
    monkeypatch.setattr(connection, "CHUNK_AGE", 60.0)  # on a busy machine a second proves nothing
    packages = [f"com.example.app-{number}" for number in range(APPS)]
    microphone = frozenset({Permission.MICROPHONE})
    bridge, server, recogniser = PlayingBridge(), AppsServer(), ScriptedRecogniser()
    await bridge.start()
    await server.start()
    try:
        records = [
            AppRecord(package=name, url=server.url, key_hash=hash_key(KEY), permissions=microphone) for name in packages
        ]
        async with ScriptedRooms() as rooms:
            config = cloud_config(bridge, rooms, apps=AppsConfig())
            async with Cloud(config, recogniser, StaticRegistry(*records)) as cloud:
                stage = AppStage(cloud, bridge, recogniser, rooms, server)
                try:
                    await _crowd(stage, packages)
                finally:
                    await stage.close()
    finally:
        await server.stop()
        await bridge.stop()


async def _crowd(stage: AppStage, packages: list[str]) -> None:
    phone = await stage.phone()
    for package in packages:
        await phone.say(type="start_app", packageName=package)
    await stage.apps.until("session_request", APPS, within=20.0)
    readers = []
    for number, package in enumerate(packages):
        app = await stage.app(package=package, read=number >= DEAD)
        await app.say("subscription_update", subscriptions=["audio_chunk"], requestId="1")
        if number >= DEAD:
            await app.until("subscription_ack")
            readers.append(app)
    for _ in range(BLOCKS):
        await phone.socket.send_bytes(BLOCK)
    whole = BLOCK * BLOCKS
    await eventually(
        lambda: all(len(app.pcm) == len(whole) for app in readers) or f"{sorted(len(app.pcm) for app in readers)}", 30.0
    )
    assert all(bytes(app.pcm) == whole for app in readers)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 40), 1 << 40) | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "subscriptions": st.lists(st.sampled_from(["*", "VAD", "transcription", "audio_chunk", ""]) | JUNK, max_size=6),
    "layout": st.fixed_dictionaries({"layoutType": st.sampled_from(["text_wall", "clear_view"]) | JUNK, "text": JUNK}),
    "requestId": st.sampled_from(["1", "2", ""]) | JUNK,
    "audioUrl": st.just("http://x.test/a.wav") | JUNK,
    "packageName": st.just(PACKAGE) | JUNK,
    "sessionId": st.text(max_size=20) | JUNK,
}


def messages() -> st.SearchStrategy[dict[str, Any]]:
    """Of every type that an app may say, each field right, likely, absurd or missing."""
    kinds = [
        st.fixed_dictionaries(
            {"type": st.just(kind.__struct_config__.tag)},
            optional={name: LIKELY.get(name, JUNK) for name in kind.__struct_encode_fields__},
        )
        for kind in wire.FromApp.__args__
    ]
    return st.one_of(*kinds)


@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(messages(), min_size=40, max_size=80))
def test_whatever_an_app_says_its_session_lives(said: list[dict[str, Any]]) -> None:
    async def scenario() -> None:
        async with app_stages() as begin:
            stage = await begin()
            phone = await stage.phone()
            app = await stage.running()
            for message in said:
                await app.socket.send_str(json.dumps(message))
            await app.say("ping", timestamp="the end")
            await eventually(
                lambda: any(pong.get("timestamp") == "the end" for pong in app.of_type("pong")) or str(app.told[-5:]),
                20.0,
            )
            await app.subscribe("VAD")
            await phone.say(type="VAD", status=True)
            await app.until_heard("VAD")
            assert not app.of_type("app_stopped")

    asyncio.run(scenario())
