"""The complete view of a phone's audio: every sample once and in order, as far as what is missing can still come.

Rules
- What comes in order is handed on at once.
- What comes after a hole that the phone may fill (it sends again what never came) is held until the hole is filled,
  until nothing of it came for PATIENCE seconds (END_PATIENCE after the end of speech; as long as the newest audio is
  late, where that is more, up to LATE), or until HELD samples wait.
- A phone that never sent anything again is waited for once in vain, and then no more until it does.
- What fills a hole that was given up is handed on at once, out of its place. So is what belongs to a former epoch.

It does not know frames, listeners or clocks. What was lost and what was never captured it asks the ledger
(core/uplink.py).
"""

from bisect import insort
from collections.abc import Callable
from operator import attrgetter

from glassbridge.core.uplink import EPOCHS, Delivery
from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE

PATIENCE = 1.5
END_PATIENCE = 5.0
"""The same after the end of speech: nothing live waits behind it."""
LATE = 5.0
"""Seconds of lateness that are allowed for: a repetition takes the same way as the newest audio."""
HELD = 30 * SAMPLE_RATE


def _stop(delivery: Delivery) -> int:
    return delivery.position + len(delivery.pcm) // BYTES_PER_SAMPLE


class InOrder:
    """`lacks(epoch, start, stop)`: something of this stretch was captured and has not come (Ledger.lacks)."""

    def __init__(self, lacks: Callable[[int, int, int], bool]) -> None:
        self.fills = True
        """The phone is there, and sends again what never came, as far as is known."""
        self._lacks = lacks
        self._epochs: list[int] = []
        self._next = 0
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

    def begin(self, epoch: int, position: int) -> list[Delivery]:
        """A frame, with samples or without, may be the first of a new epoch; returns what is to be handed on then."""
        if epoch in self._epochs:
            return []
        out = self.flush()
        self._epochs.append(epoch)
        del self._epochs[:-EPOCHS]
        self._next = position
        return out

    def take(self, delivery: Delivery, now: float) -> list[Delivery]:
        """Takes what the ledger delivers; returns what is to be handed on now."""
        out = self.begin(delivery.epoch, delivery.position)
        if delivery.epoch != self._epochs[-1] or delivery.position < self._next:
            return [*out, delivery]
        if delivery.pcm and (not self._held or delivery.position > self._held[-1].position):
            self._late = min(delivery.age, LATE)
        if not self._held or delivery.position < self._held[0].position:
            self._give_up_at = now + max(PATIENCE, self._late)
        insort(self._held, delivery, key=attrgetter("position"))
        self._held_samples += len(delivery.pcm) // BYTES_PER_SAMPLE
        return out + self._release(now)

    def end(self, epoch: int, position: int, now: float) -> list[Delivery]:
        """Nothing is captured after this position for now: what is missing before it is waited for longer. An empty
        delivery takes its place in the order."""
        out = self.take(Delivery(epoch, position, b"", live=False, age=0.0), now)
        if self._held:
            self._give_up_at = max(self._give_up_at, now + END_PATIENCE)
        return out

    def replayed(self) -> None:
        """The phone has sent something again."""
        self.fills = True

    def tick(self, now: float) -> list[Delivery]:
        """Gives up the hole that was waited for long enough."""
        if not self._held or now < self._give_up_at:
            return []
        self._next = self._held[0].position
        self.fills = False
        return self._release(now)

    def flush(self) -> list[Delivery]:
        """Everything that waits; nothing comes before it any more."""
        out, self._held, self._held_samples = self._held, [], 0
        if out:
            self._next = _stop(out[-1])
        return out

    def _release(self, now: float) -> list[Delivery]:
        out: list[Delivery] = []
        while self._held and not self._is_held_up():
            first = self._held.pop(0)
            self._next = _stop(first)
            self._held_samples -= len(first.pcm) // BYTES_PER_SAMPLE
            ends = bool(self._held) and not self._held[-1].pcm
            self._give_up_at = now + max(END_PATIENCE if ends else PATIENCE, self._late)
            out.append(first)
        return out

    def _is_held_up(self) -> bool:
        """There is a hole before what waits, and it is worth waiting for."""
        first = self._held[0]
        waiting = self.fills and self._held_samples <= HELD
        return first.position > self._next and waiting and self._lacks(first.epoch, self._next, first.position)
