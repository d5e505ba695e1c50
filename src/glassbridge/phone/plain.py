"""Audio without numbers, for clouds that do not count."""

import asyncio
from collections.abc import Iterable
from typing import Final

from glassbridge.core.values import BYTES_PER_MS
from glassbridge.phone.capture import Frame
from glassbridge.phone.counts import Carrier, Counts
from glassbridge.phone.room import Room
from glassbridge.phone.socket import CloudSocket
from glassbridge.wire.audio_frames import encode_sequence

SEND_TIMEOUT: Final = 2.0
REPLAY_SPEED: Final = 4
"""What is sent again goes at no more than so many times real time."""


class Plain:
    """Of one phone; one task speaks."""

    def __init__(self, room: Room, counts: Counts) -> None:
        self._room = room
        self._counts = counts
        self._counter = 0

    async def speak(self, frame: Frame, carrier: Carrier | None, socket: CloudSocket | None) -> None:
        """Sends a frame by data packets or by the socket; None: there is no carrier."""
        match carrier:
            case Carrier.DATA:
                self._counter = (self._counter + 1) % 256
                done = await self._room.send(encode_sequence(self._counter, frame.pcm), "", timeout=SEND_TIMEOUT)
            case Carrier.WEBSOCKET if socket is not None:
                done = await socket.send_audio(frame.pcm)
            case _:
                done = False
        self._counts.speak(carrier, done=done)

    async def say_again(self, frames: Iterable[Frame], socket: CloudSocket) -> None:
        """What went by a track and was not heard."""
        for frame in frames:
            self._counts.replayed += await socket.send_audio(frame.pcm)
            await asyncio.sleep(len(frame.pcm) / BYTES_PER_MS / 1000 / REPLAY_SPEED)
