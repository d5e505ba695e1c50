"""A track that dies amid speech: what was not heard of it goes once more, by the WebSocket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import cast

import pytest

from glassbridge.core.link_events import AudioRoute
from glassbridge.core.track_fallback import UNHEARD
from glassbridge.core.values import BYTES_PER_MS, Transport
from glassbridge.livekit.participant import FRAME_BYTES
from glassbridge.phone.by_track import TRACK_DELAY
from glassbridge.phone.capture import Capture, Frame
from glassbridge.phone.room import Room
from glassbridge.phone.sender import Sender
from glassbridge.phone.socket import CloudSocket
from glassbridge.phone.track_tail import KEPT_MS, TrackTail
from glassbridge.runtime.tasks import cancelled
from glassbridge.runtime.tcp import RoundTrip
from glassbridge.wire.audio_frames import FrameNumber, decode_numbered
from glassbridge.wire.phone import Message, Ping
from tests.support.poll import eventually

FRAME_MS = 100


def frame(number: int) -> Frame:
    """The one that was captured `number` tenths of a second after the begin."""
    at = number * FRAME_MS * 1_000
    return Frame(FrameNumber(1, number * FRAME_MS * 16, at), bytes([number]) * (FRAME_MS * BYTES_PER_MS))


def said(pieces: list[Frame]) -> list[tuple[int, int]]:
    """(frame, milliseconds) of each piece."""
    return [(piece.pcm[0], len(piece.pcm) // BYTES_PER_MS) for piece in pieces]


@pytest.mark.parametrize(
    ("since_ms", "expected"),
    [(0, [(0, 100), (1, 100), (2, 100)]), (130, [(1, 70), (2, 100)]), (200, [(2, 100)]), (300, []), (5_000, [])],
)
def test_it_gives_what_was_captured_since(since_ms: int, expected: list[tuple[int, int]]) -> None:
    tail = TrackTail()
    for number in range(3):
        tail.note(frame(number))
    assert said(tail.take(since_ms * 1_000)) == expected
    assert tail.take(0) == []


def test_it_keeps_no_more_than_the_newest() -> None:
    tail = TrackTail()
    for number in range(400):
        tail.note(frame(number % 200))
    assert sum(ms for _, ms in said(tail.take(0))) == KEPT_MS


class _Room:
    """Of a phone that speaks by a track."""

    def __init__(self) -> None:
        self.joined = self.has_track = True
        self.written = b""
        self.prepared = 0
        self.silent = 0.0
        self.flight = None

    async def write(self, block: bytes, *, timeout: float) -> bool:
        await asyncio.sleep(0.001)
        self.written += block
        return self.joined

    async def unpublish(self, *, timeout: float) -> None:
        self.has_track = False

    def prepare_track(self, _timeout: float) -> None:
        self.prepared += 1


class _Socket:
    trip = RoundTrip(0.04, 0.04)
    queued = carries = float("inf")

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.asked = 0

    def keep_window(self) -> None:
        pass

    def takes(self, *_: float) -> bool:
        return True

    async def room_for(self, *_: float) -> bool:
        return True

    async def send_audio(self, pcm: bytes) -> bool:
        self.sent.append(pcm)
        return True

    async def say(self, message: Message) -> bool:
        self.asked += isinstance(message, Ping)
        return True


class _Phone:
    """A sender with a track, and what it sent; its capture has a clock of tenths of seconds."""

    def __init__(self, *, numbered: bool) -> None:
        self.tenths = 0
        self.room, self.socket = _Room(), _Socket()
        self.capture = Capture(1, lambda: self.tenths * FRAME_MS * 1_000)
        self.fallen: list[bool] = []
        self.sender = Sender(
            self.capture, cast(Room, self.room), Transport.TRACK, lambda: True, monotonic, opus=False,
            on_fallback=self.fallen.append,
        )  # fmt: skip
        self.sender.numbered = numbered
        self.sender.use(cast(CloudSocket, self.socket))

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        running = asyncio.ensure_future(self.sender.run())
        try:
            yield
        finally:
            await cancelled(running)

    def speak(self, numbers: range) -> None:
        for number in numbers:
            self.tenths = number + 1
            self.sender.put(self.capture.stamp(frame(number).pcm))

    async def speak_by_track(self, numbers: range) -> None:
        self.speak(numbers)
        whole = FRAME_MS * BYTES_PER_MS
        await eventually(lambda: self.room.written.count(bytes([numbers[-1]])) == whole or "it was not written")

    async def is_told(self, ago: float) -> None:
        """Each question has this answer, until what the cloud did not hear goes by the socket."""

        async def answered() -> bool:
            self.sender.heard_in_room(ago)
            await asyncio.sleep(0.02)
            return bool(self.frames)

        await eventually(answered)
        await self.sender.lanes.emptied(AudioRoute.SOCKET)

    @property
    def plain(self) -> list[tuple[int, int]]:
        return [(pcm[0], len(pcm) // BYTES_PER_MS) for pcm in self.socket.sent]

    @property
    def frames(self) -> list[tuple[int, int, bool]]:
        """(position in tenths, what was said, whether it is marked as sent again) of each numbered frame."""
        found = [decode_numbered(sent) for sent in self.socket.sent]
        tenth = FRAME_MS * 16
        return [(number.position // tenth, pcm[0], number.replayed) for number, pcm in found if not number.presence]


async def test_what_a_cloud_without_numbers_did_not_hear_goes_by_the_socket_and_the_track_is_taken_again() -> None:
    phone = _Phone(numbered=False)
    async with phone.sending():
        await phone.speak_by_track(range(1, 10))
        phone.sender.heard_in_room(0.5 - 0.04 - TRACK_DELAY)  # until half a second ago
        phone.room.joined = phone.room.has_track = False
        phone.speak(range(10, 12))
        await eventually(lambda: len(phone.plain) >= 7 or str(phone.plain))
        assert phone.plain == [(number, 100) for number in range(5, 12)]
        phone.room.joined = True
        phone.speak(range(12, 13))
        await eventually(lambda: len(phone.plain) >= 8 or str(phone.plain))
        assert phone.plain[-1] == (12, 100), "there is no track yet"
        await eventually(lambda: phone.room.prepared > 0)
        phone.room.has_track = True
        await phone.speak_by_track(range(13, 14))
        assert phone.plain[-1] == (12, 100), "once it is there, it carries"


async def test_without_a_room_words_are_numbered_from_where_the_cloud_heard_the_track_last() -> None:
    phone = _Phone(numbered=True)
    phone.sender.heard_in_room(0.0)
    async with phone.sending():
        await phone.speak_by_track(range(1, 10))
        phone.room.joined = phone.room.has_track = False
        phone.speak(range(10, 12))
        await eventually(lambda: not len(phone.sender._queue) or "they are not taken")
        phone.sender.heard_in_room(0.0)
        await eventually(lambda: phone.socket.asked > 0 or "the cloud was not asked")
        assert phone.frames == [], "what was on its way may be heard yet"
        await phone.is_told(0.7 - 0.04 - TRACK_DELAY)  # until tenth 5
        assert len(phone.frames) == 7
        phone.speak(range(12, 13))
        await eventually(lambda: len(phone.frames) == 8 or str(phone.frames))
        again = [(number - 5, number, True) for number in range(5, 12)]
        assert phone.frames == [*again, (7, 12, False)], "each once, in order, and only what is new may be live"
        await eventually(lambda: phone.fallen == [True] or "nobody was told")


async def test_a_track_that_the_cloud_does_not_hear_is_left_though_its_room_is_there() -> None:
    phone = _Phone(numbered=True)
    phone.sender.heard_in_room(0.0)
    async with phone.sending():
        begun = monotonic()
        await phone.speak_by_track(range(1, 10))
        phone.sender.heard_in_room(0.0)
        died = monotonic()
        await eventually(lambda: phone.socket.asked > 1 or "the cloud is not asked", within=2.0)

        async def is_left() -> bool:
            phone.sender.heard_in_room(monotonic() - died)
            return bool(phone.frames)

        await eventually(is_left, within=3.0, every=0.05)
        assert UNHEARD < monotonic() - died < UNHEARD + 0.5 * max(1.0, monotonic() - begun)
        assert phone.fallen in ([], [True])
        phone.speak(range(10, 11))
        await eventually(lambda: [said for _, said, _ in phone.frames][-1] == 10 or str(phone.frames))


async def test_a_track_that_is_not_written_is_not_missed() -> None:
    """The phone stood still: what it wrote before was heard, and nothing since."""
    phone = _Phone(numbered=True)
    phone.sender.heard_in_room(0.0)
    async with phone.sending():
        await phone.speak_by_track(range(1, 10))
        phone.sender.heard_in_room(20.0)
        await phone.speak_by_track(range(10, 12))
        assert phone.frames == []


async def test_a_cloud_that_does_not_tell_what_it_hears_of_a_track_misses_nothing() -> None:
    phone = _Phone(numbered=True)
    phone.sender.heard_in_room(0.0)
    async with phone.sending():
        begun = monotonic()
        await phone.speak_by_track(range(1, 10))

        async def asked_for_long() -> bool:
            phone.sender.heard_in_room(None)
            return monotonic() - begun > UNHEARD + 0.3

        await eventually(asked_for_long, within=3.0)
        assert phone.frames == []


async def test_the_track_carries_again_once_the_cloud_has_what_went_by_the_socket() -> None:
    phone = _Phone(numbered=True)
    phone.room.joined = phone.room.has_track = False
    async with phone.sending():
        phone.speak(range(1, 4))
        await eventually(lambda: len(phone.frames) == 3 or str(phone.frames))
        phone.room.joined = phone.room.has_track = True
        phone.speak(range(4, 5))
        await eventually(lambda: len(phone.frames) == 4 or "the cloud does not hear it yet")
        phone.sender.heard_in_room(0.0)
        phone.speak(range(5, 6))
        await eventually(lambda: len(phone.frames) == 5 or "what was not acknowledged would be overtaken")
        phone.capture.acknowledge(1, phone.capture.position - FRAME_MS * 16)
        await phone.speak_by_track(range(6, 7))
        assert [said for _, said, _ in phone.frames] == [1, 2, 3, 4, 5]
        assert bytes(FRAME_BYTES) in phone.room.written, "silence had proven it"


async def test_the_silence_with_which_a_server_ends_a_track_is_not_taken_for_the_phones() -> None:
    phone = _Phone(numbered=True)
    phone.sender.heard_in_room(0.0)
    async with phone.sending():
        await phone.speak_by_track(range(1, 10))
        phone.sender.heard_in_room(0.7 - 0.04 - TRACK_DELAY)  # until tenth 3, and it is silent
        phone.room.joined = phone.room.has_track = False
        phone.speak(range(10, 11))
        await eventually(lambda: not len(phone.sender._queue) or "they are not taken")
        await phone.is_told(0.0)
        assert [said for _, said, _ in phone.frames] == list(range(3, 11))
