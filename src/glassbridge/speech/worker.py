"""One recogniser process: reads frames of audio from standard input, writes transcripts as JSON lines.

It serves one stream and ends with it: at the end of its input, or killed with its parent. It never writes anything
else, and never sees a secret.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from struct import Struct
from typing import TYPE_CHECKING, BinaryIO, Protocol

import msgspec

from glassbridge.core.values import SAMPLE_RATE
from glassbridge.speech.base import Transcript
from glassbridge.speech.endpointing import FRAME_MS, Endpointer

if TYPE_CHECKING:
    from pocketsphinx import Decoder

FRAME = Struct("<BQI")
"""Kind, position of the first sample in the stream, bytes of PCM that follow."""
AUDIO, FINISH = 1, 2
READY, FINISHED = "ready", "finished"
"""Words among the transcripts: the model is loaded; a FINISH is answered."""

PARTIAL_EVERY = 10
"""Frames of speech between two looks at what is understood so far: 300 ms."""
VAD_MODE = 2
"""0 takes much for speech, 3 little."""
SAMPLES_PER_MS = SAMPLE_RATE // 1000
FRAME_SAMPLES = FRAME_MS * SAMPLES_PER_MS
FRAME_BYTES = FRAME_SAMPLES * 2


class Hears(Protocol):
    """Turns audio into transcripts."""

    def feed(self, position: int, pcm: bytes) -> Iterable[Transcript]:
        """Audio from `position` on, in samples of the stream."""

    def finish(self) -> Iterable[Transcript]:
        """Finalises what is pending."""


class Listener:
    """The same by pocketsphinx."""

    def __init__(self, decoder: "Decoder", is_speech: Callable[[bytes], bool]) -> None:
        self._decoder = decoder
        self._is_speech = is_speech
        self._endpointer = Endpointer()
        self._buffer = b""
        self._position = 0
        """Of the first sample that was not framed yet."""
        self._start = 0
        self._frames = 0
        self._partial = ""

    def feed(self, position: int, pcm: bytes) -> Iterator[Transcript]:
        """Audio from `position` on. A gap before it (audio was dropped) ends the utterance."""
        if position != self._position + len(self._buffer) // 2:
            yield from self.finish()
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

    def _take(self, frame: bytes) -> Iterator[Transcript]:
        speech = self._endpointer.take(frame, self._is_speech(frame))
        if speech is None:
            return
        if speech.begins:
            self._start = self._position - len(speech.frames) * FRAME_SAMPLES
            self._decoder.start_utt()
        for piece in speech.frames:
            self._decoder.process_raw(piece)
        self._frames += 1
        if speech.ends:
            yield from self._final()
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


def serve(source: BinaryIO, sink: BinaryIO, listener: Hears) -> None:
    """Answers until the input ends."""

    def say(answers: Iterable[Transcript | str]) -> None:
        for answer in answers:
            sink.write(msgspec.json.encode(answer) + b"\n")
        sink.flush()

    say([READY])
    while len(head := source.read(FRAME.size)) == FRAME.size:
        kind, position, size = FRAME.unpack(head)
        if kind == FINISH:
            say(listener.finish())
            say([FINISHED])
        else:
            say(listener.feed(position, source.read(size)))


def main() -> None:
    """Loads the model, then serves."""
    os.nice(5)  # captions may be late, audio may not
    from pocketsphinx import Config, Decoder, Vad, set_loglevel

    set_loglevel("FATAL")
    decoder = Decoder(Config(samprate=SAMPLE_RATE))
    vad = Vad(VAD_MODE, SAMPLE_RATE, FRAME_MS / 1000)
    serve(sys.stdin.buffer, sys.stdout.buffer, Listener(decoder, vad.is_speech))


if __name__ == "__main__":
    main()
