"""Whether the demo can tell its answer from other sounds."""

import wave
from io import BytesIO
from pathlib import Path

import pytest

from glassbridge.lab import clips
from glassbridge.lab.answer import ALIKE, likeness, spoken_answer
from glassbridge.lab.demo_app import is_question
from glassbridge.livekit.opus import Decoder, Encoder
from glassbridge.phone import wav
from tests.support.sound import tone

SILENCE = bytes(16_000)


def written(path: Path, pcm: bytes) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(pcm)
    return path


def by_opus(pcm: bytes) -> bytes:
    encoder, decoder = Encoder(96_000), Decoder()
    return b"".join(decoder.decode(encoder.encode(pcm[at : at + 640])) for at in range(0, len(pcm) - 639, 640))


@pytest.fixture
def answer() -> bytes:
    """Stands for what the voice says: a sentence of the clip."""
    out = BytesIO(clips.wav("short").read_bytes())
    return out.getvalue()


def test_the_answer_is_known_again(answer: bytes, tmp_path: Path) -> None:
    heard = by_opus(wav.load(clips.wav("short")))
    half = len(heard) // 1280 * 640
    whole = written(tmp_path / "whole.wav", SILENCE + heard + SILENCE)
    torn = written(tmp_path / "torn.wav", SILENCE + heard[:half] + bytes(6400) + heard[half:])
    assert likeness(answer, whole) > 0.9
    assert likeness(answer, torn) > ALIKE


def test_other_sounds_are_not_the_answer(answer: bytes, tmp_path: Path) -> None:
    clip = wav.load(clips.wav())[: 16_000 * 2 * 6]  # the same voice, other sentences
    for name, pcm in (("speech", clip), ("tone", tone(4.0)), ("silence", bytes(64_000)), ("nothing", b"")):
        assert likeness(answer, written(tmp_path / f"{name}.wav", pcm)) < ALIKE - 0.1, name
    assert likeness(answer, tmp_path / "missing.wav") == 0


async def test_a_cloud_that_does_not_speak_gives_none() -> None:
    assert await spoken_answer("http://127.0.0.1:1", "token") is None


def test_what_is_a_question() -> None:
    assert is_question("what is on my calendar today")
    assert not is_question("good morning")
