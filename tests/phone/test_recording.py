"""What a phone hears, as a file."""

import wave
from pathlib import Path

import numpy as np

from glassbridge.phone.recording import Recording


def level(value: int, ms: int) -> bytes:
    return np.full(16 * ms, value, "<i2").tobytes()


def test_tracks_are_mixed_where_they_sound(tmp_path: Path) -> None:
    now = [100.0]
    recording = Recording(lambda: now[0])
    recording.take("a", level(1000, 40))
    now[0] = 100.03  # early: behind the former block all the same
    recording.take("a", level(1000, 20))
    recording.take("b", level(500, 20))
    now[0] = 101.0  # a pause: at its own time
    recording.take("a", level(30_000, 20))
    recording.take("b", level(30_000, 20))
    recording.save(tmp_path / "heard.wav")
    with wave.open(str(tmp_path / "heard.wav")) as file:
        assert (file.getframerate(), file.getnchannels()) == (16_000, 1)
        heard = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert len(heard) == 16_320
    assert set(heard[: 16 * 30]) == {1000}
    assert set(heard[16 * 30 : 16 * 50]) == {1500}
    assert set(heard[16 * 50 : 16 * 60]) == {1000}
    assert set(heard[16 * 60 : 16_000]) == {0}
    assert set(heard[16_000:]) == {32_767}, "too loud together"


def test_nothing_heard_is_an_empty_file(tmp_path: Path) -> None:
    recording = Recording()
    recording.save(tmp_path / "heard.wav")
    assert recording.pcm == b""
