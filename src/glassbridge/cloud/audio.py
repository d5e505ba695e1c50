"""The microphone of one session: frames from every path come in here, and what is to be heard goes out to listeners.

Numbered frames go through the ledger (core/uplink.py); samples without numbers go straight on, an odd byte carried to
the next frame of the same way. Who wants freshness gets live audio as it comes; who wants completeness gets everything
in order, and waits for what the phone sends again (core/in_order.py). Each listener has a queue of its own, so a slow
one disturbs nobody.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Protocol

import structlog

from glassbridge.core import diagnosis
from glassbridge.core.in_order import InOrder
from glassbridge.core.uplink import NEVER_CAME, Account, ClockStep, Delivery, Fate, Hop, Kind, Ledger, UnnumberedLedger
from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE
from glassbridge.telemetry import metrics
from glassbridge.wire.audio_frames import FrameNumber

log = structlog.get_logger()

ACK_EVERY = 1.0
"""Seconds between acknowledgements while the position moves."""

Holes = tuple[tuple[int, int], ...]
"""Stretches [start, stop) of positions."""
REPLAYING = 2.0
"""Seconds after something was sent again in which more of it may come."""
FORGIVEN_AFTER = 1.0
"""Seconds of audio after which holes are nobody's fault any more: until then they are those of the fault before."""
_WHERE = {
    diagnosis.Hop.PHONE: Hop.PHONE,
    diagnosis.Hop.LIVEKIT: Hop.ROOM,
    diagnosis.Hop.BRIDGE: Hop.BRIDGE,
    diagnosis.Hop.STREAM: Hop.STREAM,
}


_delivered = metrics.FRAMES_DELIVERED.cell("cloud")
_live = metrics.AUDIO_DELIVERED.cell("live")
_late = metrics.AUDIO_DELIVERED.cell("late")
_aged = metrics.AUDIO_AGE.observer("cloud")
BYTES_PER_SECOND = SAMPLE_RATE * BYTES_PER_SAMPLE


class Listener(Protocol):
    """Somebody who hears the microphone."""

    @property
    def wants_late(self) -> bool:
        """True: completeness counts (recogniser, recording). False: freshness (raw audio to apps)."""

    def put(self, pcm: bytes) -> None:
        """Takes whole samples into a bounded queue; never waits."""


class OddByte:
    """Makes whole samples of chunks that may end within one; one for each way that carries a stream of bytes."""

    def __init__(self) -> None:
        self._rest = b""

    def whole(self, chunk: bytes) -> bytes:
        """The whole samples so far; an odd byte stays for the next chunk."""
        data = self._rest + chunk if self._rest else chunk
        cut = len(data) - len(data) % BYTES_PER_SAMPLE
        self._rest = data[cut:]
        return data[:cut]


class Microphone:
    """Owned by one session. `on_position` is told epoch, position and holes: what is delivered or given up, once a
    second while it moves, and what of it never came, as soon as that is known; `on_last` that everything until the
    microphone stopped has been handed on (numbered audio only); `on_clock_step` of each step of the phone's clock."""

    def __init__(
        self,
        on_position: Callable[[int, int, Holes], None],
        on_last: Callable[[], None],
        on_clock_step: Callable[[ClockStep], None] = lambda _: None,
    ) -> None:
        self.listeners: list[Listener] = []
        self.heard_at: float | None = None
        """Loop time of the last samples that were handed on; None before any."""
        self._ledger = Ledger()
        self._in_order = InOrder(self._ledger.lacks)
        self._forgive_at: float | None = None
        self._replayed_at = -math.inf
        """Loop time of the last samples that were sent again."""
        self._unnumbered = UnnumberedLedger()
        self._on_position = on_position
        self._on_last = on_last
        self._on_clock_step = on_clock_step
        self._clock_step: ClockStep | None = None
        """The newest one that was told."""
        self._last: tuple[int, int] | None = None
        """(epoch, position) at which the phone says that its microphone stopped; None once that is handed on."""
        self._told: tuple[int, int, Holes] | None = None
        self._lost = 0
        """Samples that never came, as far as the phone was told."""
        self._ledger_timer: asyncio.TimerHandle | None = None
        self._ack_timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def position(self) -> tuple[int, int] | None:
        """(epoch, position) before which all is delivered or given up; None before any numbered frame."""
        return self._ledger.acknowledged

    @property
    def catches_up(self) -> bool:
        """What is handed on now was said some time ago, or waits for what was."""
        return self._in_order.holding or self._loop.time() - self._replayed_at < REPLAYING

    def accounts(self) -> tuple[Account, Account]:
        """What became of the numbered and of the unnumbered audio."""
        return self._ledger.account(), self._unnumbered.account()

    def blame(self, hop: diagnosis.Hop, code: str) -> None:
        """Books samples that turn out to be lost to this hop, until it is forgiven."""
        if (where := _WHERE.get(hop)) is not None:
            self._ledger.lost_as = Fate(Kind.LOST, code, where)
            self._forgive_at = None

    def forgive(self) -> None:
        """Audio is back: what comes from now on shows what was lost, and then nobody is to blame."""
        if self._ledger.lost_as is not NEVER_CAME and self._forgive_at is None:
            self._forgive_at = self._loop.time() + FORGIVEN_AFTER

    def take_plain(self, pcm: bytes) -> None:
        """Whole samples without a number."""
        if pcm:
            self._unnumbered.receive(len(pcm) // BYTES_PER_SAMPLE)
            _delivered.count += 1
            _live.count += len(pcm) / BYTES_PER_SECOND
            self._give(pcm, self.listeners)

    def take_numbered(self, number: FrameNumber, pcm: bytes) -> None:
        """A numbered frame, with samples or without."""
        now = self._loop.time()
        if self._forgive_at is not None and now >= self._forgive_at:
            self._ledger.lost_as, self._forgive_at = NEVER_CAME, None
        deliveries = self._ledger.receive(
            number.epoch,
            number.position,
            number.capture_time_us,
            pcm,
            now=now,
            replayed=number.replayed,
            last=number.last,
        )
        step = self._ledger.clock_step
        if step is not None and step != self._clock_step:
            self._clock_step = step
            self._on_clock_step(step)
        self._hand_on(self._in_order.begin(number.epoch, number.position), live=False)
        if number.replayed and pcm:
            self._in_order.replayed()
            self._replayed_at = now
        if not number.replayed:
            for delivery in deliveries:
                _aged(delivery.age)
        self._deliver(deliveries, now)
        if number.last:
            self._last = number.epoch, number.position + len(pcm) // BYTES_PER_SAMPLE
        self._settle()

    def reached(self, *, numbered: bool) -> None:
        """The phone has a new socket; one that numbers its audio can be asked to send again what never came."""
        self._in_order.fills = numbered
        self._told = None
        if self._ack_timer is None:
            self._acknowledge()

    def close(self) -> None:
        """Hands on what still waited; nothing comes after this."""
        for timer in (self._ledger_timer, self._ack_timer):
            if timer is not None:
                timer.cancel()
        now = self._loop.time()
        self._deliver(self._ledger.finish(now), now)
        self._hand_on(self._in_order.flush(), live=False)

    def _deliver(self, deliveries: list[Delivery], now: float) -> None:
        for delivery in deliveries:
            _delivered.count += 1
            (_live if delivery.live else _late).count += len(delivery.pcm) / BYTES_PER_SECOND
            if delivery.live:
                self._hand_on([delivery], live=True)
            self._hand_on(self._in_order.take(delivery, now), live=False)

    def _hand_on(self, deliveries: list[Delivery], *, live: bool) -> None:
        """To those who want freshness, or to those who want completeness."""
        for delivery in deliveries:
            self._give(delivery.pcm, [listener for listener in self.listeners if listener.wants_late is not live])

    def _give(self, pcm: bytes, listeners: list[Listener]) -> None:
        self.heard_at = self._loop.time()
        for listener in listeners:
            listener.put(pcm)

    def _tick(self) -> None:
        self._ledger_timer = None
        now = self._loop.time()
        self._deliver(self._ledger.tick(now), now)
        self._hand_on(self._in_order.tick(now), live=False)
        self._settle()

    def _settle(self) -> None:
        """After each change of the ledger: its timer, the acknowledgement, the end of speech."""
        deadlines = (self._ledger.next_deadline(), self._in_order.next_deadline())
        deadline = min((at for at in deadlines if at is not None), default=None)
        if self._ledger_timer is not None:
            self._ledger_timer.cancel()
        self._ledger_timer = None if deadline is None else self._loop.call_at(deadline, self._tick)
        lost, self._lost = self._lost, self._ledger.lost
        if self._lost > lost:
            hop = self._ledger.lost_as.hop or Hop.UNKNOWN
            metrics.AUDIO_LOST.add(hop.value, by=(self._lost - lost) / SAMPLE_RATE)
        if self._ack_timer is None or self._lost > lost:
            self._acknowledge()
        epoch, position = self._ledger.acknowledged or (0, 0)
        all_heard = self._last is not None and epoch == self._last[0] and position >= self._last[1]
        if all_heard and not self._in_order.holding:
            self._last = None
            self._acknowledge()
            self._on_last()

    def _acknowledge(self) -> None:
        if self._ack_timer is not None:
            self._ack_timer.cancel()
        self._ack_timer = None
        position = self._ledger.acknowledged
        if position is None:
            return
        news = (*position, self._ledger.missing)
        if news != self._told:
            self._told = news
            self._on_position(*news)
            self._ack_timer = self._loop.call_later(ACK_EVERY, self._acknowledge)
