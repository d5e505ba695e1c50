"""Many apps of one user, some of which do not read."""

import pytest

from glassbridge.cloud.app import Cloud
from glassbridge.cloud.apps import connection
from glassbridge.cloud.apps.registry import AppRecord, StaticRegistry
from glassbridge.cloud.apps_config import AppsConfig
from glassbridge.core.subscriptions import Permission
from glassbridge.wire.app_keys import hash_key
from tests.cloud.app_stage import KEY, AppsServer, AppStage, PlayingBridge
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
