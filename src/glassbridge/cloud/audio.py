"""The microphone of one session: frames from every path come in here, and what is to be heard goes out to listeners.

Numbered frames go through the ledger (core/uplink.py); samples without numbers go straight on, an odd byte carried to
the next frame of the same way. Listeners that want freshness get live audio as it comes; those that want completeness
get everything in order, and wait for samples that the phone sends again (core/in_order.py). Audio that comes even later
goes, with its place, to the listener that recognises speech. Each listener has a queue of its own, so a slow one does
not disturb the others.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import structlog

from glassbridge.cloud.decoding import OpusFrames, Stretch
from glassbridge.core import diagnosis
from glassbridge.core.allowance import Bucket, Rate
from glassbridge.core.freshness import LATE, Freshness
from glassbridge.core.in_order import END_PATIENCE, Fill, Hole, InOrder
from glassbridge.core.link_events import AudioRoute
from glassbridge.core.uplink import (
    MISSING_RUNS,
    NEVER_CAME,
    Account,
    ClockStep,
    Delivery,
    Fate,
    FateKind,
    Ledger,
    LossPoint,
    UnnumberedLedger,
)
from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE
from glassbridge.runtime.timer import Timer
from glassbridge.telemetry import metrics
from glassbridge.wire.audio_frames import CODING_OPUS, FrameError, FrameNumber

log = structlog.get_logger()

ACK_EVERY = 1.0
"""Seconds between acknowledgements while the position moves."""
ACK_SOON = 0.25
"""The same while the link is new or in trouble: the phone measures by them."""
ACK_FIRST, FIRST = 0.1, 1.5
"""The same in the first seconds of audio after a new socket, and how many these are."""
WATCHED = 5.0
"""Seconds after the last sign of trouble, or after a new socket, in which they come so often."""
TROUBLE = 0.25
"""Seconds by which audio may be late before that is a sign of trouble."""
NACK_AFTER = 0.03
"""Seconds that a frame may be late before the phone is told that it is missing."""

Holes = tuple[tuple[int, int], ...]
"""Stretches [start, stop) of positions."""
REPLAYING = 2.0
"""Seconds after something was sent again in which more of it may come."""
MOST_POSITION = 1 << 53
"""Positions that JSON carries exactly, to phones in JavaScript too; 17,000 years."""
OPUS_PACKETS = Rate(1_600, 9_000)
"""That are decoded each second, and at once: 32 times real time, and twice what a phone keeps. Bytes do not tell the
work, as a packet may have one: a thousand frames of fifty a second took a whole processor."""
LATELY = 2.0
"""Seconds without samples after which the user counts as silent."""
BESIDE = 1.0
"""Seconds after numbered samples in which silence without numbers is no pause between words."""
STILL = 4
"""The loudest sample of decoded silence."""
FORGIVEN_AFTER = 1.0
"""Seconds of audio after which holes are not booked to the former fault any more."""
_WHERE = {
    diagnosis.Hop.PHONE: LossPoint.PHONE,
    diagnosis.Hop.LIVEKIT: LossPoint.ROOM,
    diagnosis.Hop.BRIDGE: LossPoint.BRIDGE,
    diagnosis.Hop.STREAM: LossPoint.STREAM,
}


_delivered = metrics.FRAMES_DELIVERED.cell("cloud")
_live = metrics.AUDIO_DELIVERED.cell("live")
_late = metrics.AUDIO_DELIVERED.cell("late")
_aged = metrics.AUDIO_AGE.observer("cloud")
BYTES_PER_SECOND = SAMPLE_RATE * BYTES_PER_SAMPLE


class Listener(Protocol):
    """A listener of the microphone."""

    @property
    def wants_late(self) -> bool:
        """True: completeness counts (recogniser, recording). False: freshness (raw audio to apps)."""

    def put(self, pcm: bytes) -> None:
        """Takes whole samples into a bounded queue; never waits."""


class Understands(Protocol):
    """A listener that gets everything in order, and late audio with its place."""

    def put(self, pcm: bytes) -> None:
        """Takes whole samples, the next ones; never waits."""

    def give_up(self, hole: Hole) -> None:
        """What follows lies after a hole."""

    def miss(self, hole: Hole, before: int) -> None:
        """A hole that the former owner has left, so many samples before what comes next."""

    def fill(self, late: Fill) -> None:
        """Takes something of a hole, or of one that is not known any more."""


class OddByte:
    """Makes whole samples of chunks that may end within one; one for each way that carries a stream of bytes."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def whole(self, chunk: bytes) -> bytes:
        """The whole samples so far; an odd byte stays for the next chunk."""
        data = self._rest + chunk if self._rest else chunk
        cut = len(data) - len(data) % BYTES_PER_SAMPLE
        self._rest = data[cut:]
        return data[:cut]


@dataclass(frozen=True, slots=True)
class AudioProgress:
    """What a phone is told of its numbered audio."""

    epoch: int
    position: int
    """Everything before is delivered or given up."""
    missing: Holes
    """Samples that have not come and the phone may still have; the newest ones may be on their way."""
    lost: int
    """Samples before `position` that were given up and have not come since."""
    arrived: Mapping[AudioRoute, "Arrived"]


@dataclass(frozen=True, slots=True)
class Arrived:
    """What one route brought."""

    frames: int = 0
    """With new samples, so far."""
    stop: int = 0
    """The position after the newest of them."""
    late: float = math.inf
    """Seconds by which the quickest of them since the last report was slower than the quickest of all."""


def _ignored(_number: FrameNumber) -> None:
    """The default of `Microphone.on_presence`."""


class Microphone:
    """Owned by one session.

    `on_progress` hears what arrived, once a second while that moves, and at once what is missing; `on_last` that
    everything until the microphone stopped has been handed on (numbered audio only); `on_slow` by how many seconds
    audio is late, once that lasts, and None when it is fresh again; `on_clock_step` of each step of the phone's clock.
    """

    __slots__ = (
        "_ack_timer", "_acknowledged_at", "_arrived", "_arrived_epoch", "_began_at", "_clock_step", "_ending",
        "_filled_at", "_forgive_at", "_freshness", "_gaps", "_in_order", "_last", "_ledger",
        "_ledger_timer", "_loop", "_lost", "_numbered_at", "_on_clock_step", "_on_last", "_on_progress", "_on_slow",
        "_opus", "_quickest", "_replayed_at", "_told", "_understands", "_unfilled", "_unnumbered",
        "_watched_until", "heard_at", "listeners", "on_presence",
    )  # fmt: skip
    """With so many attributes each instance would have a dictionary that it shares with none: 1.3 KB more."""

    def __init__(
        self,
        on_progress: Callable[[AudioProgress], None],
        on_last: Callable[[], None],
        on_slow: Callable[[float | None], None] = lambda _: None,
        on_clock_step: Callable[[ClockStep], None] = lambda _: None,
        understands: Callable[[], Understands] | None = None,
    ) -> None:
        """`understands` finds the one that does, when there is something to understand."""
        self.listeners: list[Listener] = []
        self._understands = understands
        self.heard_at: float | None = None
        """Loop time of the last samples that were handed on; None before any."""
        self._ledger = Ledger()
        self._in_order = InOrder(self._ledger.lacks)
        self._forgive_at: float | None = None
        self._replayed_at = -math.inf
        """Loop time of the last samples that were sent again."""
        self._unnumbered = UnnumberedLedger()
        self._on_progress = on_progress
        self._on_last = on_last
        self._on_clock_step = on_clock_step
        self._clock_step: ClockStep | None = None
        """The newest one that was told."""
        self._on_slow = on_slow
        self._arrived: dict[AudioRoute, Arrived] = {}
        self._arrived_epoch: int | None = None
        self._began_at = 0.0
        """Loop time of the first samples after a new socket; 0: none yet."""
        self._quickest = math.inf
        """Least seconds from capture to arrival in this epoch, the offset of the clocks included."""
        self._watched_until = self._numbered_at = -math.inf
        self._gaps: Holes = ()
        self._freshness = Freshness()
        self._last: tuple[int, int] | None = None
        """(epoch, position) at which the phone says that its microphone stopped; None once that is handed on."""
        self._ending: tuple[int, int] | None = None
        """The same once its end waits in the order."""
        self._unfilled: Holes = ()
        self._filled_at = 0.0
        """What the phone was asked for at the end of speech, and loop time of the last change of that."""
        self._told: AudioProgress | None = None
        self._acknowledged_at = -math.inf
        """Loop time of the last word to the phone."""
        self._lost = 0
        """Samples that never came, as far as the phone was told."""
        self._ledger_timer = Timer(self._tick)
        self._ack_timer = Timer(self._acknowledge)
        self.on_presence: Callable[[FrameNumber], None] = _ignored
        """Hears that the phone is silent and here, and that nothing is missing before that."""
        self._loop = asyncio.get_running_loop()
        loop, packets = self._loop, Bucket(OPUS_PACKETS, self._loop.time())
        self._opus = OpusFrames(self._ledger.wants, self._ledger.settled, lambda: packets.take(loop.time()))

    @property
    def position(self) -> tuple[int, int] | None:
        """(epoch, position) before which all is delivered or given up; None before any numbered frame."""
        return self._ledger.acknowledged

    @property
    def heard_lately(self) -> bool:
        """Samples were handed on in the last LATELY seconds."""
        return self.heard_at is not None and self._loop.time() - self.heard_at < LATELY

    @property
    def catches_up(self) -> bool:
        """Whether the audio passed on now was spoken some time ago, or waits for such audio."""
        return self._in_order.holding or self._loop.time() - self._replayed_at < REPLAYING

    def ahead_ms(self, epoch: int, position: int) -> int:
        """Milliseconds that have yet to be handed on in order before this position."""
        return self._in_order.ahead(epoch, position) * 1000 // SAMPLE_RATE

    def accounts(self) -> tuple[Account, Account]:
        """The fate of the numbered and of the unnumbered audio."""
        return self._ledger.account(), self._unnumbered.account()

    def handed_over(self) -> tuple[int, int, int, tuple[tuple[int, int], ...]] | None:
        """For the next owner of the user: epoch, position, microseconds of the phone's clock, and what never came; None
        before any numbered frame."""
        position = self._ledger.acknowledged
        return None if position is None else (*position, round(self._ledger.captured_end * 1e6), self._ledger.missing)

    def take_over(self, epoch: int, position: int, captured_us: int, missing: Holes) -> None:
        """Goes on from where the former owner was; called before any frame. Its audio is not heard again."""
        self._ledger.take_over(epoch, position, captured_us / 1e6, missing)
        self._lost = self._ledger.lost
        for hole in self._in_order.take_over(epoch, position, missing):
            if self._understands is not None:
                self._understands().miss(hole, position - hole.start)

    def blame(self, hop: diagnosis.Hop, code: str) -> None:
        """Books samples that turn out to be lost to this hop, until it is forgiven."""
        if (where := _WHERE.get(hop)) is not None:
            self._ledger.lost_as = Fate(FateKind.LOST, code, where)
            self._forgive_at = None

    def forgive(self) -> None:
        """Audio is back: what comes next shows how much was lost; later holes have another cause."""
        if self._ledger.lost_as is not NEVER_CAME and self._forgive_at is None:
            self._forgive_at = self._loop.time() + FORGIVEN_AFTER

    def take_plain(self, pcm: bytes) -> None:
        """Whole samples without a number."""
        if pcm and not self._is_beside(pcm):
            self._unnumbered.receive(len(pcm) // BYTES_PER_SAMPLE)
            _delivered.count += 1
            _live.count += len(pcm) / BYTES_PER_SECOND
            if self._understands is not None:
                self._understands().put(pcm)
            self._give(pcm, self.listeners)

    def _is_beside(self, pcm: bytes) -> bool:
        """Silence of a track whose phone numbers its words now: it proves the track, and belongs into no word."""
        if self._loop.time() - self._numbered_at > BESIDE:
            return False
        return int(np.abs(np.frombuffer(pcm, "<i2").astype(np.int32)).max()) <= STILL

    def take_numbered(self, number: FrameNumber, payload: bytes, route: AudioRoute) -> None:
        """A numbered frame, with samples or without. Raises FrameError: its Opus cannot be decoded, or its position is
        none."""
        if number.position > MOST_POSITION:
            raise FrameError(f"a position is at most {MOST_POSITION}")
        now = self._loop.time()
        if self._forgive_at is not None and now >= self._forgive_at:
            self._ledger.lost_as, self._forgive_at = NEVER_CAME, None
        stretches, stop = self._samples(number, payload)
        self._count(number, stop, route, now)
        for stretch in stretches:
            self._receive(number, stretch, last=number.last and stretch is stretches[-1], now=now)
        step = self._ledger.clock_step
        if step is not None and step != self._clock_step:
            self._clock_step, self._quickest = step, math.inf
            self._on_clock_step(step)
        if stretches and stretches[0].pcm:
            self._numbered_at = now
        if number.replayed and stretches and stretches[0].pcm:
            self._in_order.replayed()
            self._replayed_at = now
        if number.coding == CODING_OPUS:
            self._watched_until = now + WATCHED
        if number.last:
            self._last = number.epoch, stop
        self._settle()
        if number.presence and not number.replayed and self.position == (number.epoch, number.position):
            self.on_presence(number)

    def _samples(self, number: FrameNumber, payload: bytes) -> tuple[list[Stretch], int]:
        """The samples of a frame that are wanted, and the position after its last one."""
        if number.coding != CODING_OPUS or number.presence:
            return (
                [Stretch(number.position, number.capture_time_us, payload)],
                number.position + len(payload) // BYTES_PER_SAMPLE,
            )
        stretches, samples = self._opus.decode(number, payload)
        return stretches, number.position + samples

    def _receive(self, number: FrameNumber, stretch: Stretch, *, last: bool, now: float) -> None:
        deliveries = self._ledger.receive(
            number.epoch,
            stretch.position,
            stretch.captured_us,
            stretch.pcm,
            now=now,
            replayed=number.replayed,
            last=last,
            coded=number.coding == CODING_OPUS,
        )
        begins = number.replayed and number.presence
        self._hand_on(self._in_order.begin(number.epoch, stretch.position, now, told=begins))
        if not number.replayed:
            for delivery in deliveries:
                _aged(delivery.age)
                self._judge_age(delivery.age, now)
            if number.presence and stretch.position <= (self._ledger.acknowledged or (0, 0))[1]:
                self._judge_presence(number, now)
        self._deliver(deliveries, now)

    def _count(self, number: FrameNumber, stop: int, route: AudioRoute, now: float) -> None:
        """Which route brought it: a phone measures its link by that."""
        if number.presence or number.replayed or number.repair:
            return
        if number.epoch != self._arrived_epoch:
            self._arrived_epoch, self._quickest = number.epoch, math.inf
            self._arrived = {known: replace(former, stop=0) for known, former in self._arrived.items()}
        took = now - number.capture_time_us / 1e6 - (stop - number.position) / SAMPLE_RATE
        self._quickest = min(self._quickest, took)
        if not self._began_at:
            self._began_at = now
        former = self._arrived.get(route, Arrived())
        late = min(former.late, took - self._quickest)
        self._arrived[route] = Arrived(former.frames + 1, max(former.stop, stop), late)

    def _judge_age(self, age: float, now: float) -> None:
        if age > TROUBLE:
            self._watched_until = now + WATCHED
        if self._freshness.judge(age, now):
            self._on_slow(age if self._freshness.is_late else None)

    def _judge_presence(self, number: FrameNumber, now: float) -> None:
        """Nothing is late if nothing was captured since. Presence that has overtaken audio on another route is stamped
        with what was not acknowledged yet."""
        if self._ledger.age(number.epoch, number.capture_time_us, now) <= LATE:
            self._judge_age(0.0, now)

    def reached(self, *, numbered: bool) -> None:
        """The phone has a new socket; one that numbers its audio can be asked to send again what never came."""
        self._in_order.fills = numbered
        self._told = None
        self._began_at = 0.0
        now = self._loop.time()
        self._freshness.begin(now)
        self._watched_until = now + 2 * WATCHED
        if self._ack_timer.due is None:
            self._acknowledge()

    def close(self) -> None:
        """Hands on what still waited; nothing comes after this."""
        for timer in (self._ledger_timer, self._ack_timer):
            timer.stop()
        now = self._loop.time()
        self._deliver(self._ledger.finish(now), now)
        self._hand_on(self._in_order.flush())

    def _deliver(self, deliveries: list[Delivery], now: float) -> None:
        for delivery in deliveries:
            _delivered.count += 1
            (_live if delivery.live else _late).count += len(delivery.pcm) / BYTES_PER_SECOND
            if delivery.live and delivery.pcm:
                self._give(delivery.pcm, [listener for listener in self.listeners if not listener.wants_late])
            self._hand_on(self._in_order.take(delivery, now))

    def _hand_on(self, found: list[Delivery | Hole | Fill]) -> None:
        """To those who want completeness."""
        for one in found:
            if self._understands is not None:
                match one:
                    case Hole():
                        self._understands().give_up(one)
                    case Fill():
                        self._understands().fill(one)
                    case Delivery() if one.pcm:
                        self._understands().put(one.pcm)
            if one.pcm:  # else a hole, or the end of speech
                self._give(one.pcm, [listener for listener in self.listeners if listener.wants_late])

    def _give(self, pcm: bytes, listeners: list[Listener]) -> None:
        self.heard_at = self._loop.time()
        for listener in listeners:
            listener.put(pcm)

    def _tick(self) -> None:
        now = self._loop.time()
        self._deliver(self._ledger.tick(now), now)
        self._hand_on(self._in_order.tick(now))
        self._settle()

    def _settle(self) -> None:
        """After each change of the ledger: its timer, the acknowledgement, the end of speech."""
        self._arm()
        lost, self._lost = self._lost, self._ledger.lost
        if self._lost > lost:
            hop = self._ledger.lost_as.hop or LossPoint.UNKNOWN
            metrics.AUDIO_LOST.add(hop.value, by=(self._lost - lost) / SAMPLE_RATE)
        gaps, self._gaps = self._gaps, self._ledger.gaps
        if self._lost > lost or gaps != self._gaps:
            self._watched_until = self._loop.time() + WATCHED
        newly_lost = self._lost > lost
        if self._ack_timer.due is None or (newly_lost and self._loop.time() >= self._acknowledged_at + NACK_AFTER):
            self._acknowledge()
        elif newly_lost or (self._gaps and not gaps):
            self._acknowledge_in(NACK_AFTER)
        self._end_speech()

    def _end_speech(self) -> None:
        """Speech has ended when everything up to its last sample was handed on, or was given up as any other hole is:
        an empty delivery takes its place in the order."""
        epoch, position = self._ledger.acknowledged or (0, 0)
        if self._last is None or epoch != self._last[0] or position < self._last[1]:
            return
        now = self._loop.time()
        if self._ending != self._last:
            self._ending = self._last
            self._hand_on(self._in_order.end(*self._last, now))
        if self._ledger.missing != self._unfilled:
            self._unfilled, self._filled_at = self._ledger.missing, now
        waits = self._in_order.fills and self._unfilled and now < self._filled_at + END_PATIENCE
        if not self._in_order.holding and not waits:
            self._last = self._ending = None
            self._acknowledge()
            self._on_last()
        elif self._ledger_timer.due is None:
            self._ledger_timer.at(self._filled_at + END_PATIENCE)

    def _arm(self) -> None:
        deadlines = (self._ledger.next_deadline(), self._in_order.next_deadline())
        deadline = min((at for at in deadlines if at is not None), default=None)
        if deadline is None:
            self._ledger_timer.stop()
        else:
            self._ledger_timer.at(deadline)

    def _acknowledge_in(self, seconds: float) -> None:
        self._ack_timer.at(self._loop.time() + seconds)

    def _acknowledge(self) -> None:
        self._ack_timer.stop()
        position = self._ledger.acknowledged
        if position is None:
            return
        missing = (*self._ledger.missing, *self._gaps)[-MISSING_RUNS:]
        progress = AudioProgress(*position, missing, self._ledger.lost, dict(self._arrived))
        if progress != self._told:
            self._told, self._acknowledged_at = progress, self._loop.time()
            self._arrived = {route: replace(arrived, late=math.inf) for route, arrived in self._arrived.items()}
            self._on_progress(progress)
            self._acknowledge_in(self._pace())

    def _pace(self) -> float:
        now = self._loop.time()
        if self._arrived and now - self._began_at < FIRST:
            return ACK_FIRST
        return ACK_SOON if now < self._watched_until else ACK_EVERY
