"""Many streams on one model: the part of a speech process (worker.py) that decides what is understood next.

Final transcripts come first, in the order in which people ended; partial ones come as often as the load allows
(core/speech_load.py). While there are any, a pause is understood before it is known to end the utterance: if it does,
the final transcript is there at once, and if not, it was a partial one.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from time import monotonic, process_time
from typing import Protocol

from glassbridge.core.speech_load import USUAL_RATE, SpeechLoad, Work
from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE
from glassbridge.core.words import normalised
from glassbridge.speech.base import Transcript
from glassbridge.speech.process_wire import Answer, Finished, ProcessOrder, ProcessStatus, Said, Shed
from glassbridge.speech.segments import Detects, Segment, Segments
from glassbridge.speech.worker import STATUS_EVERY

FIRST_PARTIAL = 0.5
"""Seconds of speech before the first partial transcript."""
LEAST_NEW = 0.25
"""Seconds of new speech that a partial transcript is made for."""
PARTIAL_SHARE = 0.25
"""A stream's partials take at most this share of the time: long utterances cost more, and get them less often."""


class Model(Protocol):
    """Turns a segment into text."""

    def transcribe(self, pcm: bytes) -> str:
        """Of PCM16 at 16 kHz; empty when there are no words."""


@dataclass(slots=True)
class _Stream:
    segments: Segments
    partial: str = ""
    """What was said last of the open utterance."""
    partial_at: float = 0.0
    """When the next partial is due."""
    heard_until: int = 0
    """Position up to which the last partial was made."""
    ahead_at: int | None = None
    """The pause that was understood ahead."""
    ahead: tuple[bytes, str] = (b"", "")
    """The segment and its text."""


@dataclass(slots=True, frozen=True)
class _Job:
    stream: int
    segment: Segment | None
    """None: a FINISH is to be answered."""
    since: float
    text: str | None = None
    """Of a segment that is understood already."""


class Interpreter:
    """All streams of one process, and one model. Time is an argument; `clock` and `cpu` only measure how long jobs
    take, and how much of that a processor worked on them. `idle` gives the share of the processors that was idle since
    it was asked last; `rate` the processor time for a second of speech."""

    def __init__(
        self,
        model: Model,
        detector: Callable[[], Detects],
        clock: Callable[[], float] = monotonic,
        cpu: Callable[[], float] = process_time,
        idle: Callable[[], float] = lambda: 1.0,
        rate: float = USUAL_RATE,
    ) -> None:
        self._model = model
        self._detector = detector
        self._clock = clock
        self._cpu = cpu
        self._idle = idle
        self._streams: dict[int, _Stream] = {}
        self._finals: deque[_Job] = deque()
        self.load = SpeechLoad(clock(), rate)

    def obey(self, order: ProcessOrder, number: int, position: int, pcm: bytes) -> Iterable[Answer]:
        """One frame; its answers come as work. Requests for a stream that is not there are ignored."""
        now = self._clock()
        if order is ProcessOrder.OPEN:
            self._streams[number] = _Stream(Segments(self._detector()))
            self.load.opened(number)
        elif order is ProcessOrder.CLOSE:
            self._streams.pop(number, None)
            self.load.closed(number)
            self._finals = deque(job for job in self._finals if job.stream != number)
        elif (stream := self._streams.get(number)) is not None:
            if order is ProcessOrder.AUDIO:
                self._listen(number, stream, position, pcm, now)
            else:
                for segment in stream.segments.finish():
                    self._queue(number, segment, now)
                self._queue(number, None, now)
        return ()

    def _listen(self, number: int, stream: _Stream, position: int, pcm: bytes, now: float) -> None:
        if stream.segments.wants_cut:
            self._cut(number, stream, now)
            now = self._clock()
        cpu = self._cpu()
        spoke = stream.segments.speaks
        for segment in stream.segments.feed(position, pcm):
            self._queue(number, segment, now)
        speaks = stream.segments.speaks
        if speaks and not spoke:
            stream.partial_at = now + FIRST_PARTIAL
        if speaks or spoke:
            self.load.spoken(number, len(pcm) / BYTES_PER_SAMPLE / SAMPLE_RATE)
        self.load.worked(Work.LISTENING, self._clock() - now, self._cpu() - cpu)

    def _queue(self, number: int, segment: Segment | None, now: float) -> None:
        self._finals.append(_Job(number, segment, now))

    # ---- jobs

    def work(self) -> Iterator[Answer] | None:
        """Does the most urgent job; None when there is none."""
        if self._finals:
            return self._final(self._finals.popleft())
        now = self._clock()
        ready = [(number, stream) for number, stream in self._streams.items() if stream.segments.speaks]
        for number, stream in ready:
            if stream.segments.wants_cut:
                self._cut(number, stream, now)
                return self._final(self._finals.popleft())
        if self.load.pace.interval is None:
            return None
        for number, stream in ready:
            if (paused_at := stream.segments.paused_at) is not None and paused_at != stream.ahead_at:
                return self._look_ahead(number, stream, paused_at)
        due = [(stream.partial_at, number) for number, stream in ready if self._is_due(stream, now)]
        if not due:
            return None
        _, number = min(due)
        return self._part(number, self._streams[number], now)

    @staticmethod
    def _is_due(stream: _Stream, now: float) -> bool:
        new = stream.segments.position - stream.heard_until
        return now >= stream.partial_at and new >= LEAST_NEW * SAMPLE_RATE

    def _final(self, job: _Job) -> Iterator[Answer]:
        stream = self._streams[job.stream]
        if job.segment is None:
            yield Finished(job.stream)
            return
        begun, cpu = self._clock(), self._cpu()
        text = job.text
        if text is None:
            text = stream.ahead[1] if stream.ahead[0] == job.segment.pcm else self._transcribe(job.segment.pcm)
        stream.ahead_at, stream.ahead = None, (b"", "")
        now = self._clock()
        seconds = len(job.segment.pcm) / BYTES_PER_SAMPLE / SAMPLE_RATE  # with its pause, as what `spoken` counts
        self.load.worked(Work.FINAL, now - begun, self._cpu() - cpu, seconds)
        self.load.waited(now - job.since)
        yield from self._say(job.stream, stream, job.segment, text)

    def _transcribe(self, pcm: bytes) -> str:
        begun = self._cpu()
        text = self._model.transcribe(pcm)
        self.load.transcribed(len(pcm) / BYTES_PER_SAMPLE / SAMPLE_RATE, self._cpu() - begun)
        return text

    def _cut(self, number: int, stream: _Stream, now: float) -> None:
        """Without a pause: a cut is right if the words before it are those that the whole begins with."""
        cpu = self._cpu()
        whole = normalised(self._transcribe(stream.segments.open_segment().pcm))
        texts: dict[bytes, str] = {}

        def agreed(part: Segment) -> bool:
            texts[part.pcm] = text = self._transcribe(part.pcm)
            words = normalised(text)
            return 0 < len(words) < len(whole) and whole[: len(words)] == words

        part = stream.segments.cut(agreed)
        self.load.worked(Work.FINAL, self._clock() - now, self._cpu() - cpu)
        self._finals.append(_Job(number, part, now, texts[part.pcm].rstrip(".,")))

    def _say(self, number: int, stream: _Stream, segment: Segment, text: str) -> Iterator[Answer]:
        if text or stream.partial:
            yield Said(number, Transcript(text, True, segment.start_ms, segment.end_ms))
        stream.partial = ""

    def _look_ahead(self, number: int, stream: _Stream, paused_at: int) -> Iterator[Answer]:
        """The work of a final transcript, that is done before it."""
        now, cpu = self._clock(), self._cpu()
        segment = stream.segments.paused_segment()
        text = self._transcribe(segment.pcm)
        took = self._clock() - now
        self.load.worked(Work.FINAL, took, self._cpu() - cpu)
        stream.ahead_at, stream.ahead = paused_at, (segment.pcm, text)
        yield from self._say_partial(number, stream, segment, text, now, took)

    def _part(self, number: int, stream: _Stream, now: float) -> Iterator[Answer]:
        cpu = self._cpu()
        segment = stream.segments.open_segment()
        text = self._transcribe(segment.pcm)
        took = self._clock() - now
        self.load.worked(Work.PARTIAL, took, self._cpu() - cpu)
        yield from self._say_partial(number, stream, segment, text, now, took)

    def _say_partial(
        self, number: int, stream: _Stream, segment: Segment, text: str, now: float, took: float
    ) -> Iterator[Answer]:
        text = text.rstrip(".")
        stream.heard_until = stream.segments.position
        pause = max(self.load.pace.interval or 0.0, took / PARTIAL_SHARE)
        stream.partial_at = max(now, stream.partial_at) + pause if took < pause else now + pause
        if text and text != stream.partial:
            stream.partial = text
            yield Said(number, Transcript(text, False, segment.start_ms, segment.end_ms))

    def review(self, now: float) -> Iterator[Answer]:
        """Looks at the load, and sends the newest streams away when there are too many; call it each STATUS_EVERY
        seconds."""
        waiting = max((now - job.since for job in self._finals), default=0.0)
        self.load.waited(waiting)
        pace = self.load.look(now, self._idle())
        load = self.load
        for number in load.shed():
            self.obey(ProcessOrder.CLOSE, number, 0, b"")
            yield Shed(number)
        yield ProcessStatus(
            pace.name,
            round(load.late, 2),
            round(load.busy, 2),
            round(load.speakers, 2),
            load.fits,
            len(self._streams),
            load.room,
            load.most,
        )

    @property
    def pending(self) -> bool:
        """A final transcript is owed."""
        return bool(self._finals)

    def rest(self, now: float) -> float:
        """Seconds until something is due by itself."""
        if self._finals:
            return 0.0
        times = [stream.partial_at for stream in self._streams.values() if stream.segments.speaks]
        return max(0.02, min(times, default=now + STATUS_EVERY) - now)
