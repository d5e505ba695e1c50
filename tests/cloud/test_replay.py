"""What never came is asked for, and takes its place at the recogniser's input when the phone sends it again."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from glassbridge.cloud import audio
from glassbridge.core import in_order
from glassbridge.wire.audio_frames import (
    FLAG_LAST,
    FLAG_PRESENCE,
    FLAG_REPAIR,
    FLAG_REPLAYED,
    FrameNumber,
    encode_numbered,
)
from tests.cloud.conftest import Phone, Stage
from tests.support.poll import eventually

Begin = Callable[..., Awaitable[Stage]]
FRAME = 3200
SPEECH = random.Random(4).randbytes(10 * FRAME)


def frame(index: int, flags: int = 0) -> bytes:
    """100 ms of speech by number; it was captured when its turn was."""
    number = FrameNumber(9, index * FRAME // 2, index * 100_000, flags)
    return encode_numbered(number, b"" if flags & FLAG_PRESENCE else SPEECH[index * FRAME : (index + 1) * FRAME])


async def until_acked(phone: Phone, **fields: Any) -> None:
    """Until an acknowledgement says this."""

    def said() -> bool | str:
        acks = phone.of_type("audio_ack")
        return any(fields.items() <= ack.items() for ack in acks) or f"{fields}; told {acks}"

    await eventually(said)


async def test_a_hole_is_named_and_filled_in_its_place(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?audio=2")
    for index in (0, 1, 5, 6):
        await phone.socket.send_bytes(frame(index))
    await until_acked(phone, position=7 * 1600, missing=[[2 * 1600, 5 * 1600]])
    assert built.recogniser.fed == SPEECH[: 2 * FRAME], "the rest waits for its place"
    for index in (2, 3):
        await phone.socket.send_bytes(frame(index, FLAG_REPLAYED))
    await until_acked(phone, missing=[[4 * 1600, 5 * 1600]])
    for index in (4, 7):
        await phone.socket.send_bytes(frame(index, FLAG_REPLAYED if index == 4 else 0))
    await eventually(lambda: built.recogniser.fed == SPEECH[: 8 * FRAME] or f"{len(built.recogniser.fed)} bytes fed")
    await until_acked(phone, position=8 * 1600)
    assert "missing" not in phone.of_type("audio_ack")[-1]


async def test_a_phone_that_cannot_send_again_holds_nothing_up_for_long(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?audio=2")
    for index in (0, 5):
        await phone.socket.send_bytes(frame(index))
    wanted = SPEECH[:FRAME] + bytes(4 * FRAME) + SPEECH[5 * FRAME : 6 * FRAME]
    assert await eventually(lambda: built.recogniser.fed == wanted, within=3.0) > 1.0, "silence stands for the hole"
    await phone.socket.send_bytes(frame(8))
    wanted += bytes(2 * FRAME) + SPEECH[8 * FRAME : 9 * FRAME]
    assert await eventually(lambda: built.recogniser.fed == wanted) < 1.0, "it is not waited for again"


async def test_the_end_of_speech_waits_for_what_is_sent_again(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?audio=2")
    for index in (0, 2):
        await phone.socket.send_bytes(frame(index))
    await phone.socket.send_bytes(frame(3, FLAG_PRESENCE | FLAG_LAST))
    await until_acked(phone, missing=[[1600, 3200]])
    await phone.socket.send_bytes(frame(1, FLAG_REPLAYED))
    await phone.until("speech_end")
    assert built.recogniser.fed == SPEECH[: 3 * FRAME]


async def test_a_phone_that_comes_back_is_told_again_what_is_missing(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?audio=2")
    for index in (0, 2):
        await phone.socket.send_bytes(frame(index))
    await until_acked(phone, position=4800, missing=[[1600, 3200]])
    again = await built.phone(query="?audio=2")
    assert (await again.until("connection_ack"))["known"] == {"epoch": 9, "position": 4800}
    await until_acked(again, missing=[[1600, 3200]])


async def test_an_end_that_is_lost_is_waited_for_as_any_other_hole_is(stage: Begin) -> None:
    """Nothing is held behind it, so nothing else tells that it is awaited: "take a picture of the river"."""
    built = await stage()
    phone = await built.phone(query="?audio=2")
    for index in (0, 1):
        await phone.socket.send_bytes(frame(index))
    await phone.socket.send_bytes(frame(4, FLAG_PRESENCE | FLAG_LAST))
    await until_acked(phone, position=4 * 1600, missing=[[2 * 1600, 4 * 1600]], lost=2 * 1600)
    assert not phone.of_type("speech_end")
    for index in (2, 3):
        await phone.socket.send_bytes(frame(index, FLAG_REPLAYED))
    await phone.until("speech_end")
    assert built.recogniser.fed == SPEECH[: 4 * FRAME]
    assert phone.of_type("audio_ack")[-1].get("lost", 0) == 0


async def test_speech_ends_although_its_end_never_comes(stage: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (audio, in_order):
        monkeypatch.setattr(module, "END_PATIENCE", 0.5)
    built = await stage()
    phone = await built.phone(query="?audio=2")
    await phone.socket.send_bytes(frame(0))
    await phone.socket.send_bytes(frame(2, FLAG_PRESENCE | FLAG_LAST))
    await phone.until("speech_end")
    await until_acked(phone, position=2 * 1600, lost=1600)


async def test_a_hole_is_named_before_it_is_given_up(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?audio=2")
    for index in (0, 2):
        await phone.socket.send_bytes(frame(index))
    await until_acked(phone, position=1600, missing=[[1600, 3200]])
    await phone.socket.send_bytes(frame(1, FLAG_REPAIR))
    await until_acked(phone, position=4800)
    assert built.recogniser.fed == SPEECH[: 3 * FRAME]
    assert all("lost" not in ack for ack in phone.of_type("audio_ack")), "it was repaired in time"


async def test_what_came_by_the_socket_is_counted_for_the_phone(stage: Begin) -> None:
    built = await stage()
    phone = await built.phone(query="?audio=2")
    assert (await phone.until("connection_ack"))["codings"] == [1]
    for index in range(3):
        await phone.socket.send_bytes(frame(index))
    await phone.socket.send_bytes(frame(1, FLAG_REPAIR))
    await phone.socket.send_bytes(frame(1, FLAG_REPLAYED))

    def counted() -> list[list[int]]:
        return [ack["socket"][:2] for ack in phone.of_type("audio_ack") if ack.get("socket")]

    await eventually(lambda: counted()[-1:] == [[3, 4800]] or f"told {counted()}")


async def test_late_audio_is_told_with_its_age_and_so_is_its_end(stage: Begin) -> None:
    """Real time passes, four times as fast as the phone's audio comes: as on a link that is too narrow for it."""
    built = await stage()
    phone = await built.phone(query="?audio=2")
    loop = asyncio.get_running_loop()
    begun = loop.time()

    async def speak(index: int, captured: float) -> None:
        number = FrameNumber(9, index * 160, round((10 + captured) * 1e6))
        await phone.socket.send_bytes(encode_numbered(number, SPEECH[:320]))

    index = 0
    while phone.audio_states()[-1:] != [("interrupted", "slow_network")]:
        await speak(index, index * 0.01)
        index += 1
        assert index < 200, phone.audio_states()
        await asyncio.sleep(0.04)
    told = phone.of_type("audio_state")[-1]
    assert told["hop"] == "phone"
    assert any(f"{seconds} s late" in told["reason"] for seconds in (1, 2, 3))
    while phone.audio_states()[-1] != ("live", ""):
        await speak(index, loop.time() - begun)
        index += 1
        assert index < 600, phone.audio_states()
        await asyncio.sleep(0.02)
