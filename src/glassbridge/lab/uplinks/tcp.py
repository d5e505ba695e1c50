"""TCP in virtual time, one way: what a sender of Linux does about loss, as far as it decides when bytes arrive.

What waits for the window shares segments. Selective acknowledgements; what was sent before something that has arrived
is sent again once three segments after it have arrived, or it is late by a quarter of the round trip; after two round
trips without an answer the last segment is repeated, or one more is sent; then timeouts, doubled each time up to
LONGEST, but the first few not where few segments are on their way (our sockets ask for all three: runtime/tcp.py).
Segments that are repeated share packets, too. A timeout that came too early is taken back. Slow start and a window that
shrinks by a third; no pacing.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from math import inf
from typing import Any, Final

from glassbridge.lab.uplinks.wire import TCP, Way
from glassbridge.runtime.tcp import LONGEST_TIMEOUT, SEGMENT, SHORTEST_TIMEOUT, RoundTrip

HEADER: Final = 32
GREETED: Final = 0.4
"""Seconds to the first repetition of the first segment: attempts to connect overlap."""
THIN, LINEAR = 4, 6
"""Segments on their way below which so many timeouts do not grow."""
WINDOW: Final = 10.0
REORDERED: Final = 0.25
"""Share of the least round trip that a segment may be late."""
SURE: Final = 3
"""Segments after it that arrive where it is lost whatever the time."""
LEAST_WINDOW: Final = 2.0


@dataclass(slots=True, eq=False)
class _Segment:
    number: int
    size: int = 0
    messages: list[Any] = field(default_factory=list)
    """That are complete with it."""
    sent_at: float = -inf
    times: int = 0
    arrived: bool = False
    lost: bool = False


class Stream:
    """Messages one way of a connection. `there` and `back` carry packets, `hear` gets each message in order. `greeted`:
    the round trip of its greeting, seconds."""

    def __init__(self, there: Way, back: Way, hear: Callable[[Any], None], greeted: float = 0.0) -> None:
        self._greeted = greeted
        self._there, self._back, self._hear = there, back, hear
        self._loop = asyncio.get_running_loop()
        self._unsent: deque[tuple[Any, int]] = deque()
        """(message, its bytes that wait for the window)."""
        self._segments: list[_Segment] = []
        """That were sent and are not acknowledged, the oldest first."""
        self._numbers = 0
        self._window, self._threshold = WINDOW, inf
        self._former: tuple[float, float, float] | None = None
        """(window, threshold, at) before a timeout that may have come too early."""
        self._recovers_until = 0
        self._smoothed = self._variation = 0.0
        self._least = inf
        self._doublings = self._expiries = 0
        self._timer: asyncio.TimerHandle | None = None
        self._newest: tuple[float, float] = (-inf, 0.0)
        """(sent at, round trip) of the segment that was sent last of those that arrived."""
        self._reorders = False
        """A segment has arrived after one that was sent later, so that arrivals alone say nothing."""
        self._looking: asyncio.TimerHandle | None = None
        self._probed = False
        self._next = 0
        self._early: dict[int, _Segment] = {}
        self._heard_at = 0.0
        self.repeated = 0
        self.closed = False

    # ---- the sender

    def send(self, message: Any, size: int) -> None:
        """Queues a message of so many bytes."""
        if not self.closed:
            self._unsent.append((message, size))
            self._transmit()

    def close(self) -> None:
        """Nothing more is sent or heard."""
        self.closed = True
        self._segments.clear()
        self._unsent.clear()
        self._arm()

    @property
    def pending(self) -> int:
        """Bytes that are not acknowledged."""
        return sum(segment.size for segment in self._segments) + sum(size for _, size in self._unsent)

    @property
    def trip(self) -> RoundTrip:
        """As the kernel tells."""
        now, least = self._smoothed or self._greeted, self._greeted if self._least == inf else self._least
        return RoundTrip(now, min(now, least), self.repeated, self._loop.time() - self._heard_at)

    def _transmit(self) -> None:
        flying = sum(1 for one in self._segments if not one.arrived and not one.lost)
        while flying < max(1.0, self._window):
            if (lost := next((one for one in self._segments if one.lost), None)) is not None:
                self._put(self._sharing(lost))
            elif self._unsent:
                self._put([self._cut()])
            else:
                break
            flying += 1
        if self._timer is None:
            self._arm()

    def _cut(self) -> _Segment:
        """The next segment, as full as what waits makes it."""
        segment = _Segment(self._numbers)
        self._numbers += 1
        while self._unsent and segment.size < SEGMENT:
            message, left = self._unsent.popleft()
            taken = min(left, SEGMENT - segment.size)
            segment.size += taken
            if taken < left:
                self._unsent.appendleft((message, left - taken))
            else:
                segment.messages.append(message)
        self._segments.append(segment)
        return segment

    def _sharing(self, first: _Segment) -> list[_Segment]:
        """The segments of one packet: this one, which is sent again, and as many of the next ones as fit."""
        after = self._segments[self._segments.index(first) :]
        found: list[_Segment] = []
        for one in takewhile(lambda one: not one.arrived, after):
            if found and sum(other.size for other in found) + one.size > SEGMENT:
                break
            found.append(one)
        return found

    def _put(self, segments: list[_Segment]) -> None:
        sent_at = self._loop.time()
        self.repeated += segments[0].times > 0
        for segment in segments:
            segment.sent_at, segment.lost = sent_at, False
            segment.times += 1
        self._there(TCP, HEADER + sum(one.size for one in segments), lambda: self._arrived(segments, sent_at))

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._segments:
            self._timer = self._loop.call_later(self._timeout(), self._expired)

    def _timeout(self) -> float:
        if not self._smoothed:
            return min(LONGEST_TIMEOUT, GREETED * 2.0**self._doublings)
        timeout = self._smoothed + max(SHORTEST_TIMEOUT, 4 * self._variation)
        if not self._probed and not self._expiries:
            alone = len(self._segments) == 1
            return min(timeout, 2 * self._smoothed + (SHORTEST_TIMEOUT if alone else 0.002))
        return float(min(max(LONGEST_TIMEOUT, timeout), timeout * 2**self._doublings))

    def _expired(self) -> None:
        self._timer = None
        waiting = [one for one in self._segments if not one.arrived]
        if not waiting:
            return
        if self._smoothed and not self._probed and not self._expiries:
            self._probed = True
            self._put([self._cut()] if self._unsent else waiting[-1:])
        else:
            if self._former is None:
                self._former = self._window, self._threshold, self._loop.time()
                self._threshold = max(LEAST_WINDOW, self._window / 2)
            self._expiries += 1
            if len(waiting) >= THIN or self._expiries > LINEAR:
                self._doublings += 1
            self._window = 1.0
            for one in waiting:
                one.lost = True
            self._transmit()
        self._arm()

    def _acknowledged(self, upto: int, also: frozenset[int], echo: float) -> None:
        if self.closed:
            return
        now = self._heard_at = self._loop.time()
        news = [one for one in self._segments if not one.arrived and (one.number < upto or one.number in also)]
        for one in news:
            one.arrived, one.lost = True, False
        self._segments = [one for one in self._segments if one.number >= upto]
        if not news:
            return
        self._measure(now - echo)
        self._doublings, self._expiries, self._probed = 0, 0, False
        if self._former is not None:
            window, threshold, at = self._former
            if echo < at:  # it answers what was sent before the timeout
                self._window, self._threshold = window, threshold
                for one in self._segments:
                    one.lost = False
            self._former = None
        self._reorders = self._reorders or any(one.times == 1 and one.sent_at < self._newest[0] for one in news)
        newest = max(one.sent_at for one in news)
        self._newest = max(self._newest, (newest, now - newest))
        if not self._lose_overtaken():
            self._window += len(news) if self._window < self._threshold else len(news) / self._window
        self._arm()
        self._transmit()

    def _lose_overtaken(self) -> bool:
        """Marks what counts as lost, since what was sent later has arrived; returns whether the window shrinks."""
        newest, trip = self._newest
        overtaken = [one for one in self._segments if not (one.arrived or one.lost) and one.sent_at < newest]
        arrived = sum(one.arrived for one in self._segments)
        recovers = bool(self._segments) and self._segments[0].number < self._recovers_until
        sure = not self._reorders and (arrived >= SURE or recovers)
        wait = 0.0 if sure else max(0.001, REORDERED * self._least)
        due = [one.sent_at + trip + wait for one in overtaken]
        now = self._loop.time()
        late = [one for one, at in zip(overtaken, due, strict=True) if at <= now]
        for one in late:
            one.lost = True
        if self._looking is not None:
            self._looking.cancel()
        later = min((at for at in due if at > now), default=None)
        self._looking = None if later is None else self._loop.call_at(later, self._look_again)
        if not late or late[0].number < self._recovers_until:
            return False
        self._recovers_until = self._numbers
        self._threshold = self._window = max(LEAST_WINDOW, self._window * 0.7)
        return True

    def _look_again(self) -> None:
        self._looking = None
        if not self.closed:
            self._lose_overtaken()
            self._transmit()

    def _measure(self, trip: float) -> None:
        self._least = min(self._least, trip)
        if not self._smoothed:
            self._smoothed, self._variation = trip, trip / 2
            return
        self._variation += (abs(trip - self._smoothed) - self._variation) / 4
        self._smoothed += (trip - self._smoothed) / 8

    # ---- the receiver

    def _arrived(self, segments: Iterable[_Segment], sent_at: float) -> None:
        if self.closed:
            return
        self._early |= {segment.number: segment for segment in segments if segment.number >= self._next}
        complete = []
        while (found := self._early.pop(self._next, None)) is not None:
            self._next += 1
            complete += found.messages
        upto, also = self._next, frozenset(self._early)
        self._back(TCP, HEADER, lambda: self._acknowledged(upto, also, sent_at))
        for message in complete:
            self._hear(message)
