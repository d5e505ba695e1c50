"""Phones of the original: they understand connection_ack, and nothing of ours."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.cloud.conftest import ANN, Phone, Stage
from tests.support.poll import eventually, stays

Begin = Callable[..., Awaitable[Stage]]
SPEAKING = '{"type": "VAD", "status": "true"}'


async def speaking(built: Stage, query: str) -> Phone:
    """A phone that was heard in its room once, and says that somebody speaks."""
    phone = await built.phone(query=query)
    await phone.until_state("connecting", "awaiting_audio")
    built.bridge.send(ANN, bytes(640))
    await phone.until_state("live")
    await phone.socket.send_str(SPEAKING)
    return phone


async def test_a_phone_whose_packets_are_lost_is_greeted_again_and_joins_its_room_anew(stage: Begin) -> None:
    built = await stage()
    phone = await speaking(built, "?livekit=true")
    heals = asyncio.create_task(_heal(built, phone))
    took = await eventually(lambda: heals.done() or "not greeted again", within=12.0)
    await heals
    print(f"greeted again after {took:.1f} s")
    greeting = phone.of_type("connection_ack")[1]
    assert greeting["livekit"]["token"]
    assert greeting["sessionId"] == phone.of_type("connection_ack")[0]["sessionId"]
    await phone.until_state("live")
    await stays(lambda: len(phone.of_type("connection_ack")) == 2 or "greeted once more", 1.0)


async def _heal(built: Stage, phone: Phone) -> None:
    """What the original's phone does on each connection_ack."""
    await phone.until("connection_ack", 2, within=12.0)
    built.bridge.send(ANN, bytes(640))


@pytest.mark.parametrize("query", ["?livekit=true&audio=2", "?livekit=true&phone=p1&attempt=1"])
async def test_a_phone_that_understands_audio_state_is_greeted_once(stage: Begin, query: str) -> None:
    built = await stage()
    built.rooms.without_phone = True
    phone = await built.phone(query=query)
    await phone.until_state("connecting", "awaiting_audio")
    await phone.socket.send_str(SPEAKING)
    await eventually(lambda: _told(phone, "phone_not_in_room") or "not missed", within=8.0)
    await stays(lambda: len(phone.of_type("connection_ack")) == 1 or "greeted again", 0.5)


async def test_a_ping_that_says_more_than_the_originals_is_a_sign(stage: Begin) -> None:
    built = await stage()
    built.rooms.without_phone = True
    phone = await built.phone(query="?livekit=true")
    await phone.socket.send_str('{"type": "ping", "timestamp": 1, "every": 60}')
    await phone.socket.send_str(SPEAKING)
    await eventually(lambda: _told(phone, "phone_not_in_room") or "not missed", within=8.0)
    await stays(lambda: len(phone.of_type("connection_ack")) == 1 or "greeted again", 0.5)


def _told(phone: Phone, code: str) -> bool:
    return any(said.get("code") == code for said in phone.of_type("audio_state"))
