"""What one route was given, and what the cloud reports of it: loss, lateness and rate.

The cloud reports how many frames arrived by a route, up to which position, and how late. The difference to what was
sent is loss. It knows no clock: time is an argument, monotonic seconds.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass
from typing import Final

WINDOW: Final = 3.0
"""Seconds over which loss is measured."""
LOSSY: Final = 0.02
"""Share of frames that did not arrive at which audio is sent twice."""
UNREPORTED: Final = 1.25
"""Seconds until what was sent is in a report, where reports come: what is in none by then is late."""
GROWING: Final = 0.1
"""Seconds by which lateness grew in WINDOW where a queue fills; a way that has become longer is late, but steadily."""
FEW: Final = 12
"""Frames below which a share of loss says nothing."""
HISTORY: Final = 2_048
"""Frames of a route that are remembered; older ones count as lost."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """What the cloud says of one route (wire/phone.py, AudioAck)."""

    frames: int
    """With new samples, so far."""
    stop: int
    """The position after the newest of them."""
    late: float
    """Seconds by which the quickest of them since the last report was slower than the quickest of all."""


@dataclass(frozen=True, slots=True)
class _Sent:
    stop: int
    at: float
    frames: int
    """Of this route up to here."""
    bits: int


class RouteReports:
    """What one route was given, and what the cloud says of it."""

    def __init__(self) -> None:
        self.sent: deque[_Sent] = deque(maxlen=HISTORY)
        self._late = deque((0.0, 0.0), maxlen=2)
        self._latenesses: deque[tuple[float, float]] = deque()
        """(at, late) of each report in WINDOW."""
        self._reported: Arrived | None = None
        self._expected = 0
        """Frames that were sent up to that report."""
        self._window: deque[tuple[float, int, int, float]] = deque()
        """(at, frames expected, frames arrived, bits arrived) of each report in WINDOW."""

    def put(self, stop: int, size: int, now: float) -> None:
        last = self.sent[-1] if self.sent else _Sent(0, now, 0, 0)
        if stop >= last.stop:
            self.sent.append(_Sent(stop, now, last.frames + 1, last.bits + 8 * size))

    def report(self, said: Arrived, now: float) -> None:
        former, self._reported = self._reported, said
        index = bisect_right(self.sent, said.stop, key=lambda entry: entry.stop) - 1
        if index < 0:
            return
        entry = self.sent[index]
        if former is None or (said.frames > former.frames and entry.stop > former.stop):
            self._late.append(said.late)
            self._latenesses.append((now, said.late))
            while self._latenesses[0][0] < now - WINDOW:
                self._latenesses.popleft()
        if former is not None and said.frames >= former.frames and entry.stop > former.stop:
            expected = max(1, entry.frames - self._expected)
            arrived = min(said.frames - former.frames, expected)
            before = self.sent[max(0, index - expected)]
            self._window.append((now, expected, arrived, arrived / expected * (entry.bits - before.bits)))
        elif former is None:
            self._window.append((now, 0, 0, 0.0))
        self._expected = entry.frames
        while self._window and self._window[0][0] < now - WINDOW:
            self._window.popleft()

    def unanswered(self, now: float) -> float:
        """Seconds since the oldest frame was sent that the cloud has not reported yet."""
        stop = self._reported.stop if self._reported is not None else -1
        index = bisect_right(self.sent, stop, key=lambda entry: entry.stop)
        return now - self.sent[index].at if index < len(self.sent) else 0.0

    @property
    def loss(self) -> float:
        expected = sum(entry[1] for entry in self._window)
        return 1 - sum(entry[2] for entry in self._window) / expected if expected >= FEW else 0.0

    @property
    def is_reported(self) -> bool:
        """The cloud has said something of this route."""
        return self._reported is not None

    def late(self, reported_at: float) -> float:
        """Seconds by which its quickest frames are late. `reported_at`: the last report of any route."""
        return max(min(self._late), self.unanswered(reported_at) - UNREPORTED)

    @property
    def fills(self) -> bool:
        """Its audio waits ever longer, or does not arrive: a queue on the way fills, or is full."""
        known = self._latenesses
        return self.loss > LOSSY or (len(known) > 1 and known[-1][1] - known[0][1] > GROWING)

    def forget_lateness(self) -> None:
        """Another level: what is late now was sent before."""
        self._late.extend((0.0, 0.0))

    @property
    def rate(self) -> float:
        """Bits a second that arrive, headers included."""
        if len(self._window) < 2:
            return 0.0
        (begun, *_), *rest = self._window
        return sum(entry[3] for entry in rest) / max(0.1, rest[-1][0] - begun)

    def offered(self, now: float) -> float:
        """Bits a second that it was given in WINDOW, headers included."""
        first = self.sent[bisect_left(self.sent, now - WINDOW, hi=len(self.sent) - 1, key=lambda entry: entry.at)]
        return (self.sent[-1].bits - first.bits) / max(0.1, now - first.at)
