"""What works of the original's SDK beside the rest of tests/apps/test_mentra_*.py: other names for the same, and less
usual calls. docs/apps.md names these tests."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from glassbridge.core.app_times import TIMES
from glassbridge.core.subscriptions import Permission
from glassbridge.core.values import user_id
from tests.apps.mentra import Scene, a_scene, peer_command
from tests.cloud.app_stage import PACKAGE
from tests.cloud.conftest import ANN, ScriptedRecogniser
from tests.cloud.test_apps import rest_with
from tests.support.poll import eventually
from tests.support.scripted_voice import ScriptedVoice

__all__ = ["peer_command"]

SCHEMA = (
    {"type": "slider", "key": "size", "label": "Size", "min": 1, "max": 9, "defaultValue": 5},
    {"type": "toggle", "key": "bold", "label": "Bold", "defaultValue": False},
)
LIVE = "Mentra Live"


@pytest.fixture
async def scene(peer_command: list[str]) -> AsyncIterator[Scene]:
    """An app that may hear everything; the recogniser translates, and the cloud has a voice."""
    recogniser = ScriptedRecogniser("en-US", "es-ES", translates=True)
    options: dict[str, Any] = {"permissions": frozenset({Permission.ALL}), "settings": SCHEMA}
    async with a_scene(peer_command, recogniser=recogniser, voice=ScriptedVoice(), **options) as built:
        await built.move_to(0)
        await built.is_heard(0)
        yield built


def hears(name: str) -> dict[str, str]:
    return {"handler": name}


async def test_it_hears_by_each_name(scene: Scene) -> None:
    peer, phone, built = scene.peer, scene.phone, scene.clouds[0]
    assert phone is not None
    for path, *args in (
        ("onHeadPosition", hears("head")),
        ("onButtonPress", hears("button")),
        ("onTouchEvent", hears("touch")),
        ("onTouchEvent", "long_press", hears("long press")),
        ("onPhoneNotifications", hears("notification")),
        ("onPhoneNotificationDismissed", hears("dismissed")),
        ("on", "phone_battery_update", hears("on")),
        ("events.on", "glasses_battery_update", hears("events.on")),
        ("location.subscribeToStream", {"accuracy": "high"}, hears("located")),
        ("events.onAudioChunk", hears("audio")),
        ("onTranscriptionForLanguage", "en-US", hears("english")),
        ("onTranslationForLanguage", "en-US", "es-ES", hears("spanish")),
    ):
        assert "error" not in await peer.calls(path, *args), path
    for said in (
        {"type": "head_position", "position": "down"},
        {"type": "button_press", "buttonId": "main", "pressType": "short"},
        {"type": "touch_event", "device_model": LIVE, "gesture_name": "long_press"},
        {"type": "phone_notification", "notificationId": "n1", "app": "Mail", "title": "Hi", "content": "x"},
        {"type": "phone_notification_dismissed", "notificationId": "n1", "notificationKey": "k"},
        {"type": "phone_battery_update", "level": 80, "charging": True},
        {"type": "glasses_battery_update", "level": 61, "charging": False},
        {"type": "location_update", "lat": 48.1, "lng": 11.5},
    ):
        await phone.say(**said)
    for name in ("head", "button", "touch", "long press", "notification", "dismissed", "on", "events.on", "located"):
        await peer.heard(name)

    async def spoken() -> bool | str:
        built.bridge.send(ANN, bytes(6400))
        for stream in built.recogniser.streams:
            stream.say("hola" if stream.want.target else "hello", final=True, original="hello")
        names = {one["name"] for one in peer.told("heard")}
        return {"audio", "english", "spanish"} <= names or f"{names} {peer.told('denied')} {peer.told('error')}"

    await eventually(spoken, within=8.0, every=0.2)
    assert (await peer.heard("english"))["text"] == "hello"
    assert (await peer.heard("spanish"))["text"] == "hola"
    assert "error" not in await peer.calls("events.onTranscriptionForLanguage", "en-US", hears("again"))
    assert "error" not in await peer.calls("events.ontranslationForLanguage", "en-US", "es-ES", hears("again"))
    before = len([one for one in peer.told("heard") if one["name"] == "located"])
    assert "error" not in await peer.calls("location.unsubscribeFromStream")
    await eventually(lambda: phone.of_type("set_location_tier")[-1]["tier"] == "reduced" or "still located")
    await phone.say(type="location_update", lat=1.0, lng=1.0)
    assert len([one for one in peer.told("heard") if one["name"] == "located"]) == before
    assert not peer.told("denied")


async def test_wifi_of_the_glasses_is_known(scene: Scene) -> None:
    assert scene.phone is not None
    await scene.peer.calls("onGlassesConnectionState", hears("glasses"))
    wifi = {"connected": True, "ssid": "home"}
    await scene.phone.say(type="glasses_connection_state", modelName=LIVE, status="CONNECTED", wifi=wifi)
    assert (await scene.peer.heard("glasses"))["modelName"] == LIVE
    assert (await scene.peer.calls("isWifiConnected"))["result"] is True
    assert wifi.items() <= (await scene.peer.calls("getWifiStatus"))["result"].items()


async def test_it_is_told_of_its_connection(peer_command: list[str]) -> None:
    """The socket breaks, and the SDK comes back by itself, within the grace of the product."""
    async with a_scene(peer_command, times=TIMES) as scene:
        await scene.move_to(0)
        await scene.is_heard(0)
        apps = scene.clouds[0].cloud.sessions.apps_of(user_id(ANN))
        app = apps.find(PACKAGE) if apps is not None else None
        assert app is not None
        assert app.socket is not None
        assert app.socket._transport is not None
        app.socket._transport.abort()
        await eventually(lambda: bool(scene.peer.told("connected")) or "not back", 5.0)
        info = scene.peer.told("disconnected")[-1]["info"]
        assert (info["code"], info["wasClean"]) == (1006, False)
        assert len(scene.peer.told("session")) == 1


async def test_settings_are_read_by_each_name(scene: Scene) -> None:
    peer = scene.peer
    for path, *args in (
        ("settings.onChange", hears("change")),
        ("settings.onValueChange", "size", hears("value")),
        ("events.onSettingChange", "size", hears("setting")),
        ("events.onSettingsUpdate", hears("update")),
    ):
        assert "error" not in await peer.calls(path, *args), path
    for path in ("settings.get", "getSetting"):
        assert (await peer.calls(path, "size"))["result"] == 5, path
    assert (await peer.calls("settings.getSetting", "size"))["result"]["value"] == 5
    assert (await peer.calls("settings.has", "size"))["result"] is True
    assert (await peer.calls("settings.has", "other"))["result"] is False
    for path in ("settings.getAll", "getSettings"):
        assert {one["key"]: one["value"] for one in (await peer.calls(path))["result"]} == {"size": 5, "bold": False}
    await rest_with(scene.clouds[0], "POST", f"/appsettings/{PACKAGE}", {"key": "size", "value": 7})
    for name in ("change", "value", "setting", "update"):
        await peer.heard(name)
    assert [one["data"] for one in peer.told("heard") if one["name"] == "value"] == [7]
    assert (await peer.calls("settings.get", "size"))["result"] == 7


async def test_settings_of_the_phone_are_read_by_each_name(scene: Scene) -> None:
    peer = scene.peer
    for path, *args in (
        ("settings.onMentraosChange", "metricSystemEnabled", hears("one")),
        ("settings.onMentraosSettingChange", "metricSystemEnabled", hears("old name")),
        ("settings.onMentraosSettingsChange", "metricSystemEnabled", hears("older name")),
    ):
        assert "error" not in await peer.calls(path, *args), path
    said = {"settings": {"metricSystemEnabled": True}}
    await rest_with(scene.clouds[0], "POST", "/api/client/user/settings", said)
    for name in ("one", "old name", "older name"):
        await peer.heard(name)
    for path in ("settings.getMentraOS", "settings.getMentraosSetting"):
        assert (await peer.calls(path, "metricSystemEnabled"))["result"] is True, path


async def test_what_it_writes_to_the_dashboard_is_shown(scene: Scene) -> None:
    phone = scene.phone
    assert phone is not None
    for name in ("write", "writeToMain", "writeToExpanded"):
        assert "error" not in await scene.peer.calls(f"dashboard.content.{name}", name)

    def shown() -> bool | str:
        drawn = [e["layout"].get("text") for e in phone.of_type("display_event") if e["view"] == "dashboard"]
        return drawn == ["write", "writeToMain", "writeToExpanded"] or str(drawn)

    await eventually(shown)


async def test_what_it_says_is_asked_of_the_bridge_and_stopped(scene: Scene) -> None:
    built, peer = scene.clouds[0], scene.peer
    await peer.does("call", {"path": "audio.speak", "args": ["good morning"]})
    await eventually(lambda: len(built.player.requests) == 1 or "not asked to play")
    asked = built.player.requests[0]
    assert asked.own_address == f"127.0.0.1:{built.cloud.port}"
    async with built.http.get(asked.audio_url) as answer:
        assert (answer.status, await answer.read()) == (200, b"None: good morning")
    assert "error" not in await peer.calls("audio.stopAudio")
    await eventually(lambda: len(built.player.stops) == 1 or "not stopped")
    ended = await peer.done("audio.speak", within=3.0)
    assert (ended["result"]["success"], ended["result"]["error"]) == (False, "stopped")
