"""sherpa-onnx without its library: how a model is found, and what a process makes of what the library says."""

from pathlib import Path
from typing import Any

import pytest

from glassbridge.core.recogniser import Reason
from glassbridge.runtime.errors import UserError
from glassbridge.speech.base import RecogniserError, Want
from glassbridge.speech.sherpa import SherpaRecogniser, SherpaTranscriber, find_model


def model(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("names", "maker", "parts"),
    [
        (("encoder-a.onnx", "decoder-a.onnx", "joiner-a.onnx"), "from_transducer", {"encoder", "decoder", "joiner"}),
        (("encoder.onnx", "decoder.onnx"), "from_paraformer", {"encoder", "decoder"}),
        (("model.onnx",), "from_zipformer2_ctc", {"model"}),
    ],
)
def test_the_kind_of_a_model_shows_in_its_files(
    tmp_path: Path, names: tuple[str, ...], maker: str, parts: set[str]
) -> None:
    found, files = find_model(model(tmp_path, "tokens.txt", *names))
    assert (found, set(files)) == (maker, parts | {"tokens"})


def test_the_smaller_one_is_preferred(tmp_path: Path) -> None:
    _, files = find_model(model(tmp_path, "tokens.txt", "model.onnx", "model.int8.onnx"))
    assert files["model"].endswith("model.int8.onnx")


@pytest.mark.parametrize("names", [(), ("model.onnx",), ("tokens.txt", "encoder.onnx")])
def test_a_folder_without_a_model_is_named_at_once(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=r"tokens\.txt"):
        SherpaRecogniser(model(tmp_path, *names), ("en-US",), 1)


def test_it_serves_the_languages_of_its_model(tmp_path: Path) -> None:
    recogniser = SherpaRecogniser(model(tmp_path, "tokens.txt", "model.onnx"), ("de-DE", "en-US"), 1)
    assert {recogniser.serves(Want(language)) for language in ("de-DE", "en-US", "auto")} == {Want("de-DE")}
    for want in (Want("fr-FR"), Want("de-DE", "en-US")):
        with pytest.raises(RecogniserError) as refused:
            recogniser.serves(want)
        assert refused.value.reason is Reason.UNSUPPORTED


class Library:
    """Says a word for each second of audio that is not silent; an utterance ends with a second that is."""

    def create_stream(self) -> Any:
        return Stream()

    def is_ready(self, stream: "Stream") -> bool:
        return len(stream.samples) >= 16_000

    def decode_stream(self, stream: "Stream") -> None:
        second, stream.samples = stream.samples[:16_000], stream.samples[16_000:]
        if any(second):
            stream.words.append(f"word{len(stream.words)}")
        else:
            stream.silent = True

    def get_result(self, stream: "Stream") -> str:
        return " ".join(stream.words)

    def is_endpoint(self, stream: "Stream") -> bool:
        return stream.silent

    def reset(self, stream: "Stream") -> None:
        stream.words, stream.silent = [], False


class Stream:
    def __init__(self) -> None:
        self.samples: list[float] = []
        self.words: list[str] = []
        self.silent = False

    def accept_waveform(self, rate: int, samples: Any) -> None:
        assert rate == 16_000
        self.samples += samples.tolist()


LOUD, QUIET = b"\x11\x22" * 16_000, bytes(32_000)


def test_partials_finals_and_times() -> None:
    listener = SherpaTranscriber(Library())
    said = []
    for n, second in enumerate([LOUD, LOUD, QUIET, QUIET, LOUD]):
        said += list(listener.feed(n * 16_000, second))
    said += list(listener.finish())
    assert [(t.text, t.final) for t in said] == [
        ("word0", False), ("word0 word1", False), ("word0 word1", True), ("word0", False), ("word0", True),
    ]  # fmt: skip
    assert [(t.start_ms, t.end_ms) for t in said if t.final] == [(500, 3_000), (4_500, 5_000)]
    assert list(listener.finish()) == []


def test_a_gap_ends_the_utterance_and_the_clock_goes_on() -> None:
    listener = SherpaTranscriber(Library())
    list(listener.feed(0, LOUD))
    first, second = listener.feed(160_000, LOUD)
    assert (first.text, first.final, first.end_ms) == ("word0", True, 1_000)
    assert (second.final, second.end_ms) == (False, 11_000)
