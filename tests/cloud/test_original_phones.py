"""Phones of the original: they understand connection_ack, and nothing of ours."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from glassbridge.core.rivals import TURNS
from glassbridge.runtime.tasks import cancelled
from tests.cloud.conftest import ANN, Phone, Stage
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


class ReturningPhone:
    """Connects anew a while after every close, whatever its code, as the original's does; use as an async context."""

    def __init__(self, built: Stage) -> None:
        self._built = built
        self._task: asyncio.Task[None] | None = None
        self.phone: Phone | None = None
        self.closes = 0

    async def __aenter__(self) -> "ReturningPhone":
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        await cancelled(self._task)
        if self.phone is not None:
            await self.phone.close()

    async def _run(self) -> None:
        while True:
            self.phone = await self._built.phone()
            assert self.phone.reader is not None
            await asyncio.wait((self.phone.reader,))
            self.closes += 1
            await asyncio.sleep(RETURNS_AFTER)


async def test_two_phones_of_one_account_do_not_supersede_each_other_for_ever(stage: Begin) -> None:
    built = await stage()
    async with ReturningPhone(built) as first:
        await eventually(lambda: first.phone is not None or "not connected")
        async with ReturningPhone(built) as second:
            phones = (first, second)

            def calm() -> int:
                return sum(phone.closes for phone in phones)

            await eventually(lambda: calm() >= TURNS or "they do not fight", within=15.0)
            closes = calm()
            await stays(lambda: calm() <= closes + 1 or "they still supersede each other", 3 * RETURNS_AFTER)
            closes = calm()
            await stays(lambda: calm() == closes or "they still supersede each other", 3 * RETURNS_AFTER)
            newest, older = sorted(phones, key=lambda phone: phone.closes, reverse=True)
            heard = built.recogniser.streams
            for phone in phones:
                assert phone.phone is not None
                await phone.phone.socket.send_bytes(bytes(3200))
            await eventually(lambda: bool(heard) or "the newer phone is not heard")
            assert newest.phone is not None
            assert older.phone is not None
            greetings = len(older.phone.of_type("connection_ack"))
            await newest.__aexit__()
            await older.phone.until("connection_ack", greetings + 1)
            assert built.cloud.sessions.active == 1
