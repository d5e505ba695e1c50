"""Events and state of phone and glasses, as the original's SDK hears them."""

import struct
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import pytest

from glassbridge.core.subscriptions import Permission
from tests.apps.mentra import Scene, a_scene, peer_command
from tests.cloud.app_stage import PACKAGE
from tests.support.poll import eventually, stays

__all__ = ["peer_command"]

LIVE, G1 = "Mentra Live", "Even Realities G1"
SAID: list[tuple[str, dict[str, Any]]] = [
    ("button", {"type": "button_press", "buttonId": "main", "pressType": "long"}),
    ("head", {"type": "head_position", "position": "up"}),
    ("touch", {"type": "touch_event", "device_model": LIVE, "gesture_name": "double_tap"}),
    ("double tap", {"type": "touch_event", "device_model": LIVE, "gesture_name": "double_tap"}),
    ("glasses battery", {"type": "glasses_battery_update", "level": 61, "charging": False, "timeRemaining": 90}),
    ("phone battery", {"type": "phone_battery_update", "level": 80, "charging": True}),
    ("location", {"type": "location_update", "lat": 48.1, "lng": 11.5, "accuracy": 12}),
    ("calendar", {"type": "calendar_event", "eventId": "e1", "title": "Lunch", "dtStart": "2026-01-01T12:00:00Z"}),
    (
        "notification",
        {"type": "phone_notification", "notificationId": "n1", "app": "Mail", "title": "Hi", "content": "x"},
    ),
    ("dismissed", {"type": "phone_notification_dismissed", "notificationId": "n1", "notificationKey": "k"}),
    ("glasses", {"type": "glasses_connection_state", "modelName": LIVE, "status": "CONNECTED"}),
]


@pytest.fixture
async def scene(peer_command: list[str]) -> AsyncIterator[Scene]:
    """An app that may hear everything, and does."""
    async with a_scene(peer_command, permissions=frozenset({Permission.ALL})) as built:
        await built.move_to(0)
        await built.is_heard(0)
        await built.listens()
        yield built


async def test_what_the_phone_says_arrives_as_it_was_said(scene: Scene) -> None:
    assert scene.phone is not None
    for name, said in SAID:
        await scene.phone.say(**said)
        heard = await scene.peer.heard(name)
        assert said.items() <= heard.items(), (said, heard)
    await scene.phone.say(type="touch_event", device_model=LIVE, gesture_name="long_press")
    await eventually(lambda: len([h for h in scene.peer.told("heard") if h["name"] == "touch"]) >= 3 or "no long press")
    assert all(h["data"]["gesture_name"] == "double_tap" for h in scene.peer.told("heard") if h["name"] == "double tap")
    assert not scene.peer.told("denied")


async def test_what_glasses_are_and_can_do_is_known_from_the_beginning_and_told_when_it_changes(scene: Scene) -> None:
    assert scene.phone is not None
    await scene.phone.say(
        type="glasses_connection_state", modelName=LIVE, status="CONNECTED", wifi={"connected": True, "ssid": "home"}
    )
    await scene.phone.say(type="glasses_battery_update", level=40, charging=True)
    await eventually(lambda: bool(scene.peer.told("capabilities")) or "no capabilities")
    update = scene.peer.told("capabilities")[-1]
    assert (update["modelName"], update["capabilities"]["hasCamera"]) == (LIVE, True)
    known = {"connected": True, "modelName": LIVE, "wifiSsid": "home", "batteryLevel": 40, "charging": True}

    async def snapshot() -> bool | str:
        told = await scene.peer.result("device")
        return known.items() <= told.items() or str(told)

    await eventually(snapshot)
    # the next session of the app knows it at once
    await scene.phone.say(type="stop_app", packageName=PACKAGE)
    await eventually(lambda: bool(scene.peer.told("stop")) or "not stopped")
    await scene.phone.say(type="start_app", packageName=PACKAGE)
    await eventually(lambda: len(scene.peer.told("session")) == 2 or "not started")
    assert scene.peer.told("session")[-1]["capabilities"]["modelName"] == LIVE
    await eventually(snapshot)
    await scene.phone.say(type="glasses_connection_state", modelName="", status="DISCONNECTED")
    await eventually(lambda: scene.peer.told("capabilities")[-1]["modelName"] is None or "still there")


async def test_the_phone_is_asked_where_it_is(scene: Scene) -> None:
    assert scene.phone is not None
    assert (await scene.phone.until("set_location_tier"))["tier"] == "standard"
    await scene.peer.does("location")
    asked = await scene.phone.until("request_single_location")
    assert asked["accuracy"] == "high"
    await scene.phone.say(type="location_update", lat=1.5, lng=2.5, correlationId=asked["correlationId"])
    assert (await scene.peer.done("location", 3.0))["result"]["lat"] == 1.5


async def test_an_app_without_permissions_is_told_once_which_it_lacks(peer_command: list[str]) -> None:
    async with a_scene(peer_command) as scene:
        await scene.move_to(0)
        await scene.is_heard(0)
        await scene.peer.does("hear")

        def denied() -> set[tuple[str, str]]:
            return {(one["stream"], one["requiredPermission"]) for one in scene.peer.told("denied")}

        expected = {
            ("location_update", "LOCATION"),
            ("calendar_event", "CALENDAR"),
            ("phone_notification", "READ_NOTIFICATIONS"),
            ("phone_notification_dismissed", "READ_NOTIFICATIONS"),
        }
        await eventually(lambda: denied() == expected or str(denied()))
        await stays(lambda: len(scene.peer.told("denied")) == 4 or "told again", 0.5)
        await scene.peer.does("location")
        await eventually(
            lambda: any("LOCATION" in one["message"] for one in scene.peer.told("error")) or "not told why", 2.0
        )


def bitmap() -> str:
    """16 x 16 white dots as a BMP file."""
    dots = b"\xff" * (16 * 16 * 3)
    head = struct.pack(
        "<2sIHHIIiiHHIIiiII", b"BM", 54 + len(dots), 0, 0, 54, 40, 16, 16, 1, 24, 0, len(dots), 0, 0, 0, 0
    )
    return b64encode(head + dots).decode()


async def test_what_it_shows_arrives(scene: Scene) -> None:
    phone = scene.phone
    assert phone is not None

    def drawn(layout: str) -> list[dict[str, Any]]:
        layouts = [e["layout"] for e in phone.of_type("display_event") if e["packageName"] == PACKAGE]
        return [one for one in layouts if one["layoutType"] == layout]

    for call, args, layout in (
        ("showDoubleTextWall", ["a", "b"], "double_text_wall"),
        ("showReferenceCard", ["a", "b"], "reference_card"),
        ("showDashboardCard", ["a", "b"], "dashboard_card"),
        ("showBitmapView", [bitmap()], "bitmap_view"),
        ("showBitmapAnimation", [["AAAA", "BBBB"], 500, True], "bitmap_animation"),
        ("clearView", [], "clear_view"),
    ):
        assert "error" not in (ended := await scene.peer.calls(f"layouts.{call}", *args)), ended

        def shown(layout: str = layout) -> bool | str:
            return bool(drawn(layout)) or layout

        await eventually(shown)
        if layout == "bitmap_animation":
            assert drawn(layout)[0] == {
                "layoutType": layout,
                "frames": ["AAAA", "BBBB"],
                "interval": 500,
                "repeat": True,
            }
    await scene.peer.does("dashboard", "on the dashboard")
    await eventually(
        lambda: (
            any(
                (e["view"], e["layout"].get("text")) == ("dashboard", "on the dashboard")
                for e in phone.of_type("display_event")
            )
            or "not on the dashboard"
        )
    )
