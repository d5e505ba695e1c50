"""sherpa-onnx: better recognition offline, with a streaming model that the operator downloads (docs/speech.md).

The library (extra `sherpa`) is loaded by the processes of the streams only, and only when this provider is asked for.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from glassbridge.core.recogniser import Reason
from glassbridge.core.subscriptions import AUTO
from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError
from glassbridge.speech.base import RecogniserError, Transcript, Want
from glassbridge.speech.pool import ProcessRecogniser
from glassbridge.speech.worker import LISTENERS_UNREAD, Listeners, run

PADDING = 0.6
"""Seconds of silence that bring the last words out of the model's look-ahead."""
MAKERS = {
    ("encoder", "decoder", "joiner"): "from_transducer",
    ("encoder", "decoder"): "from_paraformer",
    ("model",): "from_zipformer2_ctc",
}
"""Which kind of model it is tells itself by its files."""


class SherpaRecogniser(ProcessRecogniser):
    """A Recogniser for at most `limit` streams at a time, each a process that holds the model of `folder`.

    Raises UserError when the folder holds no model.
    """

    name = "sherpa"

    def __init__(self, folder: Path, languages: Sequence[str], limit: int) -> None:
        find_model(folder)
        super().__init__((sys.executable, "-m", "glassbridge.speech.sherpa", str(folder)), limit, each=1)
        self._languages = tuple(languages)

    def serves(self, want: Want) -> Want:
        """One stream for all of the model's languages: the model does not ask. Raises RecogniserError."""
        if want.target is not None:
            raise RecogniserError("the offline recogniser does not translate", Reason.UNSUPPORTED)
        if want.language not in (*self._languages, AUTO):
            known = ", ".join(self._languages)
            raise RecogniserError(f"the model here knows {known}, not {want.language}", Reason.UNSUPPORTED)
        return Want(self._languages[0])


def find_model(folder: Path) -> tuple[str, dict[str, str]]:
    """How the model is made, and of which files; smaller (int8) ones are preferred. Raises UserError."""
    found = {}
    for part in ("encoder", "decoder", "joiner", "model"):
        files = sorted(folder.glob(f"{part}*.onnx"), key=lambda file: (".int8." not in file.name, file.name))
        if files:
            found[part] = str(files[0])
    for parts, maker in MAKERS.items():
        if set(parts) <= found.keys() and (folder / "tokens.txt").is_file():
            return maker, {part: found[part] for part in parts} | {"tokens": str(folder / "tokens.txt")}
    raise UserError(
        Complaint.SHERPA_MODEL_WRONG.text(folder=folder),
        2,
    )


class SherpaTranscriber:
    """Turns audio into transcripts. Utterances end where the model's own rules say."""

    def __init__(self, recognizer: Any) -> None:
        self._recognizer = recognizer
        self._stream = recognizer.create_stream()
        self._position = 0
        self._start = 0
        self._text = ""

    def feed(self, position: int, pcm: bytes) -> Iterator[Transcript]:
        """Audio from `position` on. A gap before it (audio was dropped) ends the utterance."""
        if position != self._position:
            yield from self.finish()
            self._position = self._start = position
        self._accept(pcm)
        text = self._understood()
        if self._recognizer.is_endpoint(self._stream):
            yield from self._final(text)
        elif text != self._text:
            self._text = text
            yield self._transcript(text, final=False)

    def finish(self) -> Iterator[Transcript]:
        """Finalises what is pending."""
        end = self._position
        self._accept(bytes(round(PADDING * SAMPLE_RATE) * BYTES_PER_SAMPLE))
        text, self._position = self._understood(), end
        yield from self._final(text)
        self._stream = self._recognizer.create_stream()

    def _accept(self, pcm: bytes) -> None:
        import numpy as np

        samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768.0
        self._stream.accept_waveform(SAMPLE_RATE, samples)
        self._position += len(samples)

    def _understood(self) -> str:
        while self._recognizer.is_ready(self._stream):
            self._recognizer.decode_stream(self._stream)
        text: str = self._recognizer.get_result(self._stream)
        if text and not self._text:
            self._start = max(self._start, self._position - SAMPLE_RATE // 2)
        return text.strip()

    def _final(self, text: str) -> Iterator[Transcript]:
        if text or self._text:
            yield self._transcript(text, final=True)
        self._recognizer.reset(self._stream)
        self._text, self._start = "", self._position

    def _transcript(self, text: str, *, final: bool) -> Transcript:
        per_ms = SAMPLE_RATE // 1000
        return Transcript(text, final, self._start // per_ms, self._position // per_ms)


def _make() -> Listeners:
    import sherpa_onnx

    maker, files = find_model(Path(sys.argv[1]))
    recognizer = getattr(sherpa_onnx.OnlineRecognizer, maker)(
        **files, num_threads=1, sample_rate=SAMPLE_RATE, enable_endpoint_detection=True, rule2_min_trailing_silence=0.6
    )
    return Listeners(lambda: SherpaTranscriber(recognizer))


if __name__ == "__main__":
    run(_make, LISTENERS_UNREAD)
