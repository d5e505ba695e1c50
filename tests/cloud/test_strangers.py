"""Peers that never sign in: what they may take, and what a user notices of them."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

import pytest
import structlog

from glassbridge.core.connections import ConnectionLimits
from glassbridge.telemetry.metrics import resident_bytes
from tests.cloud.app_stage import app_stages
from tests.cloud.conftest import Stage
from tests.support.patience import patient, soon
from tests.support.poll import eventually

Begin = Callable[..., Any]
QUICK = ConnectionLimits(header_time=2.0, sign_in_time=2.0, body_time=2.0)
HALF_A_HEADER = b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Half: "
HALF_A_BODY = b"POST /api/sounds?app=x HTTP/1.1\r\nHost: x\r\nContent-Length: 16000000\r\n\r\nabc"
NOT_SIGNED_IN = (
    b"GET /app-ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def strangers(stage: Stage, sent: bytes, count: int) -> list[socket.socket]:
    loop, found = asyncio.get_running_loop(), []
    for _ in range(count):
        one = socket.socket()
        one.setblocking(False)
        await loop.sock_connect(one, ("127.0.0.1", stage.cloud.port))
        with suppress(ConnectionError):
            await loop.sock_sendall(one, sent)
        found.append(one)
    return found


@pytest.mark.parametrize("sent", [b"", HALF_A_HEADER, NOT_SIGNED_IN], ids=["0", "header", "app"])
async def test_strangers_who_stand_there_are_gone_soon_and_cost_a_user_nothing(stage: Begin, sent: bytes) -> None:
    built: Stage = await stage(connections=QUICK)
    phone = await built.phone()
    before = resident_bytes()
    with structlog.testing.capture_logs() as lines:
        crowd = await strangers(built, sent, 300)
        begun = monotonic()
        async with built.http.get(f"{built.url}/livez") as answer:
            assert answer.status == 200
        await phone.say(type="ping", timestamp=1)
        await phone.until("pong")
        assert monotonic() - begun < patient(2.0)
        await eventually(lambda: len(built.cloud._gate) <= 3 or f"{len(built.cloud._gate)} are still here", within=15.0)
    assert resident_bytes() - before < 50 << 20
    assert not [line for line in lines if line["log_level"] in ("error", "critical")]
    assert len([line for line in lines if line["event"] == "connections refused"]) <= 2
    assert not phone.socket.closed
    for one in crowd:
        one.close()


async def test_one_address_has_so_many_unsigned_app_sockets_and_no_more() -> None:
    """Each costs 20 KB; those that sign in, by headers or by their first message, count no longer."""
    async with app_stages() as begin:
        built = await begin(unsigned_per_address=5)
        await built.phone()
        app = await built.running()
        crowd = await strangers(built, NOT_SIGNED_IN, 8)
        loop = asyncio.get_running_loop()
        answers = [await soon(loop.sock_recv(one, 4096), 5.0) for one in crowd]
        assert sorted(answer.split()[1] for answer in answers) == [b"101"] * 5 + [b"429"] * 3
        assert all(b"RATE_LIMITED" in answer for answer in answers if b" 429 " in answer)
        assert not app.socket.closed
        for one in crowd:
            one.close()

        async def taken() -> bool:
            [one] = await strangers(built, NOT_SIGNED_IN, 1)
            with one:
                return b" 101 " in await soon(loop.sock_recv(one, 4096), 5.0)

        await eventually(taken)
