"""A track that we publish: its clock, its pace, its end."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from glassbridge.livekit import aiortc_quirks as quirks
from glassbridge.livekit import pace, speaker
from glassbridge.livekit.participant import FRAME_BYTES
from glassbridge.livekit.speaker import TAIL, OwnTrack, Slot
from tests.support.patience import deadline
from tests.support.sound import tone

FRAME_CLOCK = 960


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += max(0.0, seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (pace, speaker):
        monkeypatch.setattr(module, "monotonic", made)
    monkeypatch.setattr(asyncio, "sleep", made.sleep)
    return made


@pytest.fixture
async def slot(clock: Clock) -> AsyncIterator[Slot]:
    connection = quirks.new_connection()
    made = Slot(connection)
    made.begin()
    made.grant("TR_1")
    yield made
    await connection.close()


def speaking(slot: Slot, catch_up: float = 0.1) -> OwnTrack:
    async def unpublish(slot: Slot) -> None:
        slot.end()

    return OwnTrack(slot, unpublish, lambda: None, catch_up)


def taken(slot: Slot) -> list[tuple[int, int]]:
    """Time stamps and lengths of the packets that wait to be sent."""
    packets = slot._track.packets
    found = [packets.get_nowait() for _ in range(packets.qsize())]
    return [(packet.timestamp, len(packet.payload)) for packet in found]


async def test_frames_leave_one_by_one_in_time(slot: Slot, clock: Clock) -> None:
    track = speaking(slot)
    begun = clock.now
    for frame in range(50):
        await track.write(tone(0.02))
        assert clock.now == pytest.approx(begun + 0.02 * (frame + 1))
        taken(slot)


async def test_the_clock_of_the_sound_goes_on_in_a_pause(slot: Slot, clock: Clock) -> None:
    track = speaking(slot)
    for _ in range(3):
        await track.write(tone(0.02))
    stamps = [stamp for stamp, _ in taken(slot)]
    assert stamps == [0, FRAME_CLOCK, 2 * FRAME_CLOCK]
    clock.now += 10.0
    await track.write(tone(0.02))
    [(stamp, _)] = taken(slot)
    assert stamp == pytest.approx(2 * FRAME_CLOCK + 48_000 * 10, abs=2 * FRAME_CLOCK)
    assert stamp % FRAME_CLOCK == 0


@pytest.mark.parametrize(
    ("late", "catch_up", "catches_up"), [(0.05, 0.1, True), (0.5, 0.1, False), (0.5, 2.0, True), (2.1, 2.0, False)]
)
async def test_a_writer_that_is_late_catches_up_or_begins_anew(
    late: float, catch_up: float, catches_up: bool, slot: Slot, clock: Clock
) -> None:
    track = speaking(slot, catch_up)
    await track.write(tone(0.02))
    due = clock.now
    clock.now += late
    for _ in range(40):
        before = clock.now
        await track.write(tone(0.02))
        assert clock.now - before >= 0.0049, "at most four times as fast as real time"
    assert clock.now == pytest.approx(due + 40 * 0.02 + (0 if catches_up else late))
    stamps = [stamp for stamp, _ in taken(slot)]
    steps = {later - earlier for earlier, later in pairwise(stamps[1:])}
    assert steps == {FRAME_CLOCK}
    assert (stamps[1] - stamps[0] == FRAME_CLOCK) is catches_up


async def test_a_drain_ends_with_silence_and_only_once(slot: Slot, clock: Clock) -> None:
    track = speaking(slot)
    await track.drain()
    assert taken(slot) == []
    await track.write(tone(0.02))
    taken(slot)
    begun = clock.now
    await track.drain()
    assert len(taken(slot)) == TAIL
    assert clock.now == pytest.approx(begun + TAIL * 0.02)
    await track.drain()
    assert taken(slot) == []


async def test_an_unpublished_track_says_nothing(slot: Slot) -> None:
    track = speaking(slot)
    await track.write(tone(0.02))
    await track.unpublish()
    await track.unpublish()
    assert len(taken(slot)) == 1 + TAIL
    with pytest.raises(ValueError, match="unpublished"):
        await track.write(bytes(FRAME_BYTES))


async def test_a_sender_that_takes_nothing_does_not_pile_up(slot: Slot) -> None:
    track = speaking(slot)
    for _ in range(200):
        await track.write(tone(0.02))
    assert len(taken(slot)) == 50


async def test_it_is_silent_until_somebody_listens(slot: Slot) -> None:
    track = speaking(slot)
    searching = asyncio.create_task(track.find_listener(5.0))
    packets: list[tuple[int, int]] = []
    async with deadline(5.0):
        while len(packets) < 2:
            await asyncio.wait([searching], timeout=0.02)
            packets += taken(slot)
    slot.heard.set()
    await searching
    packets += taken(slot)
    assert max(size for _, size in packets[1:]) < 20, "silence is small"
    await track.find_listener(5.0)
    assert taken(slot) == []


async def test_a_line_used_again_has_a_new_name(slot: Slot) -> None:
    names = {slot.begin() for _ in range(3)}
    assert len(names) == 3
    assert slot.cid in names
    slot.grant("TR_2")
    slot.grant("TR_3")
    assert await slot.granted == "TR_2"
