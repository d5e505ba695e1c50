"""Sound files: ours bit for bit, others converted, the rest refused in one line."""

import random
import wave
from pathlib import Path

import numpy as np
import pytest

from glassbridge.phone import wav
from glassbridge.runtime.errors import UserError


def write(path: Path, pcm: bytes, *, rate: int = 16_000, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(width)
        sound.setframerate(rate)
        sound.writeframes(pcm)
    return path


def test_our_format_is_taken_bit_for_bit(tmp_path: Path) -> None:
    pcm = random.Random(1).randbytes(2 * 12_345)
    assert wav.load(write(tmp_path / "a.wav", pcm)) == pcm


@pytest.mark.parametrize(("rate", "channels"), [(48_000, 2), (44_100, 1), (8_000, 1)])
def test_other_rates_and_channels_are_converted(tmp_path: Path, rate: int, channels: int) -> None:
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype("<i2")
    pcm = np.repeat(tone, channels).tobytes()
    got = np.frombuffer(wav.load(write(tmp_path / "a.wav", pcm, rate=rate, channels=channels)), "<i2")
    assert len(got) == pytest.approx(16_000, abs=50)
    assert np.argmax(np.abs(np.fft.rfft(got.astype(float)))) == pytest.approx(440, abs=2)
    assert np.max(np.abs(got)) == pytest.approx(8000, rel=0.05)


def test_a_file_that_was_cut_off_gives_what_is_there(tmp_path: Path) -> None:
    pcm = random.Random(1).randbytes(2 * 1000)
    path = write(tmp_path / "a.wav", pcm)
    path.write_bytes(path.read_bytes()[:-501])
    assert wav.load(path) == pcm[:-502]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (b"", "not a sound file"), (b"RIFF....", "not a sound file"), (b"junk" * 999, "sound")],
)
def test_what_is_no_sound_is_refused_in_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as refused:
        wav.load(path)
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)


def test_a_folder_and_an_empty_clip_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="folder"):
        wav.load(tmp_path)
    with pytest.raises(UserError, match="holds no sound"):
        wav.load(write(tmp_path / "a.wav", b""))
