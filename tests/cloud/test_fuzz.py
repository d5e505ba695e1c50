"""Whatever an app or a phone sends, its socket lives, its session is the same, and nothing is logged as a defect."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from glassbridge.wire import phone
from tests.cloud.app_stage import AppStage, app_stages
from tests.cloud.conftest import ANN
from tests.support.messages import FromStayingApp, messages
from tests.support.poll import eventually

FEW = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
"""Each starts a cloud; for the same reason what fails is not shrunk: that took five minutes."""
Frames = list[Any]
frames_of_apps = st.lists(messages(FromStayingApp) | st.binary(max_size=50), min_size=20, max_size=60)
frames_of_phones = st.lists(messages(phone.FromPhone), min_size=20, max_size=60)


def on_a_stage(scenario: Callable[[AppStage], Awaitable[None]]) -> None:
    """Runs it, and looks for defects in the log."""

    async def run() -> None:
        async with app_stages() as begin:
            await scenario(await begin())

    with structlog.testing.capture_logs() as said:
        asyncio.run(run())
    defects = [line for line in said if line["log_level"] in ("error", "critical") or "exc_info" in line]
    assert not defects, defects


async def send(socket: Any, frame: Any) -> None:
    if isinstance(frame, bytes):
        await socket.send_bytes(frame)
    else:
        await socket.send_str(json.dumps(frame))


@FEW
@given(frames_of_apps)
def test_an_app_may_say_anything(frames: Frames) -> None:
    async def scenario(built: AppStage) -> None:
        await built.phone(query="?livekit=true")
        app = await built.running()
        session = built.cloud.sessions.apps_of(ANN)  # type: ignore[arg-type]
        for frame in frames:
            await send(app.socket, frame)
        await app.say("subscription_update", subscriptions=["VAD"], requestId="the last")
        await eventually(
            lambda: (
                any(ack.get("requestId") == "the last" for ack in app.of_type("subscription_ack"))
                or f"closed: {app.socket.close_code}; told {app.told[-3:]}"
            )
        )
        assert not app.socket.closed
        assert built.cloud.sessions.apps_of(ANN) is session  # type: ignore[arg-type]

    on_a_stage(scenario)


@FEW
@given(frames_of_phones)
def test_a_phone_may_say_anything(frames: Frames) -> None:
    async def scenario(built: AppStage) -> None:
        user = await built.phone()
        session = (await user.until("connection_ack"))["sessionId"]
        for frame in frames:
            await send(user.socket, frame)
        pongs = len(user.of_type("pong"))
        await user.say(type="ping", id="the last")
        await eventually(lambda: len(user.of_type("pong")) > pongs or f"closed: {user.socket.close_code}")
        again = await built.phone()
        assert (await again.until("connection_ack"))["sessionId"] == session

    on_a_stage(scenario)
