"""Requests of the original's SDK that this cloud does not serve. Each is answered at once, in the form
that the SDK knows for it, else by an error with its id."""

from collections.abc import Callable
from typing import Final

from glassbridge.cloud.clock import iso_now
from glassbridge.wire import apps as wire
from glassbridge.wire.codec import Message

_Answer = Callable[[str, wire.RequestIds, str], Message]
"""(package, ids of the request, why it is not served)"""


def _led(_package: str, ids: wire.RequestIds, why: str) -> Message:
    return wire.RgbLedControlResponse(request_id=ids.any, success=False, error=why, timestamp=iso_now())


def _stream(package: str, ids: wire.RequestIds, why: str) -> Message:
    return wire.RtmpStreamStatus(
        status="error", error_details=why, app_id=package, stream_id=ids.any, timestamp=iso_now()
    )


def _managed_stream(_package: str, ids: wire.RequestIds, why: str) -> Message:
    return wire.ManagedStreamStatus(status="error", message=why, stream_id=ids.any, timestamp=iso_now())


def _no_stream(_package: str, _ids: wire.RequestIds, _why: str) -> Message:
    return wire.StreamStatusCheckResponse(has_active_stream=False, timestamp=iso_now())


def _direct_message(_package: str, ids: wire.RequestIds, why: str) -> Message:
    return wire.DirectMessageResponse(message_id=ids.any, success=False, error=why, timestamp=iso_now())


ANSWERS: Final[dict[str, _Answer]] = {
    "rgb_led_control": _led,
    "rtmp_stream_request": _stream,
    "rtmp_stream_stop": _stream,
    "managed_stream_request": _managed_stream,
    "managed_stream_stop": _managed_stream,
    "stream_status_check": _no_stream,
    "app_direct_message": _direct_message,
}


NO_ID: Final = frozenset(
    {
        "app_broadcast_message",
        "app_room_join",
        "app_room_leave",
        "app_user_discovery",
        "dashboard_mode_change",
        "dashboard_system_update",
        "request_wifi_setup",
    }
)
"""Other messages of the SDK that are not served. One without an id is refused once for each socket."""


SWALLOWED: Final = frozenset({"rgb_led_control"})
"""The SDK does not report their answers: they are also refused once by an error, which it hands to the app."""


def answer(kind: str, package: str, ids: wire.RequestIds) -> Message:
    """The answer to a request of this type."""
    why = f"this cloud does not serve {kind}"
    if (make := ANSWERS.get(kind)) is not None:
        return make(package, ids, why)
    return refusal(kind, ids.any, wire.ErrorCode.NOT_SUPPORTED, why)


def refusal(kind: str, request_id: str, code: wire.ErrorCode, why: str) -> wire.ConnectionError_:
    """Tells an app that a request of this type is not served; without an id: none of them is."""
    return wire.ConnectionError_(
        code=code, message=why, request_id=request_id or None, request_type=kind, timestamp=iso_now()
    )
