"""All of the original's SDK that is not served, called one after the other with the real SDK: nothing hangs, and each
is refused in the way that docs/apps.md says."""

from collections.abc import Callable
from typing import Any

from glassbridge.core.subscriptions import Permission
from tests.apps.mentra import Peer, a_scene, peer_command
from tests.cloud.app_stage import PACKAGE
from tests.support.poll import eventually

__all__ = ["peer_command"]

AT_ONCE = 3.0
"""Seconds; the SDK's own limits begin at 5."""
Refused = Callable[[Peer, dict[str, Any]], bool]


def ends_with(result: Any) -> Refused:
    return lambda _, ended: "error" not in ended and ended.get("result") == result


def fails(text: str) -> Refused:
    return lambda _, ended: text in ended.get("error", "")


def tells(kind: str) -> Refused:
    """By onError."""
    return lambda peer, _: any(f"does not serve {kind}" in one["message"] for one in peer.told("error"))


def denies(stream: str) -> Refused:
    """By permission_error."""
    return lambda peer, _: any(one["stream"] == stream for one in peer.told("denied"))


def hears_error(name: str) -> Refused:
    def heard(peer: Peer, _: dict[str, Any]) -> bool:
        return any(one["name"] == name and one["data"]["status"] == "error" for one in peer.told("heard"))

    return heard


RTMP, MANAGED = {"handler": "rtmp"}, {"handler": "managed"}
CALLS: list[tuple[str, list[Any], Refused]] = [
    ("session.camera.requestPhoto", [], fails("does not serve photo_request")),
    ("session.camera.onStreamStatus", [RTMP], denies("rtmp_stream_status")),
    ("session.camera.onManagedStreamStatus", [MANAGED], denies("managed_stream_status")),
    ("session.camera.startStream", [{"rtmpUrl": "rtmp://x.test/live"}], hears_error("rtmp")),
    ("session.camera.stopStream", [], ends_with(None)),
    ("session.camera.startManagedStream", [{}], fails("does not serve managed_stream_request")),
    ("session.camera.stopManagedStream", [], hears_error("managed")),
    ("session.led.turnOn", [{"color": "red"}], tells("rgb_led_control")),
    ("session.led.turnOff", [], tells("rgb_led_control")),
    ("session.led.blink", ["red", 100, 100, 3], tells("rgb_led_control")),
    ("session.led.solid", ["red", 100], tells("rgb_led_control")),
    ("session.requestWifiSetup", ["for the test"], tells("request_wifi_setup")),
    ("session.getInstructions", [], ends_with(None)),
    ("session.discoverAppUsers", ["CLOUD"], fails("404")),
    ("session.getUserCount", ["CLOUD"], ends_with(0)),
    ("session.isUserActive", ["bob@example.com"], ends_with(False)),
    ("session.sendDirectMessage", ["bob@example.com", "hello"], ends_with(False)),
    ("session.broadcastToAppUsers", ["hello"], tells("app_broadcast_message")),
    ("session.joinAppRoom", ["room"], tells("app_room_join")),
    ("session.leaveAppRoom", ["room"], tells("app_room_leave")),
    ("session.onVpsCoordinates", [{"handler": "vps"}], denies("vps_coordinates")),
    ("session.onPhotoTaken", [{"handler": "photo"}], denies("photo_taken")),
    ("session.events.onVpsCoordinates", [{"handler": "vps"}], denies("vps_coordinates")),
    ("session.events.onPhotoTaken", [{"handler": "photo"}], denies("photo_taken")),
    ("session.settings.fetch", [], fails("401")),
    *(
        (f"session.dashboard.system.set{place}", ["text"], tells("dashboard_system_update"))
        for place in ("TopLeft", "TopRight", "BottomLeft", "BottomRight")
    ),
    ("session.dashboard.system.setViewMode", ["main"], tells("dashboard_mode_change")),
]


async def test_whatever_is_refused_is_refused_at_once(peer_command: list[str]) -> None:
    options: dict[str, Any] = {"permissions": frozenset({Permission.ALL})}
    async with a_scene(peer_command, env={"SYSTEM_DASHBOARD_PACKAGE_NAME": PACKAGE}, **options) as scene:
        await scene.move_to(0)
        await scene.is_heard(0)
        slow = []
        for path, args, refused in CALLS:
            given = [scene.clouds[0].url if one == "CLOUD" else one for one in args]
            ended = await scene.peer.calls(path.removeprefix("session."), *given, within=AT_ONCE)
            slow += [path] if ended["ms"] > AT_ONCE * 1000 else []

            def as_said(path: str = path, ended: dict[str, Any] = ended, refused: Refused = refused) -> bool | str:
                return refused(scene.peer, ended) or f"{path}: {ended}, {scene.peer.told('error')[-3:]}"

            await eventually(as_said, AT_ONCE)
        assert not slow
        await scene.is_heard(0)
