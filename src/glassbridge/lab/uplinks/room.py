"""A phone's place in a LiveKit room in virtual time: lossy packets by SCTP as our participant sends them
(livekit/publisher.py): unordered, sent again for 1.5 s where acknowledgements show a hole."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final

from glassbridge.lab.uplinks.wire import UDP, Link
from glassbridge.livekit.aiortc_quirks import LEAST_REPEAT, QUEUED
from glassbridge.livekit.participant import InFlight
from glassbridge.livekit.publisher import LIFE_MS, WINDOW, WINDOW_QUEUED
from glassbridge.phone.room import MAX_WAITING
from glassbridge.runtime.tcp import RoundTrip

HEADERS: Final = 8 + 13 + 16 + 12 + 16
"""UDP, DTLS with its tag, SCTP, its chunk."""
ENVELOPE: Final = 60
"""Of LiveKit, around the payload."""
CHUNK: Final = 1_200
"""Bytes of data in one datagram (aiortc)."""
ACKS: Final = 2
ACK_DELAY: Final = 0.2
"""Packets and seconds (livekit-server)."""
MISSES: Final = 3
WITHIN: Final = 0.004
"""Seconds from the server to the cloud."""


@dataclass(slots=True, eq=False)
class _Message:
    payload: bytes
    expires_at: float
    missing: int = 0
    """Chunks of it that the server lacks."""


@dataclass(slots=True, eq=False)
class _Chunk:
    number: int
    message: _Message
    size: int
    sent_at: float = 0.0
    misses: int = 0
    again: bool = False
    """It was sent more than once."""


class RoomModel:
    """Stands for phone/room.py's Room. `hear` gets what the cloud gets; `joined` may be set."""

    def __init__(self, link: Link, hear: Callable[[bytes], None]) -> None:
        self.joined = True
        self._link, self._hear = link, hear
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Chunk] = deque()
        self._flying: dict[int, _Chunk] = {}
        self._numbers = self._given = 0
        self._timer: asyncio.TimerHandle | None = None
        self._known: set[int] = set()
        """What the server has got."""
        self._unanswered = 0
        """Packets that it has not acknowledged yet."""
        self._answer: asyncio.TimerHandle | None = None
        self._smoothed, self._shortest = 0.0, inf
        self._trip = inf
        self._heard_at = self._flying_since = 0.0

    @property
    def silent(self) -> float:
        """As Room.silent."""
        return self._loop.time() - max(self._heard_at, self._flying_since) if self._flying else 0.0

    @property
    def flight(self) -> InFlight | None:
        """As Room.flight."""
        if self._trip == inf:
            return None
        pending = sum(chunk.size for chunk in (*self._flying.values(), *self._waiting))
        once = [chunk.sent_at for chunk in self._flying.values() if not chunk.again]
        oldest = self._loop.time() - min(once, default=self._loop.time())
        return InFlight(self._given, pending, oldest, RoundTrip(self._trip, self._shortest, quiet=self.silent))

    async def send(self, payload: bytes, _topic: str, *, timeout: float) -> bool:
        """As Room.send."""
        if not self.joined or sum(chunk.size for chunk in self._waiting) > MAX_WAITING:
            return False
        message = _Message(payload, self._loop.time() + LIFE_MS / 1000)
        size = len(payload) + ENVELOPE
        self._given += size
        for start in range(0, size, CHUNK):
            self._numbers += 1
            message.missing += 1
            self._waiting.append(_Chunk(self._numbers, message, min(CHUNK, size - start)))
        self._transmit()
        return True

    def _transmit(self) -> None:
        flying = sum(chunk.size for chunk in self._flying.values())
        window = WINDOW_QUEUED if self._smoothed - self._shortest > QUEUED else WINDOW
        if not flying:
            self._flying_since = self._loop.time()
        while self._waiting and flying < window:
            chunk = self._waiting.popleft()
            self._flying[chunk.number] = chunk
            flying += chunk.size
            self._put(chunk)
        if self._flying and self._timer is None:
            self._timer = self._loop.call_later(LEAST_REPEAT, self._expired)

    def _put(self, chunk: _Chunk) -> None:
        chunk.sent_at = self._loop.time()
        self._link.up(UDP, HEADERS + chunk.size, lambda: self._arrived(chunk))

    def _expired(self) -> None:
        """Nothing was acknowledged for long: what was on its way is given up, what waits goes."""
        self._timer = None
        self._flying.clear()
        self._transmit()

    def _arrived(self, chunk: _Chunk) -> None:
        """At the server: it acknowledges every second packet, a single one after ACK_DELAY, and at once where some are
        missing or come twice."""
        self._unanswered += 1
        twice = chunk.number in self._known
        if not twice:
            self._known.add(chunk.number)
            chunk.message.missing -= 1
            if not chunk.message.missing:
                self._loop.call_later(WITHIN, self._hear, chunk.message.payload)
        holes = any(number < chunk.number and number not in self._known for number in self._flying)
        if twice or holes or self._unanswered >= ACKS:
            self._acknowledge()
        elif self._answer is None:
            self._answer = self._loop.call_later(ACK_DELAY, self._acknowledge)

    def _acknowledge(self) -> None:
        if self._answer is not None:
            self._answer.cancel()
        self._answer, self._unanswered = None, 0
        known = frozenset(number for number in self._known if number > self._numbers - 1_000)
        self._known = set(known)
        self._link.down(UDP, HEADERS, lambda: self._acknowledged(known))

    def _acknowledged(self, known: frozenset[int]) -> None:
        now = self._heard_at = self._loop.time()
        news = [number for number in self._flying if number in known]
        newest = max(news, default=0)
        if news and not self._flying[newest].again:
            trip = now - self._flying[newest].sent_at
            self._shortest = min(self._shortest, trip)
            self._smoothed += (trip - self._smoothed) / 8 if self._smoothed else trip
            self._trip = trip if len(news) > 1 else max(trip - ACK_DELAY, min(trip, self._trip))
        for number in news:
            del self._flying[number]
        for chunk in list(self._flying.values()):
            if chunk.number < newest:
                chunk.misses += 1
                if now > chunk.message.expires_at:
                    del self._flying[chunk.number]
                elif chunk.misses == MISSES:
                    chunk.misses, chunk.again = 0, True
                    self._put(chunk)
        if news:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None
        self._transmit()
