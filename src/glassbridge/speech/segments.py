"""The utterances of one stream: audio goes in by its position, segments for a recogniser come out.

A voice detector takes 3 % of a processor for each stream. So it is not asked about silence that goes on: phones may
send theirs for hours.

It owns the audio that is not understood yet: at most the utterance that is open, and a short lead before the next.
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE
from glassbridge.speech.endpointing import BEGIN_WINDOW, FRAME_SAMPLES, LEAD, Endpointer, Mark

FRAME_BYTES = FRAME_SAMPLES * BYTES_PER_SAMPLE
_IDLE_FRAMES = LEAD + BEGIN_WINDOW
_POWER_STEP = 8
"""Each so many-th sample is enough to tell how loud a frame is."""
FAINT = 1e-7
"""Power (-70 dBFS) of a frame that is silence, whatever a detector finds in it."""
CUTS = 4
"""Moments at which a long utterance is tried to be cut."""


class Detects(Protocol):
    """A voice detector."""

    def probability(self, frame: bytes) -> float:
        """That a frame holds speech: 0 to 1."""

    def reset(self) -> None:
        """The next audio does not follow the audio before."""


@dataclass(frozen=True, slots=True)
class Segment:
    """An utterance or a part of it, with some silence around it; times of its speech count from the stream's start."""

    pcm: bytes
    start_ms: int
    end_ms: int


def _ms(samples: int) -> int:
    return samples * 1000 // SAMPLE_RATE


def power(frame: bytes) -> float:
    """Mean square, full scale is 1."""
    samples = array("h", frame)[::_POWER_STEP]
    return sum(sample * sample for sample in samples) / len(samples) / 32768**2


class Segments:
    """Of one stream. `wants_cut`: the open utterance is too long, and cut_at() is to be called soon."""

    def __init__(self, detector: Detects) -> None:
        self._detector = detector
        self._endpointer = Endpointer()
        self._faint = 0
        """Frames in a row, now."""
        self._audio = bytearray()
        """From `_from` on, whole frames first."""
        self._from = 0
        """Frame of the endpointer."""
        self._origin = 0
        """Position in the stream of the endpointer's frame 0."""
        self.wants_cut = False

    @property
    def position(self) -> int:
        """In the stream, after the last sample that came."""
        return self._sample(self._from) + len(self._audio) // BYTES_PER_SAMPLE

    @property
    def speaks(self) -> bool:
        """An utterance is open."""
        return self._endpointer.in_speech

    def feed(self, position: int, pcm: bytes) -> Iterator[Segment]:
        """Audio from `position` on. A gap before it (audio was dropped) ends the utterance."""
        if position != self.position:
            yield from self.finish()
            self._detector.reset()
            self._audio.clear()
            self._origin = position - self._endpointer.count * FRAME_SAMPLES
            self._from = self._endpointer.count
        self._audio += pcm
        while (at := (self._endpointer.count - self._from) * FRAME_BYTES) + FRAME_BYTES <= len(self._audio):
            frame = bytes(self._audio[at : at + FRAME_BYTES])
            mark = self._endpointer.take(*self._judge(frame))
            if mark is Mark.ENDS:
                yield self._segment(min(self._endpointer.utterance.end, self._endpointer.count))
                self._drop(self._endpointer.count)
            elif mark is Mark.SILENCE:
                self._drop(self._endpointer.count - _IDLE_FRAMES)
            self.wants_cut = mark is Mark.FULL

    def _judge(self, frame: bytes) -> tuple[float, float]:
        """The probability of speech, and the power."""
        strength = power(frame)
        waits = self._faint >= LEAD and not self.speaks
        self._faint = self._faint + 1 if strength < FAINT else 0
        if waits and self._faint:
            return 0.0, strength
        if waits:
            self._detector.reset()  # it has not heard what came before
        return self._detector.probability(frame), strength

    def finish(self) -> Iterator[Segment]:
        """The open segment has ended. The rest of a frame is speech, too: all that was fed is heard."""
        if self._endpointer.in_speech:
            yield self.open_segment()
        rest = len(self._audio) % FRAME_BYTES
        end = self.position
        self._endpointer.reset()
        self._audio.clear()
        self._from = self._endpointer.count
        self._origin = end - self._from * FRAME_SAMPLES
        self.wants_cut = False
        if rest:
            self._detector.reset()

    def open_segment(self) -> Segment:
        """What is open, until now."""
        utterance = self._endpointer.utterance
        goes_on = utterance.last == self._endpointer.count - 1
        end = self.position if goes_on else self._sample(utterance.last + 1)
        return Segment(self._pcm(utterance.start, None), _ms(self._sample(utterance.first)), _ms(end))

    @property
    def paused_at(self) -> int | None:
        """The last frame of speech, when all of the silence is here that the open utterance would take with it."""
        utterance = self._endpointer.utterance
        return utterance.last if self.speaks and self._endpointer.count >= utterance.end else None

    def paused_segment(self) -> Segment:
        """The open segment, if no more speech follows; to be called while `paused_at` is known."""
        return self._segment(self._endpointer.utterance.end)

    def cut(self, agreed: Callable[[Segment], bool]) -> Segment:
        """Cuts the open utterance at the quietest moment whose first part is `agreed` to; gives that part. Where none
        is, at the quietest of all."""
        frames = self._endpointer.quietest(CUTS) or [self._endpointer.count]
        parts = [(frame, self._segment(frame)) for frame in frames]
        frame, part = next(((frame, part) for frame, part in parts if agreed(part)), parts[0])
        self._endpointer.cut(frame)
        self._drop(frame)
        self.wants_cut = False
        return part

    def _segment(self, end: int) -> Segment:
        utterance = self._endpointer.utterance
        last = min(utterance.last + 1, end)
        return Segment(self._pcm(utterance.start, end), _ms(self._sample(utterance.first)), _ms(self._sample(last)))

    def _pcm(self, start: int, end: int | None) -> bytes:
        stop = None if end is None else (end - self._from) * FRAME_BYTES
        return bytes(self._audio[max(0, start - self._from) * FRAME_BYTES : stop])

    def _sample(self, frame: int) -> int:
        return self._origin + frame * FRAME_SAMPLES

    def _drop(self, frame: int) -> None:
        """Audio before this frame is not needed any more."""
        if frame > self._from:
            del self._audio[: (frame - self._from) * FRAME_BYTES]
            self._from = frame
