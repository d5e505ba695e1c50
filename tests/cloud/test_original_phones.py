"""Phones of the original: they understand connection_ack, and nothing of ours."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from glassbridge.cloud.auth import mint_core_token
from glassbridge.core.rivals import TURNS
from glassbridge.core.values import LossReason, user_id
from glassbridge.lab.originals.phone import OriginalPhone
from glassbridge.livekit.participant import Participant, ParticipantError
from glassbridge.wire.livekit_bridge_pb2 import AUDIO_SOURCE_TRACK
from tests.cloud.conftest import ANN, SECRET, Phone, Stage
from tests.support.poll import eventually, stays

Begin = Callable[..., Awaitable[Stage]]
RETURNS_AFTER = 1.3
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


async def test_a_phone_is_taken_out_of_a_room_without_a_bridge_and_speaks_on_its_socket(stage: Begin) -> None:
    built = await stage()
    phone = await speaking(built, "?livekit=true")
    await built.bridge.stop()
    await eventually(lambda: built.rooms.put_out == [(ANN, ANN)] or "not taken out of its room")
    before = len(built.recogniser.fed)
    await phone.socket.send_bytes(bytes(640))
    await eventually(lambda: len(built.recogniser.fed) == before + 640 or "not heard")
    assert phone.audio_states()[-1][0] == "live"
    assert len(phone.of_type("connection_ack")) == 1
    await built.bridge.start()
    await phone.until("connection_ack", 2, within=10.0)
    await stays(lambda: len(built.rooms.put_out) == 1 or "taken out again", 0.5)


@pytest.mark.parametrize("query", ["?livekit=true&phone=p1", "?livekit=true"])
async def test_nobody_else_is_taken_out(stage: Begin, query: str) -> None:
    """Neither a phone that understands, nor one that speaks by a track: it may have no other way."""
    built = await stage()
    phone = await built.phone(query=query)
    await phone.until_state("connecting", "awaiting_audio")
    source = {} if "phone=" in query else {"source": AUDIO_SOURCE_TRACK}
    built.bridge.send(ANN, bytes(640), **source)
    await phone.until_state("live")
    await built.bridge.stop()
    await eventually(lambda: phone.audio_states()[-1][0] != "live" or "not noticed")
    await stays(lambda: built.rooms.put_out == [] or "taken out", 1.0)


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


class AnyPhone:
    """A double of the original's phone that comes back sooner, and what it told; use as an async context."""

    def __init__(self, built: Stage) -> None:
        self.told: list[tuple[str, Mapping[str, Any]]] = []
        token = mint_core_token(user_id(ANN), SECRET, 60)
        self.phone = OriginalPhone(built.url, token, self._tell, _no_room, reconnect_after=RETURNS_AFTER)

    def _tell(self, event: str, **fields: Any) -> None:
        self.told.append((event, fields))

    def count(self, event: str, state: str | None = None) -> int:
        return sum(event == name and state in (None, fields.get("state")) for name, fields in self.told)

    @property
    def closes(self) -> int:
        return self.count("socket", "closed")

    async def __aenter__(self) -> "AnyPhone":
        await self.phone.__aenter__()
        await eventually(lambda: self.count("ack") > 0 or "not connected")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.phone.close()


async def _no_room(*_: Any, **__: Any) -> Participant:
    raise ParticipantError(LossReason.UNREACHABLE)


async def test_two_phones_of_one_account_do_not_supersede_each_other_for_ever(stage: Begin) -> None:
    built = await stage()
    async with AnyPhone(built) as first, AnyPhone(built) as second:
        phones = (first, second)

        def closes() -> int:
            return sum(phone.closes for phone in phones)

        await eventually(lambda: closes() >= TURNS or "they do not fight", within=15.0)
        many = closes()
        await stays(lambda: closes() <= many + 1 or "they still supersede each other", 3 * RETURNS_AFTER)
        many = closes()
        await stays(lambda: closes() == many or "they still supersede each other", 3 * RETURNS_AFTER)
        newest, older = sorted(phones, key=lambda phone: phone.closes, reverse=True)
        for phone in phones:
            phone.phone.speak(bytes(3200))
        await eventually(lambda: bool(built.recogniser.streams) or "the newer phone is not heard")
        greetings = older.count("ack")
        await newest.phone.close()
        await eventually(lambda: older.count("ack") == greetings + 1 or "the older phone is not greeted")
        assert built.cloud.sessions.active == 1
