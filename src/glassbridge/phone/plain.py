"""Audio without numbers: for clouds that do not count, and for tracks.

- On a track silence takes the place of presence: it proves the path, and no word is lost while listeners subscribe.
- What went by a track that is heard no more goes once more, by the WebSocket, from where the cloud says that it heard
  last (phone/track_tail.py). From then on audio goes there until there is a track again.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from glassbridge.core.values import BYTES_PER_MS, Transport
from glassbridge.livekit.participant import FRAME_BYTES
from glassbridge.phone.capture import Capture, Frame
from glassbridge.phone.counts import Counts, Path
from glassbridge.phone.room import Room
from glassbridge.phone.socket import CloudSocket
from glassbridge.phone.track_tail import TrackTail
from glassbridge.wire.audio_frames import encode_sequence

SEND_TIMEOUT: Final = 2.0
REPLAY_SPEED: Final = 4
"""What is sent again goes at no more than so many times real time."""
TRACK_DELAY: Final = 0.06
"""Seconds that sound of a track takes beyond the way: it is coded, paced and put in order. What is sent again from
where the cloud heard last begins so much earlier or later at most."""


class Plain:
    """Of one phone; one task speaks."""

    def __init__(self, capture: Capture, room: Room, transport: Transport, counts: Counts) -> None:
        self._capture = capture
        self._room = room
        self._transport = transport
        self._counts = counts
        self._counter = 0
        self._rest = b""
        """Samples that do not fill a block of the track yet."""
        self._fell_back = False
        """What goes by a track went by the WebSocket last: until there is a track again, it stays there."""
        self._tail = TrackTail()
        self._unheard_since: int | None = None
        """Capture time of what the cloud heard last by the track, as far as it has told; None: it does not tell."""

    @property
    def has_no_track(self) -> bool:
        """Audio that is for a track goes by the WebSocket until there is one again."""
        return self._fell_back and not self._room.has_track

    def heard_in_room(self, ago: float, trip: float) -> None:
        """The cloud says how many seconds ago it heard something from the room; the round trip to it takes `trip`."""
        self._unheard_since = self._capture.now() - round((ago + trip + TRACK_DELAY) * 1e6)

    async def speak(self, frame: Frame, path: Path | None, socket: CloudSocket | None) -> None:
        """Sends a frame by this path; None: there is none."""
        self._fell_back = self._transport is Transport.TRACK and path is Path.WEBSOCKET
        match path:
            case Path.DATA:
                self._counter = (self._counter + 1) % 256
                done = await self._room.send(encode_sequence(self._counter, frame.pcm), "", timeout=SEND_TIMEOUT)
            case Path.TRACK:
                self._tail.note(frame)
                done = await self._speak_track(frame)
            case Path.WEBSOCKET if socket is not None:
                if self._fell_back:
                    self._room.prepare_track(SEND_TIMEOUT)
                    await self._say_again(socket)
                done = await socket.send_audio(frame.pcm)
            case _:
                done = False
        self._counts.speak(path, done=done)

    async def hum(self, while_silent: Callable[[], bool], microphone_on: Callable[[], bool]) -> None:
        """Silence on the track until something is said or the microphone goes off; then the track goes too."""
        while microphone_on() and while_silent():
            if not await self._write_block(bytes(FRAME_BYTES)):
                return
        if not microphone_on():
            await self._room.unpublish(timeout=SEND_TIMEOUT)

    async def _say_again(self, socket: CloudSocket) -> None:
        """What went by the track and was not heard."""
        since = self._capture.now() if self._unheard_since is None else self._unheard_since
        for piece in self._tail.take(since):
            self._counts.replayed += await socket.send_audio(piece)
            await asyncio.sleep(len(piece) / BYTES_PER_MS / 1000 / REPLAY_SPEED)

    async def _speak_track(self, frame: Frame) -> bool:
        pcm = self._rest + frame.pcm
        if frame.number.last:
            pcm += bytes(-len(pcm) % FRAME_BYTES)
        whole = len(pcm) // FRAME_BYTES * FRAME_BYTES
        self._rest = pcm[whole:]
        for start in range(0, whole, FRAME_BYTES):
            if not await self._write_block(pcm[start : start + FRAME_BYTES]):
                return False
        if frame.number.last:
            await self._room.unpublish(timeout=SEND_TIMEOUT)
        return True

    async def _write_block(self, block: bytes) -> bool:
        done = await self._room.write(block, timeout=SEND_TIMEOUT)
        self._counts.into_room += done
        return done
