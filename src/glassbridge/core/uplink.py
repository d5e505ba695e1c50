"""The ledger of a phone's microphone: the fate of each sample (docs/numbered-audio.md).

What it decides
- Positions count captured samples; they stand still while the microphone is off. So a hole in them was captured and
  has not come, and a presence frame, which carries the position that the next sample will have, makes a hole at the
  end known.
- In order at once; early samples wait REORDER_WAIT at most, then the hole before it is lost and the ledger
  goes on. A hole that is filled later becomes late. Overlaps and repetitions deliver each sample once.
- Live or late: by age, the time from the capture of a frame's last sample until now, less that of the quickest frame;
  how far the phone's clock is believed there is core/capture_clock.py's.
  Replayed frames, holes filled later and frames of a former epoch are never live.
- Lost or skipped: the capture clock tells. A hole can hold only as many lost samples as there was time to capture;
  samples beyond that were never captured: the phone skipped them. The other way round, time that passes without
  positions is a pause (microphone off, or silence that is not sent). What another backend got meanwhile, as the phone
  says, is skipped too.

What it does not know: frames as bytes, sockets, clocks. Time is an argument, monotonic seconds. The owner of a ledger
hands on what `receive` and `tick` return, in that order, and calls `tick` at `next_deadline`.
"""

from bisect import insort_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice, takewhile
from math import inf
from operator import attrgetter

from glassbridge.core.capture_clock import STEP, CaptureClock
from glassbridge.core.intervals import Run, Runs
from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE

REORDER_WAIT = 0.2
"""Seconds that a frame waits for what should have come before it."""
AGE_LIMIT = 0.5
"""Seconds beyond which audio is not live any more."""
WAITING_SAMPLES = 10 * SAMPLE_RATE
WAITING_FRAMES = 1_000
"""Bounds of what waits; beyond either the first hole is given up at once."""
HISTORY = 120 * SAMPLE_RATE
"""Samples for which the ledger knows each interval; a phone replays at most 90 s. Older ones stay in the totals."""
HISTORY_RUNS = 6_000
"""Intervals that are known: of frames of 20 ms each second one may be lost."""
REPLAYABLE = 90 * SAMPLE_RATE
"""Samples that a phone keeps in order to send them again."""
MISSING_RUNS = 32
"""Holes that are asked for at a time, the newest ones."""
EPOCHS = 4
"""Epochs that are kept; the totals of older ones stay."""
PAUSE = 0.1
"""Seconds without positions that are a pause."""


class LossPoint(Enum):
    """Where on the way audio was lost."""

    PHONE = "phone"
    ROOM = "room"
    BRIDGE = "bridge"
    STREAM = "stream"
    SOCKET = "socket"
    UNKNOWN = "unknown"


class FateKind(Enum):
    """What can become of a sample."""

    LIVE = "live"
    LATE = "late"
    LOST = "lost"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Fate:
    """The fate of some samples; `reason` and `hop` say more where they are lost, `reason` also where they were
    coded."""

    kind: FateKind
    reason: str = ""
    hop: LossPoint | None = None


LIVE, LATE, SKIPPED = Fate(FateKind.LIVE), Fate(FateKind.LATE), Fate(FateKind.SKIPPED)
CODED = "coded"
"""Reason of samples that were delivered, but not bit for bit: they were coded on the way."""
LIVE_CODED, LATE_CODED = Fate(FateKind.LIVE, CODED), Fate(FateKind.LATE, CODED)
ELSEWHERE = Fate(FateKind.SKIPPED, "another_backend", LossPoint.PHONE)
"""The phone reports that it has dropped these samples: another cloud has acknowledged them meanwhile."""
FORMER_OWNER = Fate(FateKind.LIVE, "former_owner")
"""Another cloud delivered these samples in this session."""
NEVER_CAME = Fate(FateKind.LOST, "never_came", LossPoint.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Delivery:
    """Samples to hand on. Each position is delivered once."""

    epoch: int
    position: int
    pcm: bytes
    live: bool
    """False: late, for those who want completeness. In order unless it fills a hole that was given up."""
    age: float
    """Seconds by which its way took longer than that of the quickest frame so far."""


@dataclass(frozen=True, slots=True)
class EpochAccount:
    """The fate of the positions [first, end) of one epoch, in samples; the four fates add up to end - first."""

    epoch: int
    first: int
    end: int
    """Everything before is delivered or given up: the acknowledged position."""
    live: int
    late: int
    lost: int
    skipped: int
    waiting: int
    """Samples after `end` that wait for a hole."""
    repeated: int
    """Samples that came again, or longer ago than the ledger remembers, and were dropped."""
    paused: float
    """Seconds in which capture stood still."""
    microphone_off: bool
    """The phone said that this is the end until the microphone is on again."""
    clock_steps: int
    """How often the capture clock has stepped."""
    runs: tuple[Run[Fate], ...]
    """Each interval of the last HISTORY samples."""
    coded: int = 0
    """Samples of those delivered that were coded on the way; the others are bit for bit what was captured."""


@dataclass(frozen=True, slots=True)
class Account:
    """The fate of a phone's audio, in samples. None means unknown: unnumbered audio cannot tell."""

    numbered: bool
    frames: int
    live: int
    late: int
    lost: int | None
    skipped: int | None
    repeated: int | None
    epochs: tuple[EpochAccount, ...] = ()
    """The newest last."""
    missing_frames: int | None = None
    """Unnumbered audio with the original's 1-byte counter: frames that did not come, at least."""

    @property
    def delivered(self) -> int:
        return self.live + self.late


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame on its way into the account; a presence frame has no samples."""

    position: int
    pcm: bytes
    captured: float
    """Seconds on the phone's clock at which `position` was captured."""
    replayed: bool
    deadline: float
    """Until when it waits for what is missing before it."""
    coded: bool = False

    @property
    def stop(self) -> int:
        return self.position + len(self.pcm) // BYTES_PER_SAMPLE

    @property
    def seconds(self) -> float:
        return (self.stop - self.position) / SAMPLE_RATE

    @property
    def captured_stop(self) -> float:
        return self.captured + self.seconds

    def part(self, start: int, stop: int) -> "_Frame":
        if (start, stop) == (self.position, self.stop):
            return self
        skip = start - self.position
        pcm = self.pcm[skip * BYTES_PER_SAMPLE : (stop - self.position) * BYTES_PER_SAMPLE]
        return replace(self, position=start, pcm=pcm, captured=self.captured + skip / SAMPLE_RATE)


@dataclass(frozen=True, slots=True)
class ClockStep:
    """The capture clock of an epoch has stepped."""

    epoch: int
    number: int
    """Of this step, from 1 on."""
    seconds: float
    """Negative: back."""


class _Epoch:
    """One epoch: a partition of what is settled, and the frames that wait behind its end."""

    __slots__ = (
        "captured_end", "captured_first", "clock", "epoch", "microphone_off", "paused", "repeated", "runs",
        "superseded", "waiting",
    )  # fmt: skip

    def __init__(self, epoch: int, first: _Frame) -> None:
        self.epoch = epoch
        self.runs: Runs[Fate] = Runs(first.position)
        self.waiting: list[_Frame] = []
        self.captured_first = self.captured_end = first.captured
        self.clock = CaptureClock()
        self.repeated = 0
        self.paused = 0.0
        self.microphone_off = False
        self.superseded = False

    def receive(self, frame: _Frame, now: float, lost: Fate) -> list[Delivery]:
        if frame.pcm and not frame.replayed:
            self.clock.note(frame.captured_stop, now, AGE_LIMIT)
        elif not frame.pcm:
            self.clock.note_presence(frame.captured, now)
        end = self.runs.stop
        out = self._fill(frame, min(frame.stop, end), now) if frame.position < end else []
        if frame.stop > end or frame.position == end:
            # A repetition replaces a waiting first copy: it was decoded in order meanwhile.
            insort_left(self.waiting, frame.part(max(frame.position, end), frame.stop), key=attrgetter("position"))
            out += self.release(now, lost)
            while len(self.waiting) > WAITING_FRAMES or self.waiting_samples > WAITING_SAMPLES:
                self._give_up(self.waiting[0], lost)
                out += self.release(now, lost)
        return out

    def skip_to(self, frame: _Frame) -> None:
        if frame.position > self.runs.stop:
            self.runs.append(frame.position, ELSEWHERE)
            self.captured_end = frame.captured

    def release(self, now: float, lost: Fate, *, wait: bool = True) -> list[Delivery]:
        """What is in order, or has waited long enough (or need not wait)."""
        out: list[Delivery] = []
        while self.waiting:
            frame, end = self.waiting[0], self.runs.stop
            if frame.position > end:
                if wait and now < self.deadline():
                    break
                self._give_up(frame, lost)
                end = frame.position
            del self.waiting[0]
            self.repeated += min(frame.stop, end) - frame.position
            if frame.stop > end or frame.position == end:
                frame = frame.part(end, frame.stop)
                self._pass_time(frame)
                if frame.pcm:
                    out.append(self._deliver(frame, now))
        self.runs.forget(self.runs.stop - HISTORY)
        while len(self.runs) > HISTORY_RUNS:
            self.runs.forget(next(iter(self.runs)).stop)
        return out

    def deadline(self) -> float:
        return min((frame.deadline for frame in self.waiting), default=inf)

    @property
    def waiting_samples(self) -> int:
        return sum(frame.stop - frame.position for frame in self.waiting)

    def _give_up(self, frame: _Frame, lost: Fate) -> None:
        """Settles the hole between the end and a frame after it."""
        missing = _capturable(frame.position - self.runs.stop, frame.captured - self.captured_end)
        self.captured_end += missing / SAMPLE_RATE
        self.runs.append(self.runs.stop + missing, lost)
        self.runs.append(frame.position, SKIPPED)

    def _pass_time(self, frame: _Frame) -> None:
        """Capture goes on with this frame; time without positions before it was a pause."""
        pause = frame.captured - self.captured_end
        if pause > PAUSE:
            self.paused += pause
        self.captured_end = frame.captured_stop

    def _deliver(self, frame: _Frame, now: float) -> Delivery:
        age = self.clock.age(frame.captured_stop, now)
        live = age <= AGE_LIMIT and not frame.replayed and not self.superseded
        self.runs.append(frame.stop, (LIVE_CODED if live else LATE_CODED) if frame.coded else LIVE if live else LATE)
        return Delivery(self.epoch, frame.position, frame.pcm, live, age)

    def _fill(self, frame: _Frame, stop: int, now: float) -> list[Delivery]:
        """What of [frame.position, stop), all before the end, was missing: it is late, whatever its age."""
        if frame.position < self.runs.start == self.runs.kept_from:
            self._begin_earlier(frame.part(frame.position, min(stop, self.runs.start)))
        holes = [
            run for run in self.runs.within(frame.position, stop) if run.label.kind in (FateKind.LOST, FateKind.SKIPPED)
        ]
        for run in holes:
            self.runs.relabel(run.start, run.stop, LATE_CODED if frame.coded else LATE)
        self.repeated += stop - frame.position - sum(run.stop - run.start for run in holes)
        age = self.clock.age(frame.captured_stop, now)
        return [
            Delivery(self.epoch, start, frame.part(start, end).pcm, live=False, age=age)
            for start, end in _joined(holes)
        ]

    def _begin_earlier(self, frame: _Frame) -> None:
        """Moves the first position back to this frame: itself a hole to be filled, with what is between."""
        between = self.runs.start - frame.stop
        missing = _capturable(between, self.captured_first - frame.captured_stop)
        self.runs.prepend(self.runs.start - (between - missing), SKIPPED)
        self.runs.prepend(frame.position, NEVER_CAME)
        self.captured_first = frame.captured

    def lost(self, start: int, stop: int) -> list[Run[Fate]]:
        return [run for run in self.runs.within(start, stop) if run.label.kind is FateKind.LOST]

    def newest_lost(self, since: int) -> list[tuple[int, int]]:
        """The MISSING_RUNS newest stretches that were lost from this position on, the oldest first. It looks from the
        end: of thousands of holes a phone is told of these."""
        recent = takewhile(lambda run: run.stop > since, reversed(self.runs))
        newest = islice(_joined(run for run in recent if run.label.kind is FateKind.LOST), MISSING_RUNS)
        return [(max(start, since), stop) for start, stop in newest][::-1]

    def wants(self, start: int, stop: int) -> bool:
        if start < self.runs.stop:
            settled = self.runs.within(start, min(stop, self.runs.stop))
            if start < self.runs.start or any(run.label.kind in (FateKind.LOST, FateKind.SKIPPED) for run in settled):
                return True
            start = self.runs.stop
        for frame in self.waiting:
            if frame.position > start:
                break
            start = max(start, frame.stop)
        return start < stop

    def gaps(self) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        at = self.runs.stop
        for frame in self.waiting:
            if frame.position > at:
                found.append((at, frame.position))
            at = max(at, frame.stop)
        return found[:MISSING_RUNS]

    def account(self) -> EpochAccount:
        count = _by_kind(self.runs.totals)
        return EpochAccount(
            epoch=self.epoch,
            first=self.runs.start,
            end=self.runs.stop,
            live=count[FateKind.LIVE],
            late=count[FateKind.LATE],
            lost=count[FateKind.LOST],
            skipped=count[FateKind.SKIPPED],
            waiting=self.waiting_samples,
            repeated=self.repeated,
            paused=self.paused,
            microphone_off=self.microphone_off,
            clock_steps=self.clock.steps,
            runs=tuple(self.runs),
            coded=self.runs.totals[LIVE_CODED] + self.runs.totals[LATE_CODED],
        )


class Ledger:
    """The account of one phone's numbered audio, over all its epochs."""

    __slots__ = ("_epochs", "_frames", "_past", "_past_repeated", "lost_as")

    def __init__(self) -> None:
        self.lost_as = NEVER_CAME
        """How holes that are given up from now on are booked; set by the caller that knows the dead hop."""
        self._epochs: dict[int, _Epoch] = {}
        self._frames = 0
        self._past: Counter[FateKind] = Counter()
        self._past_repeated = 0

    def receive(
        self,
        epoch: int,
        position: int,
        capture_time_us: int,
        pcm: bytes,
        *,
        now: float,
        replayed: bool = False,
        last: bool = False,
        coded: bool = False,
    ) -> list[Delivery]:
        """One frame; `pcm` holds whole samples and is empty for a presence frame. Returns what is to be handed on.

        A presence frame that is marked as replayed says that nothing before its position will be sent (again).
        """
        self._frames += 1
        frame = _Frame(position, pcm, capture_time_us / 1e6, replayed, now + REORDER_WAIT, coded)
        out: list[Delivery] = []
        if epoch not in self._epochs:
            out = self._begin(epoch, frame, now)
        book = self._epochs[epoch]
        if not replayed:
            frame = replace(frame, captured=book.clock.correct(position, frame.captured, frame.seconds))
            book.clock.passed(frame.stop)
        if replayed and not pcm:
            book.skip_to(frame)
        elif frame.stop >= book.runs.stop:
            book.microphone_off = last
        return out + book.receive(frame, now, self.lost_as)

    def age(self, epoch: int, capture_time_us: int, now: float) -> float:
        """Seconds since this time of the phone's clock, beyond the quickest frame so far. The epoch has begun."""
        clock = self._epochs[epoch].clock
        return clock.age(clock.correct(0, capture_time_us / 1e6, 0.0), now)

    def tick(self, now: float) -> list[Delivery]:
        """Gives up what has waited long enough."""
        return [item for book in self._epochs.values() for item in book.release(now, self.lost_as)]

    def next_deadline(self) -> float | None:
        """When `tick` is due; None while nothing waits."""
        deadline = min((book.deadline() for book in self._epochs.values()), default=inf)
        return None if deadline == inf else deadline

    def finish(self, now: float) -> list[Delivery]:
        """Gives up all holes: nothing more will come."""
        return [item for book in self._epochs.values() for item in book.release(now, self.lost_as, wait=False)]

    @property
    def acknowledged(self) -> tuple[int, int] | None:
        """(epoch, position) of the newest epoch: everything before is delivered or given up. None before any frame."""
        if not self._epochs:
            return None
        book = next(reversed(self._epochs.values()))
        return book.epoch, book.runs.stop

    @property
    def captured_end(self) -> float:
        """Seconds on the phone's clock at which the acknowledged position was captured; 0 before any frame."""
        book = next(reversed(self._epochs.values()), None)
        return 0.0 if book is None else book.captured_end

    def take_over(self, epoch: int, position: int, captured: float, missing: Iterable[tuple[int, int]]) -> None:
        """What another ledger knew of this phone; comes before any frame. What it had is not delivered again, what it
        missed still is."""
        book = self._epochs[epoch] = _Epoch(epoch, _Frame(0, b"", captured, replayed=False, deadline=0.0))
        for start, stop in missing:
            book.runs.append(min(start, position), FORMER_OWNER)
            book.runs.append(min(stop, position), NEVER_CAME)
        book.runs.append(position, FORMER_OWNER)
        book.runs.forget(position - HISTORY)

    @property
    def lost(self) -> int:
        """Samples of the newest epoch that never came."""
        book = next(reversed(self._epochs.values()), None)
        return 0 if book is None else sum(many for fate, many in book.runs.totals.items() if fate.kind is FateKind.LOST)

    @property
    def clock_step(self) -> ClockStep | None:
        """The newest step of the newest epoch's capture clock; None while it never did."""
        book = next(reversed(self._epochs.values()), None)
        return (
            None
            if book is None or not book.clock.steps
            else ClockStep(book.epoch, book.clock.steps, book.clock.last_step)
        )

    @property
    def missing(self) -> tuple[tuple[int, int], ...]:
        """The stretches of the newest epoch that never came and that the phone may still have, the oldest first."""
        if not self.lost:
            return ()
        book = next(reversed(self._epochs.values()))
        return tuple(book.newest_lost(book.runs.stop - REPLAYABLE))

    def wants(self, epoch: int, start: int, stop: int) -> bool:
        """Something of [start, stop) was not delivered, and does not wait either."""
        book = self._epochs.get(epoch)
        return book is None or book.wants(start, stop)

    def settled(self, epoch: int) -> int:
        """The position before which all of this epoch is delivered or given up; 0 while nothing is."""
        book = self._epochs.get(epoch)
        return 0 if book is None else book.runs.stop

    @property
    def gaps(self) -> tuple[tuple[int, int], ...]:
        """The stretches of the newest epoch that are missing before what waits, and not given up yet."""
        book = next(reversed(self._epochs.values()), None)
        return () if book is None else tuple(book.gaps())

    def lacks(self, epoch: int, start: int, stop: int) -> int:
        """Samples of [start, stop) that were captured and have not come."""
        book = self._epochs.get(epoch)
        return 0 if book is None else sum(run.stop - run.start for run in book.lost(start, stop))

    def account(self) -> Account:
        """A snapshot."""
        epochs = tuple(book.account() for book in self._epochs.values())
        return Account(
            numbered=True,
            frames=self._frames,
            live=self._past[FateKind.LIVE] + sum(epoch.live for epoch in epochs),
            late=self._past[FateKind.LATE] + sum(epoch.late for epoch in epochs),
            lost=self._past[FateKind.LOST] + sum(epoch.lost for epoch in epochs),
            skipped=self._past[FateKind.SKIPPED] + sum(epoch.skipped for epoch in epochs),
            repeated=self._past_repeated + sum(epoch.repeated for epoch in epochs),
            epochs=epochs,
        )

    def _begin(self, epoch: int, frame: _Frame, now: float) -> list[Delivery]:
        for book in self._epochs.values():
            book.superseded = True
        self._epochs[epoch] = _Epoch(epoch, frame)
        if len(self._epochs) <= EPOCHS:
            return []
        oldest = self._epochs.pop(next(iter(self._epochs)))
        rest = oldest.release(now, self.lost_as, wait=False)
        self._past += _by_kind(oldest.runs.totals)
        self._past_repeated += oldest.repeated
        return rest


class UnnumberedLedger:
    """The account of audio without numbers: counts what came, and does not claim more."""

    __slots__ = ("_counter", "_frames", "_missing", "_samples")

    def __init__(self) -> None:
        self._frames = 0
        self._samples = 0
        self._missing: int | None = None
        self._counter: int | None = None

    def receive(self, samples: int, counter: int | None = None) -> None:
        """One frame of so many samples; `counter` is the original's rolling byte where the packet has one."""
        self._frames += 1
        self._samples += samples
        if counter is None:
            return
        if self._counter is None:
            self._missing = 0
        elif self._missing is not None:
            step = (counter - self._counter) % 256
            if step >= 128:  # came out of order: it had been counted as missing
                self._missing = max(0, self._missing - 1)
                return
            self._missing += max(0, step - 1)
        self._counter = counter

    def account(self) -> Account:
        """A snapshot; lost samples are unknown, missing frames are a lower bound (a byte counts only to 255)."""
        return Account(
            numbered=False,
            frames=self._frames,
            live=self._samples,
            late=0,
            lost=None,
            skipped=None,
            repeated=None,
            missing_frames=self._missing,
        )


def _capturable(samples: int, seconds: float) -> int:
    """How many of so many missing samples there was time to capture; the stamps may be wrong by STEP."""
    return max(0, min(samples, int((seconds + STEP) * SAMPLE_RATE)))


def _joined(runs: Iterable[Run[Fate]]) -> Iterator[tuple[int, int]]:
    """Adjacent runs as one interval, in the order of the runs: forwards or backwards."""
    joined: tuple[int, int] | None = None
    for start, stop, _ in runs:
        if joined is not None and start == joined[1]:
            joined = joined[0], stop
        elif joined is not None and stop == joined[0]:
            joined = start, joined[1]
        else:
            if joined is not None:
                yield joined
            joined = start, stop
    if joined is not None:
        yield joined


def _by_kind(totals: Mapping[Fate, int]) -> Counter[FateKind]:
    count: Counter[FateKind] = Counter()
    for fate, samples in totals.items():
        count[fate.kind] += samples
    return count
