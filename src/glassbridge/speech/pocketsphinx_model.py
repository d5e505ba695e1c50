"""pocketsphinx in a speech process (worker.py): `python -m glassbridge.speech.pocketsphinx_model`."""

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from glassbridge.core.values import SAMPLE_RATE
from glassbridge.speech.base import Transcript
from glassbridge.speech.endpointing import BEGIN_WINDOW, FRAME_MS, FRAME_SAMPLES, LEAD, LEAVE, Endpointer, Mark
from glassbridge.speech.segments import FRAME_BYTES, Detects, power
from glassbridge.speech.worker import LISTENERS_UNREAD, Listeners, run

if TYPE_CHECKING:
    from pocketsphinx import Decoder

LONGEST_FRAMES = 20_000 // FRAME_MS
"""A user who never pauses is cut at the first dip after 14 s, and in any case after so many frames."""
PARTIAL_EVERY = 10
"""Frames of speech between two looks at what is understood so far: 320 ms."""
SAMPLES_PER_MS = SAMPLE_RATE // 1000


class PocketsphinxTranscriber:
    """Hears (worker.py) one stream."""

    def __init__(self, decoder: "Decoder", detector: Detects) -> None:
        self._decoder = decoder
        self._detector = detector
        self._endpointer = Endpointer()
        self._buffer = b""
        self._position = 0
        """Of the first sample that was not framed yet."""
        self._lead: deque[bytes] = deque(maxlen=LEAD + BEGIN_WINDOW)
        """The newest frames, which an utterance may begin with."""
        self._start = 0
        self._frames = 0
        self._partial = ""

    def feed(self, position: int, pcm: bytes) -> Iterator[Transcript]:
        """Audio from `position` on. A gap before it (audio was dropped) ends the utterance."""
        if position != self._position + len(self._buffer) // 2:
            yield from self.finish()
            self._detector.reset()
            self._position = position
        self._buffer += pcm
        while len(self._buffer) >= FRAME_BYTES:
            frame, self._buffer = self._buffer[:FRAME_BYTES], self._buffer[FRAME_BYTES:]
            self._position += FRAME_SAMPLES
            yield from self._take(frame)

    def finish(self) -> Iterator[Transcript]:
        """Finalises what is pending. The rest of a frame is decoded too: all that was fed is heard."""
        rest, self._buffer = self._buffer, b""
        self._position += len(rest) // 2
        if self._endpointer.in_speech:
            if rest:  # of nothing it makes an IndexError
                self._decoder.process_raw(rest)
            yield from self._final()
        self._endpointer.reset()
        self._lead.clear()

    def _take(self, frame: bytes) -> Iterator[Transcript]:
        probability = self._detector.probability(frame)
        mark = self._endpointer.take(probability, power(frame))
        self._lead.append(frame)
        if mark is Mark.SILENCE:
            return
        if mark is Mark.BEGINS:
            frames = list(self._lead)[self._endpointer.utterance.start - self._endpointer.count :]
            self._start = self._position - len(frames) * FRAME_SAMPLES
            self._decoder.start_utt()
        else:
            frames = [frame]
        for piece in frames:
            self._decoder.process_raw(piece)
        self._frames += 1
        if mark is Mark.ENDS:
            yield from self._final()
            self._lead.clear()
        elif mark is Mark.FULL and (probability < LEAVE or self._frames >= LONGEST_FRAMES):
            yield from self._final()
            self._endpointer.reset()
        elif self._frames % PARTIAL_EVERY == 0:
            text = self._understood()
            if text != self._partial:
                self._partial = text
                yield self._transcript(text, final=False)

    def _final(self) -> Iterator[Transcript]:
        self._decoder.end_utt()
        text = self._understood()
        if text or self._partial:
            yield self._transcript(text, final=True)
        self._partial = ""
        self._frames = 0

    def _understood(self) -> str:
        hypothesis = self._decoder.hyp()
        return hypothesis.hypstr if hypothesis is not None else ""

    def _transcript(self, text: str, *, final: bool) -> Transcript:
        return Transcript(text, final, self._start // SAMPLES_PER_MS, self._position // SAMPLES_PER_MS)


def _make() -> Listeners:
    from pocketsphinx import Config, Decoder, set_loglevel

    from glassbridge.speech.silero import Detector

    set_loglevel("FATAL")
    decoder = Decoder(Config(samprate=SAMPLE_RATE))
    return Listeners(lambda: PocketsphinxTranscriber(decoder, Detector()))


if __name__ == "__main__":
    run(_make, LISTENERS_UNREAD)
