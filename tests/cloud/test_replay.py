"""What never came is asked for, and takes its place at the recogniser's input when the phone sends it again."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

from glassbridge.wire.audio_frames import FLAG_LAST, FLAG_PRESENCE, FLAG_REPLAYED, FrameNumber, encode_numbered
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
    wanted = SPEECH[:FRAME] + SPEECH[5 * FRAME : 6 * FRAME]
    assert await eventually(lambda: built.recogniser.fed == wanted, within=3.0) > 1.0
    await phone.socket.send_bytes(frame(8))
    wanted += SPEECH[8 * FRAME : 9 * FRAME]
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
    await until_acked(phone, missing=[[1600, 3200]])
    again = await built.phone(query="?audio=2")
    assert (await again.until("connection_ack"))["known"] == {"epoch": 9, "position": 4800}
    await until_acked(again, missing=[[1600, 3200]])
