"""What this cloud does not serve is refused at once, with the id of the request."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from glassbridge.telemetry import metrics
from tests.cloud.app_stage import App, app_stages


@pytest.fixture
async def app() -> AsyncIterator[App]:
    async with app_stages() as begin:
        built = await begin()
        await built.phone()
        yield await built.running()


Expected = Callable[[dict[str, Any]], bool]


@pytest.mark.parametrize(
    ("asked", "answer", "expected"),
    [
        (
            {"type": "photo_request", "requestId": "p1"},
            "photo_response",
            lambda m: m["requestId"] == "p1" and not m["success"] and m["error"]["code"] == "NOT_SUPPORTED",
        ),
        (
            {"type": "rgb_led_control", "requestId": "l1"},
            "rgb_led_control_response",
            lambda m: m["requestId"] == "l1" and not m["success"] and m["error"],
        ),
        (
            {"type": "rtmp_stream_request", "rtmpUrl": "rtmp://x", "streamId": "s1"},
            "rtmp_stream_status",
            lambda m: (m["status"], m["streamId"]) == ("error", "s1") and m["errorDetails"],
        ),
        (
            {"type": "managed_stream_request"},
            "managed_stream_status",
            lambda m: m["status"] == "error" and m["message"],
        ),
        (
            {"type": "app_direct_message", "messageId": "m1", "targetUserId": "bob", "payload": {}},
            "app_direct_message_response",
            lambda m: (m["messageId"], m["success"]) == ("m1", False) and m["error"],
        ),
        ({"type": "stream_status_check"}, "stream_status_check_response", lambda m: m["hasActiveStream"] is False),
        (
            {"type": "location_poll_request", "correlationId": "c1", "accuracy": "high"},
            "tpa_connection_error",
            lambda m: (
                (m["code"], m["requestId"], m["requestType"]) == ("PERMISSION_DENIED", "c1", "location_poll_request")
            ),
        ),
        (
            {"type": "request_wifi_setup"},
            "tpa_connection_error",
            lambda m: (m["code"], m["requestType"]) == ("NOT_SUPPORTED", "request_wifi_setup"),
        ),
        (
            {"type": "some_new_request", "requestId": "n1"},
            "tpa_connection_error",
            lambda m: (m["code"], m["requestId"]) == ("NOT_SUPPORTED", "n1"),
        ),
    ],
)
async def test_a_request_is_answered_at_once(app: App, asked: dict[str, Any], answer: str, expected: Expected) -> None:
    for number in (1, 2):
        await app.socket.send_json({"packageName": "x", **asked})
        if answer == "tpa_connection_error" and "requestId" not in asked and "correlationId" not in asked:
            break  # nobody waits for an answer: it is refused once
        told = await app.until(answer, number, within=1.0)
        assert expected(told), told
    assert expected(await app.until(answer, within=1.0))
    assert not app.socket.closed


async def test_what_is_unknown_is_counted_and_logged_once_for_each_type(app: App) -> None:
    def counted() -> float:
        return metrics.UNKNOWN_MESSAGES.cell("app").count

    before = counted()
    with capture_logs() as logs:
        for _ in range(5):
            await app.socket.send_json({"type": "nonsense"})
            await app.socket.send_json({"type": "nonsense_too", "requestId": ["no", "text"]})
        await app.socket.send_json({"type": "ping", "timestamp": 1})
        await app.until("pong")
    assert counted() - before == 10
    assert [line["type"] for line in logs if line["event"] == "unknown message type"] == ["nonsense", "nonsense_too"]
    assert not app.of_type("tpa_connection_error"), "what nobody knows and nobody waits for is tolerated"
