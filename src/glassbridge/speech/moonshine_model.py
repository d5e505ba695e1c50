"""Moonshine's model in a speech process: `python -m glassbridge.speech.moonshine_model` serves many streams on it.

The library's own segmentation and its conversion of audio through lists cost more than the recognition: segments come
from ours (segments.py), and its C interface gets them as they are.
"""

import ctypes
import os
import re
from pathlib import Path
from time import process_time
from typing import Any, Final

# Recognitions run beside each other, one on each core: threads inside of one would only spin. Read when it is loaded.
os.environ.setdefault("MOONSHINE_ORT_SINGLE_THREAD", "1")

from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE
from glassbridge.runtime.processors import IdleProcessors
from glassbridge.speech.interpreter import Interpreter, Model
from glassbridge.speech.worker import run

OPTIONS: Final = {
    "vad_threshold": "0",  # one segment in, one line out
    "vad_max_segment_duration": "60",
    "return_audio_data": "false",
    "identify_speakers": "false",
}
SILENCE: Final = bytes(SAMPLE_RATE // 5 * BYTES_PER_SAMPLE)
"""0.2 s before and after each segment: with it the first and the last word are understood better."""
MEASURED: Final = 4
"""Seconds of silence that tell how quick this machine is."""
WORDS_COST: Final = 2.8
"""How many times more a transcript of words costs than one of silence."""
_TINY = 0
_OLD_SPELLING = re.compile(r"\b([Tt])o-(day|morrow|night)\b")
_DOUBLED = re.compile(r"([.,?!])\1+")


class Moonshine:
    """The model that comes in the wheel. Raises RuntimeError when it cannot be loaded."""

    def __init__(self) -> None:
        import moonshine_voice
        from moonshine_voice import moonshine_api as api

        self._api = api
        self._lib: Any = api._MoonshineLib().lib
        folder = Path(moonshine_voice.__file__).parent / "assets" / "tiny-en"
        options = [api.TranscriberOptionC(name.encode(), value.encode()) for name, value in OPTIONS.items()]
        self._handle = self._lib.moonshine_load_transcriber_from_files(
            os.fsencode(folder), _TINY, (api.TranscriberOptionC * len(options))(*options), len(options),
            api.MOONSHINE_HEADER_VERSION,
        )  # fmt: skip
        if self._handle < 0:
            raise RuntimeError(f"Moonshine cannot load its model (error {self._handle})")

    def transcribe(self, pcm: bytes) -> str:
        """Of PCM16 at 16 kHz; empty when there are no words. Raises RuntimeError."""
        import numpy as np

        samples = np.frombuffer(SILENCE + pcm + SILENCE, dtype="<i2").astype(np.float32) / 32768.0
        pointer = samples.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        transcript = ctypes.POINTER(self._api.TranscriptC)()
        failed = self._lib.moonshine_transcribe_without_streaming(
            self._handle, pointer, len(samples), SAMPLE_RATE, 0, ctypes.byref(transcript)
        )
        if failed:
            raise RuntimeError(f"Moonshine fails (error {failed})")
        lines = (transcript.contents.lines[i] for i in range(transcript.contents.line_count))
        return tidy(" ".join(ctypes.string_at(line.text).decode(errors="replace") for line in lines if line.text))


def rate_of(model: Model) -> float:
    """Seconds of processor time for a second of speech on this machine, to begin with."""
    silence = bytes(MEASURED * SAMPLE_RATE * BYTES_PER_SAMPLE)
    model.transcribe(silence)  # the first one is slow
    begun = process_time()
    model.transcribe(silence)
    return WORDS_COST * (process_time() - begun) / MEASURED


def tidy(text: str) -> str:
    """As it is written today: the model learnt some of its spelling from old books."""
    return _DOUBLED.sub(r"\1", _OLD_SPELLING.sub(r"\1o\2", text)).strip()


def _make() -> Interpreter:
    from glassbridge.speech.silero import Detector

    idle = IdleProcessors()
    model = Moonshine()
    return Interpreter(model, Detector, idle=idle.share, rate=rate_of(model))


if __name__ == "__main__":
    run(_make)
