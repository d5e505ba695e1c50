"""The microphone's side of numbered audio: numbers what is captured and keeps it until it is acknowledged."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import cycle, takewhile

from glassbridge.core.values import BYTES_PER_MS, BYTES_PER_SAMPLE, SAMPLE_RATE
from glassbridge.runtime.world import REAL, World
from glassbridge.wire.audio_frames import ENCODERS, FLAG_LAST, FLAG_PRESENCE, FLAG_REPLAYED, FrameNumber

KEPT_MS = 90_000
KEPT_BYTES = KEPT_MS * BYTES_PER_MS
"""90 s: what a phone can replay after a change of backends (2.9 MB)."""


def capture_clock(world: World = REAL) -> int:
    """Microseconds on a clock that goes on while the machine sleeps."""
    return int(world.since_boot() * 1e6)


@dataclass(frozen=True, slots=True)
class Frame:
    """Captured samples with their number; a presence frame has none."""

    number: FrameNumber
    pcm: bytes

    @property
    def stop(self) -> int:
        """The position after the last sample."""
        return self.number.position + len(self.pcm) // BYTES_PER_SAMPLE

    @property
    def ended_us(self) -> int:
        """When its last sample was captured."""
        return self.number.capture_time_us + len(self.pcm) * 1000 // BYTES_PER_MS


class Capture:
    """One run of the capture process. Positions count captured samples; they stand while the microphone is off."""

    def __init__(self, epoch: int, clock: Callable[[], int] = capture_clock) -> None:
        self.epoch = epoch
        self.position = 0
        """That the next captured sample will have."""
        self.acknowledged = 0
        self.lost = 0
        """Samples before `acknowledged` that the cloud has given up and not got since."""
        self.encoders = cycle(range(1, ENCODERS))
        """Numbers for the encoders of what was captured: one comes again when all the others were given."""
        self._clock = clock
        self._kept: deque[Frame] = deque()
        self._kept_bytes = 0
        self._missing: tuple[tuple[int, int], ...] = ()
        self._following: int | None = None
        """The epoch that is to come next."""

    def now(self) -> int:
        """Microseconds on the clock of the capture."""
        return self._clock()

    def stamp(self, pcm: bytes, captured_us: int | None = None, *, last: bool = False) -> Frame:
        """Whole samples that were just captured (ValueError otherwise), the first of them at `captured_us`. They have
        no position yet, and are not kept: a track may carry them."""
        if len(pcm) % BYTES_PER_SAMPLE:
            raise ValueError("a frame holds whole 16-bit samples")
        if captured_us is None:
            captured_us = self._clock() - len(pcm) * 1000 // BYTES_PER_MS
        flags = FLAG_LAST if last else 0
        return Frame(FrameNumber(self.epoch, self.position, max(0, captured_us), flags), pcm)

    def take(self, pcm: bytes, captured_us: int | None = None, *, last: bool = False) -> Frame:
        """The same, numbered and kept until it is acknowledged."""
        frame = self.stamp(pcm, captured_us, last=last)
        self.position += len(pcm) // BYTES_PER_SAMPLE
        self._kept.append(frame)
        self._kept_bytes += len(pcm)
        while self._kept_bytes > KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popleft().pcm)
        return frame

    def presence(self, *, microphone_on: bool) -> Frame:
        """Says where the stream stands, without samples."""
        flags = FLAG_PRESENCE if microphone_on else FLAG_PRESENCE | FLAG_LAST
        return Frame(FrameNumber(self.epoch, self.position, self._clock(), flags), b"")

    def behind(self) -> Frame:
        """The same of what is on its way by another route: it says no more than what was acknowledged, and when that
        was captured. A later time would say that nothing was captured until then."""
        for frame in self._kept:
            if frame.stop > self.acknowledged:
                return Frame(replace(frame.number, flags=FLAG_PRESENCE), b"")
        return self.presence(microphone_on=True)

    def end_epoch(self, following: int) -> None:
        """Numbers anew from 0 as soon as nothing of this epoch is kept: no sample is given up for it."""
        self._following = following
        self._begin_following()

    def _begin_following(self) -> None:
        if self._following is not None and not self._kept:
            self.epoch, self._following = self._following, None
            self.position = self.acknowledged = self.lost = 0
            self._missing = ()

    def acknowledge(self, epoch: int, position: int, missing: Iterable[tuple[int, int]] = (), lost: int = 0) -> None:
        """The cloud has, or has given up, everything before `position`, but would still take what is `missing`; `lost`
        samples it has given up. Other epochs and nonsense are ignored."""
        if epoch != self.epoch or not self.acknowledged <= position <= self.position:
            return
        self.acknowledged, self.lost = position, lost
        self._missing = tuple(missing)
        self._kept = deque(frame for frame in self._kept if frame.stop > position or self._is_missing(frame))
        self._kept_bytes = sum(len(frame.pcm) for frame in self._kept)
        self._begin_following()

    def beginning(self) -> Frame:
        """Says where that begins which a backend may still get."""
        flags = FLAG_PRESENCE | FLAG_REPLAYED
        if self._kept:
            return Frame(replace(self._kept[0].number, flags=flags), b"")
        return Frame(FrameNumber(self.epoch, self.position, self._clock(), flags), b"")

    @property
    def kept_seconds(self) -> float:
        """Of sound that the cloud may not have."""
        return self._kept_bytes / BYTES_PER_MS / 1000

    @property
    def kept(self) -> tuple[Frame, ...]:
        """Frames that the cloud may lack, the oldest first; at most KEPT_BYTES."""
        return tuple(self._kept)

    def part(self, number: FrameNumber, stop: int) -> list[Frame]:
        """What is still kept of a frame that was sent under this number, up to `stop`, in frames that say the same
        beside their samples."""
        parts = []
        for frame in self._kept if number.epoch == self.epoch else ():
            if frame.number.position < stop and number.position < frame.stop:
                cut = _cut(frame, max(number.position, frame.number.position), min(stop, frame.stop))
                flags = number.flags if cut.stop == stop else number.flags & ~FLAG_LAST
                parts.append(Frame(replace(cut.number, flags=flags), cut.pcm))
        return parts

    def newest(self, seconds: float) -> list[Frame]:
        """Unacknowledged frames of the last so many seconds."""
        since = self._clock() - seconds * 1e6
        fresh = takewhile(lambda frame: frame.ended_us >= since, reversed(self._kept))
        return [frame for frame in fresh if frame.stop > self.acknowledged][::-1]

    @property
    def missing(self) -> tuple[Frame, ...]:
        """What of it the cloud has asked for, cut to the samples that are missing."""
        return tuple(
            _cut(frame, max(start, frame.number.position), min(stop, frame.stop))
            for frame in self._kept
            for start, stop in self._missing
            if frame.number.position < stop and start < frame.stop
        )

    def _is_missing(self, frame: Frame) -> bool:
        return any(frame.number.position < stop and start < frame.stop for start, stop in self._missing)


def _cut(frame: Frame, start: int, stop: int) -> Frame:
    """The samples [start, stop) of a frame."""
    skip = start - frame.number.position
    if not skip and stop == frame.stop:
        return frame
    number = replace(
        frame.number, position=start, capture_time_us=frame.number.capture_time_us + skip * 1_000_000 // SAMPLE_RATE
    )
    return Frame(number, frame.pcm[skip * BYTES_PER_SAMPLE : (stop - frame.number.position) * BYTES_PER_SAMPLE])
