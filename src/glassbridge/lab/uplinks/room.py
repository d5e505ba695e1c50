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
from glassbridge.livekit.incoming import SACK_DELAY
from glassbridge.livekit.publisher import LIFE_MS, WINDOW, WINDOW_QUEUED
from glassbridge.phone.room import MAX_WAITING

HEADERS: Final = 8 + 13 + 16 + 12 + 16
"""UDP, DTLS with its tag, SCTP, its chunk."""
ENVELOPE: Final = 60
"""Of LiveKit, around the payload."""
MISSES: Final = 3
WITHIN: Final = 0.004
"""Seconds from the server to the cloud."""


@dataclass(slots=True, eq=False)
class _Chunk:
    number: int
    payload: bytes
    sent_at: float = 0.0
    expires_at: float = 0.0
    misses: int = 0
    again: bool = False
    """It was sent more than once."""

    @property
    def size(self) -> int:
        return len(self.payload) + ENVELOPE


class RoomModel:
    """Stands for phone/room.py's Room. `hear` gets what the cloud gets; `joined` may be set."""

    def __init__(self, link: Link, hear: Callable[[bytes], None]) -> None:
        self.joined = True
        self._link, self._hear = link, hear
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Chunk] = deque()
        self._flying: dict[int, _Chunk] = {}
        self._numbers = 0
        self._timer: asyncio.TimerHandle | None = None
        self._known: set[int] = set()
        """What the server has got."""
        self._answer: asyncio.TimerHandle | None = None
        self._smoothed, self._shortest = 0.0, inf
        self._heard_at = self._flying_since = 0.0

    @property
    def silent(self) -> float:
        """As Room.silent."""
        return self._loop.time() - max(self._heard_at, self._flying_since) if self._flying else 0.0

    async def send(self, payload: bytes, _topic: str, *, timeout: float) -> bool:
        """As Room.send."""
        if not self.joined or sum(chunk.size for chunk in self._waiting) > MAX_WAITING:
            return False
        self._numbers += 1
        now = self._loop.time()
        self._waiting.append(_Chunk(self._numbers, payload, expires_at=now + LIFE_MS / 1000))
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
        if chunk.number not in self._known:
            self._known.add(chunk.number)
            self._loop.call_later(WITHIN, self._hear, chunk.payload)
        if self._answer is None:
            self._answer = self._loop.call_later(SACK_DELAY, self._acknowledge)

    def _acknowledge(self) -> None:
        self._answer = None
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
        for number in news:
            del self._flying[number]
        for chunk in list(self._flying.values()):
            if chunk.number < newest:
                chunk.misses += 1
                if now > chunk.expires_at:
                    del self._flying[chunk.number]
                elif chunk.misses == MISSES:
                    chunk.misses, chunk.again = 0, True
                    self._put(chunk)
        if news:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None
        self._transmit()
