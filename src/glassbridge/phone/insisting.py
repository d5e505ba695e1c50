"""While the way acknowledges nothing: what was said last, again. Into a room it goes again and again: the first packets
that pass after a burst of loss bring everything, half the pause between two repetitions after its end. On a second
socket it goes once, since TCP repeats it, at other moments than the first does (phone/beside.py)."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from glassbridge.core import audio_routes
from glassbridge.core.sending_levels import LEVELS
from glassbridge.phone.capture import Capture
from glassbridge.phone.coding import Coder, Outgoing, joined, merged
from glassbridge.phone.room import Room
from glassbridge.wire.audio_frames import FLAG_REPAIR

AGAIN: Final = 1.2
"""How much of it, seconds: live audio is heard by all only once the audio before it has come."""
AGAIN_EVERY: Final = 0.045
AGAIN_SHARE: Final = 0.05
"""Seconds between two repetitions, and the same as a share of the silence: a long one needs no more of them."""
_LEVEL: Final = replace(LEVELS[-1], frame_ms=200)


class Newest:
    """What was captured last, coded for a link that carries little; each sample once."""

    def __init__(self, capture: Capture) -> None:
        self.first = 0
        """Where the newest begins, as of the last call."""
        self._capture = capture
        self._coder = Coder(capture.encoders)
        self._epoch, self._stop = capture.epoch, 0
        """Up to where it is coded."""

    def fresh(self, seconds: float) -> list[Outgoing]:
        """Of the last so many seconds what is not acknowledged and was not given before."""
        frames = self._capture.newest(seconds)
        self.first = frames[0].number.position if frames else self._capture.position
        if self._capture.epoch != self._epoch or self._stop < self.first:
            self._coder = Coder(self._capture.encoders)
            self._epoch, self._stop = self._capture.epoch, self.first
        out: list[Outgoing] = []
        for frame in joined(frame for frame in frames if frame.number.position >= self._stop):
            self._stop = frame.stop
            coded = self._coder.code(frame, _LEVEL)
            out += [replace(each, number=replace(each.number, flags=FLAG_REPAIR)) for each in coded]
        return out


class Insistence:
    """`run` sends by `put`, from `rouse` on until the room acknowledges something, or `suits` says that the link is too
    narrow for it."""

    def __init__(
        self, capture: Capture, room: Room, put: Callable[[Outgoing], None], suits: Callable[[], bool]
    ) -> None:
        self._capture = capture
        self._room = room
        self._put = put
        self._suits = suits
        self._newest = Newest(capture)
        self._coded: deque[Outgoing] = deque()
        self._trip = 0.0
        """The round trip to the cloud."""
        self._roused = asyncio.Event()

    def rouse(self, trip: float) -> bool:
        """Begins if the room is silent and the link suits; returns whether. `trip`: the round trip to the cloud, and
        what it takes longer until something is acknowledged."""
        self._trip = trip
        if begins := self._is_silent:
            self._roused.set()
        return begins

    async def run(self) -> None:
        """Sends until cancelled."""
        while True:
            await self._roused.wait()
            while self._is_silent:
                for frame in self.newest():
                    self._put(frame)
                await asyncio.sleep(max(AGAIN_EVERY, AGAIN_SHARE * self._room.silent))
            self._roused.clear()

    def newest(self) -> list[Outgoing]:
        """The last AGAIN seconds as far as they are not acknowledged, in few frames."""
        self._coded += self._newest.fresh(AGAIN)
        while self._coded and self._is_past(self._coded[0]):
            self._coded.popleft()
        return merged(self._coded)

    def _is_past(self, frame: Outgoing) -> bool:
        return frame.number.epoch != self._capture.epoch or frame.stop <= self._newest.first

    @property
    def _is_silent(self) -> bool:
        return self._suits() and audio_routes.is_doubtful(self._room.silent, self._trip)
