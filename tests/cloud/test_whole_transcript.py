"""A hole of 30 s in the middle of a text that somebody reads: told at once, and whole after it was sent again."""

import asyncio
from array import array
from collections.abc import AsyncIterator
from typing import Any

import pytest

from glassbridge.app.events import Transcription
from glassbridge.app.transcript import Transcript
from glassbridge.core.values import BYTES_PER_MS
from glassbridge.wire.audio_frames import FLAG_LAST, FLAG_PRESENCE, FLAG_REPLAYED, FrameNumber, encode_numbered
from tests.cloud.app_stage import AppStage, Begin, app_stages
from tests.cloud.conftest import Phone
from tests.cloud.test_hearing import ask
from tests.speech.reading import Reader, spoken
from tests.support.poll import eventually

MS = 100
TEXT = [
    (8, 900),
    (3, 700),
    (11, 1_500),
    (5, 800),
    (12, 2_000),
    (2, 1_200),
    (9, 700),
    (6, 1_500),
    (10, 900),
    (7, 600),
] * 2
SOUND = spoken(TEXT)
FRAMES = len(SOUND) // BYTES_PER_MS // MS
WORDS = [str(word) for word in range(1, 1 + sum(count for count, _ in TEXT))]
HOLE = range(200, 500)
"""Frames: it begins and ends within words."""


@pytest.fixture
async def begin() -> AsyncIterator[Begin]:
    async with app_stages() as start:
        yield start


class Reading:
    """Somebody who reads the text into a phone whose frames may be lost."""

    def __init__(self, stage: AppStage, phone: Phone) -> None:
        self.stage, self.phone = stage, phone
        self.sent = 0

    async def send(self, index: int, flags: int = 0) -> None:
        number = FrameNumber(9, index * MS * 16, index * MS * 1_000, flags)
        pcm = b"" if flags & FLAG_PRESENCE else SOUND[index * MS * BYTES_PER_MS : (index + 1) * MS * BYTES_PER_MS]
        await self.phone.socket.send_bytes(encode_numbered(number, pcm))
        self.sent += 1
        if self.sent % 20 == 0:  # quicker than speech, but no quicker than it is taken
            await self.phone.say(type="ping")
            await self.phone.until("pong", self.sent // 20)

    async def end(self) -> None:
        await self.send(FRAMES, FLAG_PRESENCE | FLAG_LAST)
        told = asyncio.create_task(self.phone.until("speech_end", within=20.0))
        while not told.done():
            await self.phone.say(type="ping")
            await asyncio.wait((told,), timeout=0.5)
        assert told.result().get("captioned", True)

    async def remembered(self) -> tuple[list[str], list[dict[str, Any]]]:
        told = (await ask(self.stage))["data"]
        return " ".join(segment["text"] for segment in told["segments"]).split(), told["gaps"]


async def begun(begin: Begin) -> Reading:
    stage = await begin(recogniser=Reader("reader", delay=0.05))
    return Reading(stage, await stage.phone(query="?audio=2"))


async def test_without_a_hole(begin: Begin) -> None:
    reading = await begun(begin)
    for index in range(FRAMES):
        await reading.send(index)
    await reading.end()
    assert await reading.remembered() == (WORDS, [])


async def test_where_two_ways_carry_audio_the_first_words_are_not_understood_late(begin: Begin) -> None:
    """The second way is the first to bring something."""
    reading = await begun(begin)
    for index in (4, 5, 0, 1, 2, 3, *range(6, FRAMES)):
        await reading.send(index)
    await reading.end()
    assert await reading.remembered() == (WORDS, [])
    assert [told for told in reading.phone.of_type("display_event") if told.get("inserts")] == []


@pytest.mark.parametrize("at_once", [1, 10])
async def test_a_hole_is_told_within_a_second_and_the_transcript_is_whole_after_the_replay(
    begin: Begin, at_once: int
) -> None:
    """The phone sends what is missing while it goes on: for each new frame it repeats so many old ones."""
    reading = await begun(begin)
    for index in range(HOLE.start):
        await reading.send(index)
    await reading.send(HOLE.stop)
    told = await reading.phone.until("transcript_gap", within=1.0)
    assert (told["state"], told["seconds"]) == ("open", 30.0)
    live = iter(range(HOLE.stop + 1, FRAMES))
    for index in HOLE:
        await reading.send(index, FLAG_REPLAYED)
        if index % at_once == 0 and (new := next(live, None)) is not None:
            await reading.send(new)
            await asyncio.sleep(0)
    for index in live:
        await reading.send(index)
    await reading.end()
    assert (await reading.phone.until("transcript_gap", 2))["state"] == "filled"
    assert await reading.remembered() == (WORDS, [])


async def test_a_phone_that_loses_its_socket_before_the_replay_fills_the_hole_when_it_is_back(begin: Begin) -> None:
    reading = await begun(begin)
    live = HOLE.stop + 40
    for index in (*range(HOLE.start), *range(HOLE.stop, live)):
        await reading.send(index)
    assert (await reading.phone.until("transcript_gap", within=2.0))["state"] == "open"
    await reading.phone.socket.close()
    again = Reading(reading.stage, await reading.stage.phone(query="?audio=2"))
    for index in HOLE:
        await again.send(index, FLAG_REPLAYED)
    for index in range(live, FRAMES):
        await again.send(index)
    await again.end()
    assert await again.remembered() == (WORDS, [])


async def test_a_hole_that_is_never_filled_stays_in_the_transcript_and_costs_no_other_word(begin: Begin) -> None:
    reading = await begun(begin)
    for index in (*range(HOLE.start), *range(HOLE.stop, FRAMES)):
        await reading.send(index)
    await reading.end()
    words, gaps = await reading.remembered()
    assert [gap["seconds"] for gap in gaps] == [30.0]
    missing = [word for word in WORDS if word not in words]
    cut = [word for word in words if word not in WORDS]
    heard = SOUND[HOLE.start * MS * BYTES_PER_MS : HOLE.stop * MS * BYTES_PER_MS]
    assert {int(word) for word in missing} <= set(array("h", heard)), "a word outside the hole is gone"
    assert len(cut) <= 4, "each end of the hole cuts a word in two"


async def test_words_of_a_late_replay_appear_in_their_place_for_the_phone_for_apps_and_in_what_is_kept(
    begin: Begin,
) -> None:
    """The replay begins long after what was spoken later has been captioned."""
    reading = await begun(begin)
    app = await reading.stage.running("transcription:en-US")
    hole = range(200, 300)
    for index in (*range(hole.start), *range(hole.stop, FRAMES)):
        await reading.send(index)
    captions = reading.phone.of_type
    await eventually(
        lambda: any("60 61" in told["layout"]["text"] and told["isFinal"] for told in captions("display_event")), 20.0
    )
    for index in hole:
        await reading.send(index, FLAG_REPLAYED)
    await reading.end()
    assert await reading.remembered() == (WORDS, [])
    seen, heard = Transcript(), Transcript()
    for told in reading.phone.of_type("display_event"):
        seen.note(_line(told, told["layout"]["text"], told["startMs"], told["endMs"]))
    for told in app.heard("transcription"):
        heard.note(_line(told, told["text"], told["startTime"], told["endTime"]))
    assert seen.text.split() == WORDS
    assert heard.text.split() == WORDS


def _line(told: dict[str, Any], text: str, start: int, end: int) -> Transcription:
    """As a program reads it that knows what `replaces` and `inserts` mean."""
    replaces, inserts = tuple(told.get("replaces", ())), told.get("inserts")
    return Transcription(
        text, told["isFinal"], "en-US", start, end, id=told.get("id"), replaces=replaces, inserts=inserts
    )
