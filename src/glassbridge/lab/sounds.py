"""Noise for benchmarks of recognisers: the same each time, mixed at a ratio to the speech and not to its pauses."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassbridge.core.values import SAMPLE_RATE

Sound = NDArray[np.float64]
FULL_SCALE = 32_768.0
_FRAME = SAMPLE_RATE // 50
SPEECH_SHARE = 0.05
"""A frame is speech when it is louder than this share of the loudest."""
VOICES = 4
"""Of a babble."""


def sound_of(pcm: bytes) -> Sound:
    """Samples between -1 and 1."""
    return np.frombuffer(pcm, dtype="<i2").astype(np.float64) / FULL_SCALE


def pcm_of(sound: Sound) -> bytes:
    """PCM16; what is too loud is clipped."""
    return (np.clip(sound, -1.0, 1.0 - 1.0 / FULL_SCALE) * FULL_SCALE).astype("<i2").tobytes()


def pink(samples: int) -> Sound:
    """Noise whose power falls with its frequency, as that of rooms and streets does; loudness 1."""
    spectrum = np.fft.rfft(np.random.default_rng(1).standard_normal(samples))
    frequencies = np.maximum(1.0, np.arange(len(spectrum)))
    return _level(np.fft.irfft(spectrum / np.sqrt(frequencies), samples))


def babble(samples: int, voices: Sequence[bytes]) -> Sound:
    """VOICES people who speak at the same time, from these recordings; loudness 1."""
    whole = np.concatenate([_level(sound_of(voice)) for voice in voices])
    steps = [len(whole) * number // VOICES + 997 * number for number in range(VOICES)]
    return _level(np.sum([np.resize(np.roll(whole, -step), samples) for step in steps], axis=0))


def mixed(pcm: bytes, noise: Sound, ratio_db: float) -> bytes:
    """Speech with noise: the speech is so many dB louder than it."""
    speech = sound_of(pcm)
    return pcm_of(speech + noise[: len(speech)] * _loudness(speech) * 10 ** (-ratio_db / 20))


def _level(sound: Sound) -> Sound:
    return sound / max(1e-9, float(np.sqrt(np.mean(sound**2))))


def _loudness(speech: Sound) -> float:
    """Of the frames that hold speech."""
    frames: Any = speech[: len(speech) // _FRAME * _FRAME].reshape(-1, _FRAME)
    loud = np.sqrt(np.mean(frames**2, axis=1))
    return float(np.sqrt(np.mean(loud[loud > SPEECH_SHARE * loud.max()] ** 2)))
