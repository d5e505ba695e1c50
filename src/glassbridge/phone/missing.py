"""The samples that the cloud lacks: which of them are sent again, by which route, and when. It sends nothing itself
(phone/resending.py).

Samples for which the recogniser waits are sent again at once, ahead of all newer ones: into the room repeatedly while
they are fresh, by the socket once. The others are sent by the socket once, after all new audio.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import groupby
from math import inf
from operator import itemgetter
from typing import Final

from glassbridge.core import audio_routes
from glassbridge.core.audio_routes import Again
from glassbridge.phone.capture import Capture, Frame

AGAIN_AFTER: Final = 0.2
"""Seconds until the same samples are sent into the room once more."""
REMEMBERED: Final = 512
"""Stretches of which it is known that the socket carries them."""


class Missing:
    """Of one phone."""

    def __init__(self, capture: Capture, clock: Callable[[], float]) -> None:
        self.late: deque[Frame] = deque()
        """To be sent again behind what is new, the oldest first."""
        self.any_late = asyncio.Event()
        """Set while there may be some."""
        self._capture = capture
        self._clock = clock
        self._asked: dict[int, float] = {}
        """Positions of the frames that were sent again on this socket's watch, and when last."""
        self._carried: deque[tuple[int, int]] = deque(maxlen=REMEMBERED)
        """Stretches that this socket carries, or will: TCP loses nothing of them."""

    def begin_socket(self) -> None:
        """Another socket counts."""
        self.late.clear()
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Positions begin anew."""
        self._asked.clear()
        self._carried.clear()

    def carry(self, start: int, stop: int) -> None:
        """The socket carries these samples."""
        if self._carried and self._carried[-1][1] == start:
            start = self._carried.pop()[0]
        self._carried.append((start, stop))

    def drop(self) -> None:
        """The socket did not take everything: its contents are unknown."""
        self._carried.clear()

    def is_carried(self, frame: Frame) -> bool:
        """The socket carries all of it."""
        return any(start <= frame.number.position and frame.stop <= stop for start, stop in self._carried)

    def due(self, *, measured: bool, room: bool) -> list[tuple[Again, list[Frame]]]:
        """What goes again now, and by which ways. `measured`: the cloud reports how audio arrives; `room`: it may carry
        more."""
        now, clock = self._clock(), self._capture.now()
        found: list[tuple[Again, Frame]] = []
        for frame in self._capture.missing:
            position = frame.number.position
            again = audio_routes.choose_again(
                (clock - frame.number.capture_time_us) / 1e6 if measured else inf,
                due=now - self._asked.get(position, -inf) > AGAIN_AFTER,
                room=room,
                carried=self.is_carried(frame),
            )
            if again.later:
                self.carry(position, frame.stop)
                self.late.append(frame)
                self.any_late.set()
            if again.room or again.socket:
                self._ask(position, now)
                found.append((again, frame))
        return [(again, [frame for _, frame in group]) for again, group in groupby(found, key=itemgetter(0))]

    def _ask(self, position: int, now: float) -> None:
        self._asked.pop(position, None)
        self._asked[position] = now
        if len(self._asked) > REMEMBERED:
            del self._asked[next(iter(self._asked))]
