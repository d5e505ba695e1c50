"""How much audio a carrier gets at a time: no more than it carries, so that a pong never waits behind much of it, and
so that what waits can still be coded in another way. Paced is a connection, RoomPace a place in a room."""

import asyncio
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Final

from glassbridge.core.audio_routes import SILENT
from glassbridge.core.sending import LONG
from glassbridge.livekit.participant import InFlight
from glassbridge.runtime.tcp import RENEW_EVERY, SEGMENT, RoundTrip
from glassbridge.wire import phone as wire

POLL: Final = 0.005
PROBE: Final = 4_096
PROBE_WITHIN: Final = 3.0
PROBE_TELLS: Final = 0.15
"""Seconds beyond the round trip under which a probe may have waited for a processor as well as for the link."""
REPETITION, REPETITIONS = 0.25, 2
"""Seconds, and round trips, that each repetition of what was lost may have cost a probe."""
PROBE_QUEUED: Final = 0.06
"""Seconds by which the smoothed round trip has grown where a probe, or audio, waited in a queue, whatever was
repeated."""
AHEAD: Final = 0.15
"""Seconds of audio that may be on their way beyond what the round trip holds."""
LEAST_AHEAD, LEAST_QUEUED = 6_000, 1_500
"""Bytes that may always be on their way: some packets, so that TCP notices a lost one by those after it; where
packets wait in a queue, one."""
SHORT_WAY: Final = 0.1
"""Seconds of a round trip below which what was lost is back soon, so that little need be on its way."""
VARIES: Final = 0.02
"""Seconds by which such a round trip is longer than the least without a queue."""
SHORT_AHEAD: Final = 2 * SEGMENT
"""Bytes that may be on such a way beyond what the round trip holds."""
MEASURED: Final = 0.2
"""Seconds over which it is measured what arrives."""
GUESSED: Final = 2
"""Segments that TCP may have repeated meanwhile, as their acknowledgements wait in a queue; of more, some were lost."""
AROUND: Final = 40
"""Bytes around a frame, at most: WebSocket and TLS."""
WAY: Final = 1.0
"""Seconds after which a round trip that stays long is the way's, not our queue's: little was on its way in them."""
DATAGRAM: Final = 1_200
"""Bytes of a large packet into the room. LiveKit acknowledges two together, a single one after 0.2 s."""
STUCK: Final = 0.25
"""Seconds, and two round trips, after which a packet that was sent but once is acknowledged on a link that carries PCM:
a single one after 0.2 s, and a lost one has been sent again."""
SLOW: Final = 40_000
"""bit/s of a link on which that takes so long that it need not be awaited."""
MOST_GROWN: Final = 9_000
"""Bytes that may be on their way because it has become long."""


class Pace(ABC):
    """A carrier that knows what is on its way."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._trips: deque[tuple[float, float]] = deque()
        """(at, round trip) of the last WAY seconds."""
        self._passed: deque[tuple[float, int, int]] = deque()
        """(at, bytes that had arrived, segments that had been repeated) while audio was on its way, of the last
        MEASURED seconds."""

    @property
    @abstractmethod
    def measured(self) -> RoundTrip | None:
        """Its round trip; None where it does not say."""

    @property
    @abstractmethod
    def given(self) -> int:
        """Bytes that it got so far."""

    @abstractmethod
    def pending(self) -> int | None:
        """Bytes that wait to be sent or acknowledged; None: it ends."""

    @property
    def trip(self) -> RoundTrip:
        """Zeros where it does not say."""
        return self.measured or RoundTrip(0.0, 0.0)

    @property
    def queued(self) -> float:
        """Seconds by which the round trip is longer than it need be; infinite where it does not say."""
        trip = self.measured
        return math.inf if trip is None else trip.queued

    @property
    def carries(self) -> float:
        """The bit/s that arrived in the last MEASURED seconds, in which something was on its way all the time and
        waited in a queue; infinite where that is not known."""
        self._note_passed()
        if not self._passed or self.trip.queued < PROBE_QUEUED:
            return math.inf
        (begun, before, repeated), (now, after, since) = self._passed[0], self._passed[-1]
        if now - begun < MEASURED - POLL or after == before or since > repeated + GUESSED:
            return math.inf
        return (after - before) * 8 / (now - begun)

    def _note_passed(self) -> None:
        now, pending = self._clock(), self.pending()
        if not pending:
            self._passed.clear()
            return
        self._passed.append((now, self.given - pending, self.trip.repeated))
        while len(self._passed) > 1 and self._passed[1][0] <= now - MEASURED:
            self._passed.popleft()

    def takes(self, size: int, rate: int) -> bool | None:
        """Whether what is on its way, and what of `size` bytes more fills no first packet, is no more than a stream of
        `rate` bytes a second has in flight, and AHEAD seconds of it beside, or whether nothing is; None: it ends."""
        if (pending := self.pending()) is None:
            return None
        trip = self.trip
        self._note_passed()
        most = min(in_flight(trip, self._lasting(trip.now), rate), on_short_way(trip, rate))
        return not pending or pending + max(0, size - SEGMENT) <= most

    def _lasting(self, trip: float) -> float:
        """The least round trip of the last WAY seconds."""
        now = self._clock()
        self._trips.append((now, trip))
        while self._trips[0][0] < now - WAY:
            self._trips.popleft()
        return min(known for _, known in self._trips)


class RoomPace(Pace):
    """A place in a room; `flight` says what of its lossy packets is on its way (Participant.flight)."""

    def __init__(self, flight: Callable[[], InFlight | None], clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self._flight = flight

    @property
    def measured(self) -> RoundTrip | None:
        return None if (flight := self._flight()) is None else flight.trip

    @property
    def given(self) -> int:
        return 0 if (flight := self._flight()) is None else flight.given

    def takes(self, size: int, rate: int) -> bool:
        """Of what is on its way nothing waits for long, either; one packet may wait for the next to be acknowledged."""
        if (flight := self._flight()) is None:
            return True
        trip = flight.trip
        waits = flight.oldest > STUCK + 2 * trip.least
        fills = trip.queued > AHEAD and flight.pending > max(LEAST_QUEUED, rate * trip.least)
        if waits or fills:
            return False
        return flight.pending <= DATAGRAM or super().takes(size, rate) is not False

    @property
    def together(self) -> float:
        """Seconds that an acknowledgement of large packets may take on a narrow link, beyond those of small ones."""
        return max(0.0, min(2 * DATAGRAM, self.pending()) * 8 / SLOW - SILENT)

    def pending(self) -> int:
        return 0 if (flight := self._flight()) is None else flight.pending


class Paced(Pace):
    """A connection that knows what is on its way."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self._put = 0
        """Bytes of audio so far, and of what lies around them."""
        self._waits_since = 0.0
        """Since when something is on its way."""
        self._renewed_at = clock()

    @property
    def given(self) -> int:
        return self._put

    @abstractmethod
    async def say(self, message: wire.Message) -> bool:
        """Sends a message; False when the socket is gone or blocked. Safe to cancel."""

    @abstractmethod
    async def send_audio(self, frame: bytes) -> bool:
        """Sends a binary frame; False when the socket is gone or blocked. Safe to cancel."""

    def _renew(self) -> bool:
        """Has the kernel measure the way anew; False where it is not asked to."""
        return False

    def keep_window(self) -> None:
        """To be called often: sees to it that the kernel does not shrink what may be on its way only to measure it
        (runtime/tcp.renew_bbr). Where packets wait in a queue it may."""
        now = self._clock()
        if now - self._renewed_at >= RENEW_EVERY and self.trip.queued < PROBE_QUEUED and self._renew():
            self._renewed_at = now

    @property
    def silent(self) -> float:
        """Seconds in which nothing was acknowledged although audio is on its way; 0 where that is not known."""
        waits = self._clock() - self._waits_since if self.pending() else 0.0
        return min(waits, self.trip.quiet)

    async def room_for(self, size: int, rate: int, timeout: float) -> bool:
        """Returns True when it `takes` so many bytes more; False after `timeout` seconds, or when it ends."""
        deadline = self._clock() + timeout
        while (takes := self.takes(size, rate)) is not None:
            if takes:
                return True
            if self._clock() > deadline:
                return False
            await asyncio.sleep(POLL)
        return False

    def note_audio(self, frame: bytes) -> None:
        """To be called before a frame is sent."""
        self._put += len(frame) + AROUND
        if not self.pending():
            self._waits_since = self._clock()

    async def probe(self, late: Callable[[float], None] = lambda _: None) -> float | None:
        """Sends PROBE bytes and returns the bit/s at which they passed; None where it cannot be measured, they passed
        too quickly to tell, or repetitions of what was lost explain the time. Until then it tells `late` how much the
        link carries at most, where that is little. Safe to cancel."""
        before = self.measured
        if before is None or not await self.say(wire.LinkProbe(padding="." * PROBE)):
            return None
        begun, put = self._clock(), self._put
        while (self.pending() or 0) > self._put - put:  # audio that came after it waits behind it
            waited = self._clock() - begun
            if (rate := passing(before, self.trip, waited)) is not None:
                late(rate)
            if waited > PROBE_WITHIN:
                break
            await asyncio.sleep(POLL)
        return passing(before, self.trip, self._clock() - begun)


def passing(before: RoundTrip, after: RoundTrip, took: float) -> float | None:
    """The bit/s of a link on which a probe took so long; None where that tells nothing. On a long way a small window
    explains it, unless the round trip has grown."""
    if before.least >= LONG and after.queued < PROBE_QUEUED:
        return None
    repeated = after.repeated - before.repeated if after.queued < PROBE_QUEUED else 0
    unexplained = took - before.least - repeated * (REPETITION + REPETITIONS * before.least)
    return PROBE * 8 / unexplained if unexplained > PROBE_TELLS else None


def in_flight(trip: RoundTrip, lasting: float, rate: int) -> int:
    """Bytes that may be on their way for a stream of `rate` bytes a second. `lasting`: the least round trip lately."""
    least = LEAST_QUEUED if trip.queued > AHEAD else LEAST_AHEAD
    needed = rate * (min(trip.now, trip.least + AHEAD / 2) + AHEAD)
    grown = min(MOST_GROWN, rate * (min(trip.now, lasting) + AHEAD))
    return round(max(least, needed, grown))


def on_short_way(trip: RoundTrip, rate: int) -> float:
    """The same on a short way, where the kernel tells what has arrived: what is on its way when a link becomes narrow
    fills its queue, and all that follows is late. Infinite on a longer one."""
    if trip.least >= SHORT_WAY:
        return math.inf
    return rate * min(trip.now, trip.least + VARIES) + SHORT_AHEAD
