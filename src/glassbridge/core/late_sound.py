"""The sound around holes that were given up: late samples are put in their place, to be recognised again.

Rules
- A session's time is that of its sound, holes included: late samples, and their words, lie where they were captured.
  The end of a former epoch and the beginning of a new one take no time: their length is unknown.
- Sound is kept for AROUND samples, and from that much before the oldest hole on that may still be filled, up to
  MOST_BYTES; beyond that the oldest hole is given up for good.
- A hole may be filled until its phone cannot have it any more. While one is filled in part, the rest is waited for,
  MORE_COMES seconds at a time.

It does not know phones, recognisers or clocks. Positions are samples.
"""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from operator import attrgetter
from typing import Final

from glassbridge.core.in_order import Hole
from glassbridge.core.uplink import REPLAYABLE, Delivery
from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE

AROUND: Final = 20 * SAMPLE_RATE
"""The longest utterance of an offline recogniser, and some."""
MOST_BYTES: Final = 4 << 20
OVERHEAD: Final = 200
"""Bytes that a piece takes beside its samples."""
SEAM: Final = SAMPLE_RATE
"""Of silence in place of what is missing: it ends an utterance, so that none is made of two halves."""
_SILENCE: Final = bytes(SEAM * BYTES_PER_SAMPLE)
"""For all gaps: silence of its own for each of hundreds took megabytes beyond MOST_BYTES."""
MOST_LEAPS: Final = 200
MORE_COMES: Final = 1.5


class Timeline:
    """Where in a session does sound lie that is heard in one piece? Begins at 0 of both."""

    __slots__ = ("_heard", "_session")

    def __init__(self) -> None:
        self._heard: list[int] = [0]
        self._session: list[int] = [0]

    def leap(self, heard: int, session: int) -> None:
        """Sound from here on lies there; neither goes back."""
        if heard == self._heard[-1]:
            self._heard.pop()
            self._session.pop()
        self._heard.append(heard)
        self._session.append(session)
        del self._heard[:-MOST_LEAPS], self._session[:-MOST_LEAPS]

    def begin(self, heard: int) -> int:
        """The session's position of a moment at which something begins."""
        return self._at(bisect_right(self._heard, heard), heard)

    def end(self, heard: int) -> int:
        """The same where something ends: at a leap the two differ."""
        return self._at(bisect_left(self._heard, heard), heard)

    def _at(self, index: int, heard: int) -> int:
        index = max(1, index)
        at = self._session[index - 1] + heard - self._heard[index - 1]
        return at if index == len(self._session) else min(at, self._session[index])


@dataclass(slots=True)
class LateHole:
    """A hole, and the late samples in it so far."""

    hole: Hole
    start: int
    """Of the session."""
    fills: list[Delivery] = field(default_factory=list)
    changes: int = 0
    """How often something came."""
    changed_at: float = 0.0
    """Monotonic seconds of the last time."""

    @property
    def stop(self) -> int:
        """Of the session."""
        return self.start + self.hole.samples

    @property
    def is_complete(self) -> bool:
        """All that is known to be missing has come."""
        return 0 < self.hole.samples * BYTES_PER_SAMPLE <= self.nbytes

    @property
    def nbytes(self) -> int:
        """Of what has come."""
        return sum(len(fill.pcm) for fill in self.fills)

    @property
    def cost(self) -> int:
        """Bytes that it takes."""
        return self.nbytes + OVERHEAD * (1 + len(self.fills))

    @property
    def id(self) -> str:
        """For people and programs."""
        return f"{self.hole.epoch:x}-{self.hole.start:x}"

    def at(self, position: int) -> int:
        """The session's position of one of the hole."""
        return self.start + min(position - self.hole.start, self.hole.samples)

    def sound(self) -> list[tuple[int, bytes]]:
        """What has come, with the session's positions, and silence for the rest."""
        found: list[tuple[int, bytes]] = []
        at = self.hole.start
        for fill in self.fills:
            found += self._silence(at, fill.position)
            found.append((self.at(fill.position), fill.pcm))
            at = fill.position + len(fill.pcm) // BYTES_PER_SAMPLE
        return found + self._silence(at, at if self.hole.stop is None else self.hole.stop)

    def _silence(self, start: int, stop: int) -> list[tuple[int, bytes]]:
        samples = min(stop - start, SEAM)
        return [(self.at(stop - samples), _SILENCE[: samples * BYTES_PER_SAMPLE])] if samples > 0 else []


class LateSound:
    """Of one session."""

    __slots__ = ("_bytes", "_end", "_pieces", "places")

    def __init__(self) -> None:
        self._pieces: list[tuple[int, bytes]] = []
        self._bytes = 0
        self._end = 0
        self.places: list[LateHole] = []
        """Of holes that may still be filled, or are not understood yet; the oldest first."""

    @property
    def kept_from(self) -> int:
        """The first position whose sound is here, or may come: nothing precedes a hole at the beginning."""
        return min([self._end, *(start for start, _ in islice(self._pieces, 1)), *(one.start for one in self.places)])

    def put(self, start: int, pcm: bytes) -> None:
        """The next samples."""
        self._pieces.append((start, pcm))
        self._bytes += len(pcm) + OVERHEAD
        self._end = start + len(pcm) // BYTES_PER_SAMPLE
        self._forget()

    def give_up(self, hole: Hole, start: int) -> None:
        """There is a hole here."""
        self.places.append(LateHole(hole, start))
        self._bytes += OVERHEAD

    def fill(self, hole: Hole, delivery: Delivery, now: float) -> bool:
        """Something of it came; False when it was given up for good."""
        place = next((place for place in self.places if place.hole is hole), None)
        if place is not None:
            insort(place.fills, delivery, key=attrgetter("position"))
            place.changes += 1
            place.changed_at = now
            self._bytes += len(delivery.pcm) + OVERHEAD
            self._forget()
        return place is not None

    def restless_until(self) -> float:
        """Monotonic seconds until which more of what is coming may come."""
        coming = [place.changed_at for place in self.places if place.fills and not place.is_complete]
        return max(coming, default=-inf) + MORE_COMES

    def settle(self, place: LateHole) -> None:
        """It is complete and understood: a stretch of sound as any other."""
        if place in self.places and place.is_complete:
            self.places.remove(place)
            before = sum(1 for start, _ in self._pieces if start < place.start)
            sound = place.sound()
            for index, piece in enumerate(sound, before):
                self._pieces.insert(index, piece)
            self._bytes += sum(len(pcm) + OVERHEAD for _, pcm in sound) - place.cost
            self._forget()

    def _close(self, place: LateHole) -> None:
        """No more samples of it are coming."""
        self.places.remove(place)
        self._bytes -= place.cost

    def where(self, epoch: int, position: int) -> int | None:
        """The session's position of one in a hole; None: it is in none."""
        return next((place.at(position) for place in self.places if place.hole.holds(epoch, position)), None)

    def _forget(self) -> None:
        for place in [place for place in self.places if place.stop < self._end - REPLAYABLE - AROUND]:
            self._close(place)
        while self._bytes > MOST_BYTES and self.places:
            self._close(self.places[0])
            self._cut()
        self._cut()

    def _cut(self) -> None:
        oldest = min((place.start for place in self.places), default=self._end) - AROUND
        while self._pieces and self._pieces[0][0] + len(self._pieces[0][1]) // BYTES_PER_SAMPLE <= oldest:
            self._bytes -= len(self._pieces.pop(0)[1]) + OVERHEAD

    def stretch(self, start: int, stop: int) -> list[tuple[int, bytes]]:
        """The sound from here to there in order, with the session's positions; of holes the samples that have come."""
        found: list[tuple[int, bytes]] = []
        places = deque(place for place in self.places if start <= place.start <= stop)
        for at, pcm in self._pieces:
            if at >= stop and not places:
                break
            while places and places[0].start <= at:
                found += places.popleft().sound()
            begin, end = max(0, start - at), stop - at
            if part := pcm[begin * BYTES_PER_SAMPLE : max(0, end) * BYTES_PER_SAMPLE]:
                found.append((at + begin, part))
        for place in places:
            found += place.sound()
        return found
