"""The shell of the microphone's order: what the log says of it."""

import structlog

from glassbridge.cloud.microphone_order import Order
from glassbridge.wire.phone import Message


async def test_each_change_of_the_order_reaches_the_log() -> None:
    told: list[Message] = []
    with structlog.testing.capture_logs() as lines:
        order = Order(told.append, lambda _on: None, structlog.get_logger(), lambda: 0.0, captions=True)
        order.phone_came()
        order.phone_went()
        order.close()
    changes = [(line["old"], line["on"], line["new"]) for line in lines if line["event"] == "microphone order"]
    assert changes == [("away", "PhoneCame", "on"), ("on", "PhoneWent", "away")]
    assert len(told) == 1
