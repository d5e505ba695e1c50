"""The complete view of a phone's audio: every sample once and in order, waiting for missing ones while they may come.

Rules
- Samples in order are passed on at once.
- Samples after a hole that the phone may fill (it sends missing samples again) are held until the hole is filled, until
  nothing of it came for PATIENCE seconds (END_PATIENCE after the first end of speech that waits; as long as the newest
  audio is late, if that is more, up to LATE), or until HELD samples or MOST_HELD pieces wait.
- For a phone that has never sent anything again, it waits once in vain, and then no more until the phone does.
- If two routes carry audio, the first frame of an epoch that arrives need not be its first. The samples before it count
  as a hole, until the phone says where its audio begins.
- A hole that is given up is reported. Samples that fill it later are passed on at once, together with the hole to which
  they belong. The end of a former epoch and the beginning of a new one are such holes, too, of unknown length.

It does not know frames, listeners or clocks. The ledger (core/uplink.py) tells lost samples from those never captured.
"""

from bisect import insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter

from glassbridge.core.newest import Newest
from glassbridge.core.uplink import EPOCHS, Delivery
from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE

PATIENCE = 1.5
END_PATIENCE = 5.0
"""The same after the end of speech: nothing live waits behind it."""
LATE = 5.0
"""Seconds of lateness that are allowed for: a repetition takes the same way as the newest audio."""
HELD = 30 * SAMPLE_RATE
MOST_HELD = 4_000
"""Pieces in which these samples may come: frames of 10 ms are 3,000."""
MOST_HOLES = 256
"""Given up and remembered: samples of older ones have no place any more."""


@dataclass(frozen=True, slots=True)
class Hole:
    """A stretch that was given up."""

    epoch: int
    start: int
    stop: int | None
    """None: the end of a former epoch."""
    samples: int
    """That were captured, as far as is known."""

    @property
    def pcm(self) -> bytes:
        """Nothing is to be handed on."""
        return b""

    def holds(self, epoch: int, position: int) -> bool:
        """Whether this position lies in it."""
        return epoch == self.epoch and self.start <= position and (self.stop is None or position < self.stop)


@dataclass(frozen=True, slots=True)
class Fill:
    """Something of a hole that was given up has come; `hole` is None when it is not remembered any more."""

    hole: Hole | None
    delivery: Delivery

    @property
    def pcm(self) -> bytes:
        """To hand on, out of the order."""
        return self.delivery.pcm


def _stop(delivery: Delivery) -> int:
    return delivery.position + len(delivery.pcm) // BYTES_PER_SAMPLE


class InOrder:
    """`lacks(epoch, start, stop)`: how many samples of this stretch were captured and have not come (Ledger.lacks)."""

    __slots__ = (
        "_begun", "_epochs", "_give_up_at", "_held", "_held_samples", "_holes", "_lacks", "_late", "_next", "fills",
    )  # fmt: skip

    def __init__(self, lacks: Callable[[int, int, int], int]) -> None:
        self.fills = True
        """The phone is there, and sends again what never came, as far as is known."""
        self._lacks = lacks
        self._epochs: list[int] = []
        self._next = 0
        self._begun = True
        """It is known, or not waited for any more, where the newest epoch begins."""
        self._holes: Newest[Hole] = Newest(MOST_HOLES)
        self._held: list[Delivery] = []
        self._held_samples = 0
        self._give_up_at = 0.0
        self._late = 0.0
        """Seconds by which the newest audio is late, LATE at most."""

    @property
    def holding(self) -> bool:
        """Something waits for a hole before it."""
        return bool(self._held)

    def next_deadline(self) -> float | None:
        """When `tick` is due; None while nothing waits."""
        return self._give_up_at if self._held else None

    def ahead(self, epoch: int, position: int) -> int:
        """Samples that have yet to be handed on before this position; 0 in a former epoch."""
        if self._epochs[-1:] != [epoch]:
            return 0
        start = self._next if self._begun else self._held[0].position if self._held else position
        return max(0, position - start)

    def begin(self, epoch: int, position: int, now: float, *, told: bool = False) -> list[Delivery | Hole | Fill]:
        """A frame, with samples or without, may be the first of a new epoch; returns what is to be handed on then.
        `told`: the phone says that nothing comes from before this position."""
        out: list[Delivery | Hole | Fill] = []
        if epoch not in self._epochs:
            out += self.flush()
            if self._epochs:
                out.append(self._give_up(Hole(self._epochs[-1], self._next, None, 0)))
            self._epochs.append(epoch)
            del self._epochs[:-EPOCHS]
            self._next, self._begun = 0, not position
            told = told or not self.fills
        if self._begun or not told or epoch != self._epochs[-1]:
            return out
        self._next = min(position, self._held[0].position) if self._held else position
        self._begun = True
        if self._next:
            out.append(self._give_up(Hole(epoch, 0, self._next, 0)))
        return out + self._release(now)

    def take_over(self, epoch: int, position: int, missing: Iterable[tuple[int, int]]) -> list[Hole]:
        """Another view went so far; comes before anything else. Returns the holes that it left."""
        self._epochs.append(epoch)
        self._next = position
        holes = [Hole(epoch, start, stop, stop - start) for start, stop in missing]
        self._holes.extend(holes)
        return holes

    def take(self, delivery: Delivery, now: float) -> list[Delivery | Hole | Fill]:
        """Takes what the ledger delivers; returns what is to be handed on now."""
        out = self.begin(delivery.epoch, delivery.position, now)
        if delivery.epoch != self._epochs[-1] or delivery.position < self._next:
            return [*out, Fill(self._hole(delivery.epoch, delivery.position), delivery)]
        if delivery.pcm and (not self._held or delivery.position > self._held[-1].position):
            self._late = min(delivery.age, LATE)
        if not self._held or delivery.position < self._held[0].position:
            self._give_up_at = now + max(PATIENCE, self._late)
        insort(self._held, delivery, key=attrgetter("position"))
        self._held_samples += len(delivery.pcm) // BYTES_PER_SAMPLE
        return out + self._release(now)

    def end(self, epoch: int, position: int, now: float) -> list[Delivery | Hole | Fill]:
        """Nothing is captured after this position for now: missing samples before it are waited for longer. An empty
        delivery takes its place in the order."""
        out = self.take(Delivery(epoch, position, b"", live=False, age=0.0), now)
        if sum(not one.pcm for one in self._held) == 1:
            self._give_up_at = max(self._give_up_at, now + END_PATIENCE)
        return out

    def replayed(self) -> None:
        """The phone has sent something again."""
        self.fills = True

    def tick(self, now: float) -> list[Delivery | Hole | Fill]:
        """Gives up the hole that was waited for long enough."""
        if not self._held or now < self._give_up_at:
            return []
        self.fills = self.fills and not self._begun
        return self._first() + self._release(now)

    def flush(self) -> list[Delivery | Hole | Fill]:
        """Everything that waits; nothing comes before it any more."""
        out: list[Delivery | Hole | Fill] = []
        while self._held:
            out += self._first()
        return out

    def _release(self, now: float) -> list[Delivery | Hole | Fill]:
        out: list[Delivery | Hole | Fill] = []
        while self._held and not self._is_held_up():
            out += self._first()
            ends = bool(self._held) and not self._held[-1].pcm
            self._give_up_at = now + max(END_PATIENCE if ends else PATIENCE, self._late)
        return out

    def _first(self) -> list[Delivery | Hole | Fill]:
        """The first that waits, and the hole before it."""
        first = self._held.pop(0)
        self._held_samples -= len(first.pcm) // BYTES_PER_SAMPLE
        out: list[Delivery | Hole | Fill] = [first]
        if first.position > self._next:
            lacking = self._lacks(first.epoch, self._next, first.position) if self._begun else 0
            out.insert(0, self._give_up(Hole(first.epoch, self._next, first.position, lacking)))
        self._next, self._begun = _stop(first), True
        return out

    def _give_up(self, hole: Hole) -> Hole:
        self._holes.append(hole)
        return hole

    def _hole(self, epoch: int, position: int) -> Hole | None:
        return next((hole for hole in reversed(self._holes) if hole.holds(epoch, position)), None)

    def _is_held_up(self) -> bool:
        """There is a hole before what waits, and it is worth waiting for."""
        first = self._held[0]
        fits = self._held_samples <= HELD and len(self._held) <= MOST_HELD
        waiting = self.fills and fits and first.position > self._next
        return waiting and (not self._begun or self._lacks(first.epoch, self._next, first.position) > 0)
