"""Thousands of hostile frames on both sockets, made from their structs: nothing fails or stalls, nothing is a defect.

The seed is new for each run and printed; GLASSBRIDGE_FUZZ_SEED repeats one.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from glassbridge.cloud.apps_config import SocketRates
from glassbridge.core.values import user_id
from glassbridge.wire import phone
from tests.cloud.app_stage import PACKAGE, Begin, app_stages
from tests.cloud.conftest import ANN
from tests.support.hostile import Hostile
from tests.support.messages import FromStayingApp
from tests.support.poll import eventually
from tests.support.turns import longest_turn

FRAMES = 3_000
LONGEST = 1 << 20
"""Bytes; a longer frame ends the socket, as it must."""
AT_ONCE = 20
STALL = 0.25
"""Seconds of processor that the event loop may spend on what came at once: other programs do not count."""
PLENTY = SocketRates(1_000_000, 1 << 30)
ERRORS = {"MALFORMED_MESSAGE", "MESSAGE_TOO_BIG", "NOT_SUPPORTED", "PERMISSION_DENIED", "NOT_AVAILABLE"}


@pytest.fixture
async def stage() -> AsyncIterator[Begin]:
    async with app_stages() as begin:
        yield begin


@pytest.mark.parametrize("kind", ["phone", "app"])
async def test_whatever_is_said_is_answered_by_type(stage: Begin, kind: str) -> None:
    seed = int(os.environ.get("GLASSBRIDGE_FUZZ_SEED", random.randrange(1 << 32)))
    print(f"GLASSBRIDGE_FUZZ_SEED={seed}")
    with structlog.testing.capture_logs() as said:
        built = await stage(cloud={"phone_rates": PLENTY}, rates=PLENTY)
        user = await built.phone(query="?audio=2")
        app = await built.running()
        client: Any = user if kind == "phone" else app
        union: Any = phone.FromPhone if kind == "phone" else FromStayingApp
        hostile, over = Hostile(seed, PACKAGE), asyncio.Event()
        watching = asyncio.create_task(longest_turn(over))
        try:
            for number in range(FRAMES):
                if hostile.random.random() < 0.05:
                    await client.socket.send_bytes(hostile.random.randbytes(hostile.random.randrange(200)))
                else:
                    await client.socket.send_str(hostile.text(union).encode()[:LONGEST].decode(errors="ignore"))
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0.004)
            await client.socket.send_json({"type": "ping", "timestamp": "the end"})
            await eventually(
                lambda: (
                    any(pong.get("timestamp") == "the end" for pong in client.of_type("pong"))
                    or f"closed: {client.socket.close_code}"
                ),
                20.0,
            )
        finally:
            over.set()
        assert await watching < STALL
        errors = {m["code"] for m in client.told if m["type"].endswith("connection_error")}
        assert errors <= ERRORS
        assert built.cloud.sessions.apps_of(user_id(ANN)) is not None
        assert {struct.__struct_config__.tag for struct in union.__args__} <= hostile.said
    defects = [line for line in said if line["log_level"] in ("error", "critical") or "exc_info" in line]
    assert not defects, defects[:3]
