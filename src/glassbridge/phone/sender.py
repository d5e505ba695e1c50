"""Takes captured audio to the cloud, in order, by the path that is open now.

- The path that was asked for, as long as it is there; otherwise the WebSocket: while the phone has no place in the
  room, and while the cloud says that it listens on the socket only.
- Numbered: a presence frame each second in which nothing is said, more often until the cloud says `live`, so that a
  dead path is known before the next word. A change of path can then neither lose nor double a sample unseen.
- On a track silence takes the place of presence: it proves the path, and no word is lost while listeners subscribe.
- What cannot be sent for MAX_AGE seconds is dropped here and counted: backpressure alone never bounds age.
- Numbered audio that the cloud says it never got is sent again on the WebSocket, marked, while no newer audio waits, at
  no more than REPLAY_SPEED times real time. Each socket begins with from where on it can ask.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from time import monotonic

from glassbridge.core.values import BYTES_PER_MS, Transport
from glassbridge.livekit.participant import FRAME_BYTES
from glassbridge.phone.capture import Capture, Frame
from glassbridge.phone.events import AudioStateChanged
from glassbridge.phone.room import Room
from glassbridge.phone.socket import CloudSocket
from glassbridge.runtime.queues import AgedQueue
from glassbridge.wire.audio_frames import FLAG_REPLAYED, TOPIC_NUMBERED, encode_numbered, encode_sequence

QUEUE_FRAMES = 256
MAX_AGE = 5.0
SEND_TIMEOUT = 2.0
PRESENCE = 1.0
"""Seconds between presence frames."""
PROVING = 0.2
"""The same until the path is proven."""
REPLAY_SPEED = 4
HUM_AFTER = 0.3
"""Seconds without a frame after which a track carries silence."""


class Path(Enum):
    """By which way a frame went."""

    DATA = "data"
    TRACK = "track"
    WEBSOCKET = "websocket"


class Sender:
    """One task sends (`run`), one sees to presence (`keep_present`), one sends again what was missed (`replay`)."""

    def __init__(self, capture: Capture, room: Room, transport: Transport, microphone_on: Callable[[], bool]) -> None:
        self.numbered = False
        self.told: AudioStateChanged | None = None
        """What the cloud said last on this socket."""
        self.sent: Counter[Path] = Counter()
        """Frames with samples, by path."""
        self.put_into_room = self.put_on_sockets = 0
        """Frames so far, presence and silence included, repetitions left out; of a track its blocks."""
        self.unsent = 0
        """Frames with samples that no path took at once."""
        self.replayed = 0
        """Frames that were sent again."""
        self._socket: CloudSocket | None = None
        self._missed: deque[Frame] = deque()
        """To be sent again, the oldest first."""
        self._resent: set[int] = set()
        """Positions of the frames that this socket got again, or will."""
        self._any_missed = asyncio.Event()
        self._capture = capture
        self._room = room
        self._transport = transport
        self._microphone_on = microphone_on
        self._queue: AgedQueue[Frame] = AgedQueue(QUEUE_FRAMES, MAX_AGE)
        self._idle = asyncio.Event()
        self._nudged = asyncio.Event()
        self._queued_at = 0.0
        self._counter = 0
        self._rest = b""
        """Samples that do not fill a block of the track yet."""

    @property
    def socket(self) -> CloudSocket | None:
        """Open and acknowledged."""
        return self._socket

    @socket.setter
    def socket(self, socket: CloudSocket | None) -> None:
        self._socket = socket
        self._missed.clear()
        self._resent.clear()

    @property
    def dropped(self) -> int:
        """Frames that no path took in time, at first."""
        return self.unsent + self._queue.dropped

    def put(self, frame: Frame) -> None:
        """Sends a frame soon; never waits."""
        self._idle.clear()
        self._queued_at = monotonic()
        self._queue.put(frame)

    def nudge(self) -> None:
        """Sends a presence frame now: something changed that the other side should learn."""
        self._nudged.set()

    def send_missing(self) -> None:
        """Sends again what the cloud has asked for, once on each socket."""
        for frame in self._capture.missing if self.numbered else ():
            if frame.number.position not in self._resent:
                self._resent.add(frame.number.position)
                self._missed.append(frame)
        if self._missed:
            self._any_missed.set()

    async def introduce(self, socket: CloudSocket) -> None:
        """Before anything else that a backend hears: where that begins which it may ask for."""
        if self.numbered:
            await socket.send_audio(self._encoded(self._capture.beginning()))

    async def flush(self, timeout: float = SEND_TIMEOUT) -> None:
        """Returns when all is sent, or after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            return

    async def run(self) -> None:
        """Sends until cancelled."""
        while True:
            if not len(self._queue):
                self._idle.set()
            try:
                async with asyncio.timeout(HUM_AFTER if self._transport is Transport.TRACK else None):
                    _, frame = await self._queue.get()
            except TimeoutError:
                await self._hum()
                continue
            if not frame.number.presence:
                await self._speak(frame)
            elif self.numbered:
                await self._be_present(frame)

    async def keep_present(self) -> None:
        """Sees to it that numbered audio is never silent for longer than PRESENCE; until cancelled."""
        while True:
            interval = PRESENCE if self.told is not None and self.told.state == "live" else PROVING
            try:
                async with asyncio.timeout(interval):
                    await self._nudged.wait()
            except TimeoutError:
                # While audio goes by the socket, presence goes on in the room: only so is it known that it works again.
                if monotonic() - self._queued_at < interval and self.path is not Path.WEBSOCKET:
                    continue
            self._nudged.clear()
            if self.numbered:
                self.put(self._capture.presence(microphone_on=self._microphone_on()))

    async def replay(self) -> None:
        """Sends again what is missed, behind all that is newer; until cancelled."""
        while True:
            await self._any_missed.wait()
            await self._idle.wait()
            if self._socket is None or not self._missed:
                self._any_missed.clear()
                continue
            frame = self._missed.popleft()
            again = Frame(replace(frame.number, flags=FLAG_REPLAYED), frame.pcm)
            if await self._socket.send_audio(self._encoded(again)):
                self.replayed += 1
            await asyncio.sleep(len(frame.pcm) / BYTES_PER_MS / 1000 / REPLAY_SPEED)

    @property
    def path(self) -> Path | None:
        """The way of the next frame; None while there is none."""
        told_socket = self.told is not None and self.told.transport == "websocket"
        if self._transport is Transport.WEBSOCKET or told_socket or not self._room.joined:
            return Path.WEBSOCKET if self.socket is not None else None
        return Path.TRACK if self._transport is Transport.TRACK else Path.DATA

    async def _speak(self, frame: Frame) -> None:
        path = self.path
        match path:
            case Path.DATA:
                done = await self._speak_data(frame)
            case Path.TRACK:
                done = await self._speak_track(frame)
            case Path.WEBSOCKET if self.socket is not None:
                done = await self.socket.send_audio(self._encoded(frame) if self.numbered else frame.pcm)
            case _:
                done = False
        if done and path is not None:
            self.sent[path] += 1
            self.put_into_room += path is Path.DATA
            self.put_on_sockets += path is Path.WEBSOCKET
        else:
            self.unsent += 1

    async def _speak_data(self, frame: Frame) -> bool:
        if self.numbered:
            return await self._room.send(self._encoded(frame), TOPIC_NUMBERED, timeout=SEND_TIMEOUT)
        self._counter = (self._counter + 1) % 256
        return await self._room.send(encode_sequence(self._counter, frame.pcm), "", timeout=SEND_TIMEOUT)

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
        self.put_into_room += done
        return done

    async def _hum(self) -> None:
        """Silence on the track until something is said or the microphone goes off; then the track goes too."""
        while self._microphone_on() and self.path is Path.TRACK and not len(self._queue):
            if not await self._write_block(bytes(FRAME_BYTES)):
                return
        if not self._microphone_on():
            await self._room.unpublish(timeout=SEND_TIMEOUT)

    async def _be_present(self, frame: Frame) -> None:
        """On the room always; on the socket where audio goes by it, but not while the room is only being joined."""
        if self._room.joined:
            done = await self._room.send(self._encoded(frame), TOPIC_NUMBERED, timeout=SEND_TIMEOUT)
            self.put_into_room += done
        settled = self._transport is Transport.WEBSOCKET or (self.told is not None and self.told.state != "connecting")
        if settled and self.path is Path.WEBSOCKET and self.socket is not None:
            done = await self.socket.send_audio(self._encoded(frame))
            self.put_on_sockets += done

    @staticmethod
    def _encoded(frame: Frame) -> bytes:
        return encode_numbered(frame.number, frame.pcm)
