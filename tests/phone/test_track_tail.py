"""A track that dies amid speech: what was not heard of it goes once more, by the WebSocket."""

import asyncio
from time import monotonic
from typing import Any, cast

import pytest

from glassbridge.core.values import BYTES_PER_MS, Transport
from glassbridge.phone.capture import Capture, Frame
from glassbridge.phone.plain import TRACK_DELAY
from glassbridge.phone.room import Room
from glassbridge.phone.sender import Sender
from glassbridge.phone.socket import CloudSocket
from glassbridge.phone.track_tail import KEPT_MS, TrackTail
from glassbridge.runtime.tasks import cancelled
from glassbridge.runtime.tcp import RoundTrip
from glassbridge.wire.audio_frames import FrameNumber
from tests.support.poll import eventually

FRAME_MS = 100


def frame(number: int) -> Frame:
    """The one that was captured `number` tenths of a second after the begin."""
    at = number * FRAME_MS * 1_000
    return Frame(FrameNumber(1, number * FRAME_MS * 16, at), bytes([number]) * (FRAME_MS * BYTES_PER_MS))


def said(pieces: list[bytes]) -> list[tuple[int, int]]:
    """(frame, milliseconds) of each piece."""
    return [(piece[0], len(piece) // BYTES_PER_MS) for piece in pieces]


@pytest.mark.parametrize(
    ("since_ms", "expected"),
    [(0, [(0, 100), (1, 100), (2, 100)]), (130, [(1, 70), (2, 100)]), (200, [(2, 100)]), (300, []), (5_000, [])],
)
def test_it_gives_what_was_captured_since(since_ms: int, expected: list[tuple[int, int]]) -> None:
    tail = TrackTail()
    for number in range(3):
        tail.note(frame(number))
    assert said([piece for piece in tail.take(since_ms * 1_000) if piece]) == expected
    assert tail.take(0) == []


def test_it_keeps_no_more_than_the_newest() -> None:
    tail = TrackTail()
    for number in range(200):
        tail.note(frame(number))
    assert sum(ms for _, ms in said(tail.take(0))) == KEPT_MS


class _Room:
    """Of a phone that speaks by a track."""

    def __init__(self) -> None:
        self.joined = self.has_track = True
        self.written = b""
        self.prepared = 0

    async def write(self, block: bytes, *, timeout: float) -> bool:
        self.written += block
        return self.joined

    async def unpublish(self, *, timeout: float) -> None:
        self.has_track = False

    def prepare_track(self, _timeout: float) -> None:
        self.prepared += 1


class _Socket:
    trip = RoundTrip(0.04, 0.04)

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def send_audio(self, pcm: bytes) -> bool:
        self.sent.append(pcm)
        return True


async def test_what_the_cloud_did_not_hear_goes_by_the_socket_and_the_track_is_taken_again() -> None:
    now = 0
    room, socket = _Room(), _Socket()
    capture = Capture(1, lambda: now)
    sender = Sender(capture, cast(Room, room), Transport.TRACK, lambda: True, monotonic, opus=True)
    sender.use(cast(CloudSocket, socket))
    running = asyncio.ensure_future(sender.run())

    async def speak(numbers: range, done: Any) -> None:
        nonlocal now
        for number in numbers:
            now = (number + 1) * FRAME_MS * 1_000
            sender.put(capture.take(frame(number).pcm))
        await eventually(lambda: done() or "it was not sent")

    try:
        await speak(range(10), lambda: room.written.count(bytes([9])) == FRAME_MS * BYTES_PER_MS)
        sender.heard_in_room(0.5 - 0.04 - TRACK_DELAY)  # until half a second ago
        room.joined = room.has_track = False
        await speak(range(10, 12), lambda: len(socket.sent) >= 7)
        assert said(socket.sent) == [(number, 100) for number in range(5, 12)]
        assert room.prepared
        room.joined = True
        await speak(range(12, 13), lambda: len(socket.sent) >= 8)
        assert said(socket.sent)[-1] == (12, 100), "there is no track yet"
        room.has_track = True
        await speak(range(13, 14), lambda: bytes([13]) in room.written)
        assert said(socket.sent)[-1] == (12, 100), "once it is there, it carries"
    finally:
        await cancelled(running)
