"""What hears a phone: the microphone of a session is real (cloud/audio.py); what it hands on is compared with the
speech."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from glassbridge.cloud.audio import AudioProgress, Microphone
from glassbridge.core.in_order import Fill, Hole
from glassbridge.core.link_events import AudioRoute
from glassbridge.core.sockets_beside import MOST
from glassbridge.core.values import BYTES_PER_SAMPLE
from glassbridge.lab.uplinks.sound import speech
from glassbridge.wire import phone as wire
from glassbridge.wire.audio_frames import decode_numbered

GREETING = wire.ConnectionAck(
    session_id="one", timestamp="", audio=2, codings=(1,), pings=True, beside=True, sockets_beside=MOST
)
HEADER = 8
"""Of a WebSocket frame."""


class Socket(Protocol):
    """One connection of the phone."""

    number: int
    beside: bool

    def tell(self, message: Any, size: int) -> None:
        """The cloud says something."""


class DeliveredAudio:
    """Who wants everything, in order. `at` says when each part of the speech was handed on: [(position, stop, at)]."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self.parts: list[tuple[int, int, float]] = []
        self.given_up: list[tuple[int, int]] = []
        self.filled: list[tuple[int, int]] = []
        self.wrong: list[str] = []
        self._next = 0
        self._loop = asyncio.get_running_loop()

    def put(self, pcm: bytes) -> None:
        """The next samples."""
        stop = self._take("in order", self._next, pcm)
        self.parts.append((self._next, stop, self._loop.time()))
        self._next = stop

    def give_up(self, hole: Hole) -> None:
        """What follows lies after a hole."""
        if hole.start != self._next or hole.stop is None:
            self.wrong.append(f"a hole {hole.start} to {hole.stop} where {self._next} was next")
        self._tell(f"the recogniser is told of a hole, {hole.start} to {hole.stop}")
        self.given_up.append((hole.start, hole.stop or hole.start))
        self._next = hole.stop or self._next

    def miss(self, hole: Hole, before: int) -> None:
        """A hole of a former owner; here there is none."""
        self.wrong.append(f"a hole {hole.start} to {hole.stop} of another cloud")

    def fill(self, late: Fill) -> None:
        """Something of a hole."""
        position = late.delivery.position
        self._tell(f"and gets what was missing, from {position} on")
        self.filled.append((position, self._take("late", position, late.delivery.pcm)))

    def _take(self, how: str, position: int, pcm: bytes) -> int:
        samples = len(pcm) // BYTES_PER_SAMPLE
        if pcm != speech(position, samples):
            self.wrong.append(f"{how} at {position}: other samples than were said")
        return position + samples


class Cloud:
    """One session. The newest socket speaks; it hears the room, too."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.heard = DeliveredAudio(tell)
        self.ends = 0
        self.socket: Socket | None = None
        self._live = False
        self.slow_at: list[float] = []
        """Loop time of each time that the phone was told that its network is slow."""
        self._tell = tell
        self.microphone = Microphone(
            self._acknowledge, self._on_last, on_slow=self._on_slow, understands=lambda: self.heard
        )
        self.microphone.reached(numbered=True)

    def _on_last(self) -> None:
        self.ends += 1

    def _on_slow(self, late: float | None) -> None:
        if late is not None:
            self.slow_at.append(asyncio.get_running_loop().time())
        self._tell("audio is fresh again" if late is None else f"the phone is told that audio is {late:.1f} s late")

    def hear_room(self, payload: bytes) -> None:
        """A packet out of the room."""
        self._take(payload, AudioRoute.ROOM)

    def hear(self, socket: Socket, said: Any) -> None:
        """A message on a socket."""
        match said:
            case "hello" if socket.beside:
                socket.tell("hello", 200)
            case "hello":
                self._adopt(socket)
            case bytes() if socket.beside or socket is self.socket:
                self._take(said, AudioRoute.SOCKET)
            case wire.Ping(timestamp=ping):
                socket.tell(wire.Pong(timestamp=ping), 60)

    def _adopt(self, socket: Socket) -> None:
        if self.socket is not None and self.socket.number > socket.number:
            socket.tell("closed", 4)
            return
        if self.socket is not None:
            self.socket.tell("closed", 4)
        self.socket, self._live = socket, False
        socket.tell(GREETING, 400)
        self.microphone.reached(numbered=True)

    def _take(self, frame: bytes, route: AudioRoute) -> None:
        number, pcm = decode_numbered(frame)
        self.microphone.take_numbered(number, pcm, route)
        if not self._live and self.socket is not None:
            self._live = True
            self.socket.tell("live", 150)

    def _acknowledge(self, progress: AudioProgress) -> None:
        if self.socket is None:
            return
        said = {
            route: (brought.frames, brought.stop, round(min(brought.late, 60.0) * 1000))
            for route, brought in progress.arrived.items()
        }
        ack = wire.AudioAck(
            epoch=progress.epoch,
            position=progress.position,
            missing=progress.missing,
            lost=progress.lost,
            room=said.get(AudioRoute.ROOM),
            socket=said.get(AudioRoute.SOCKET),
        )
        self.socket.tell(ack, len(wire.encode(ack)) + HEADER)
