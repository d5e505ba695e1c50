"""A sound that tells which tenth of a second it is, after coding, loss and silence put in: two tones for each.

Frames that carry stamps in their samples (lab/stamps.py) prove bits. Coded audio keeps no bits; it keeps tones.
"""

from dataclasses import dataclass

import numpy as np

from glassbridge.core.values import SAMPLE_RATE

UNIT = SAMPLE_RATE // 10
"""Samples of one unit."""
_LOW = 300 + 60 * np.arange(16)
_HIGH = 1800 + 100 * np.arange(16)
UNITS = 256
_HOP = 80
_CLEAR = 1.6
"""A tone is so many times as strong as every other of its band where it is really there. Between two units it is not:
there the low tone of one and the high tone of the other are the tones of a third."""
_SILENCE = 1e5
"""Strength of a tone below which nothing is heard."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where a unit was heard."""

    unit: int
    stop: int
    """Sample after its last one."""


def speech(units: int, first: int = 0) -> bytes:
    """So many units of sound, PCM16 at 16 kHz. Raises ValueError for more than UNITS in all."""
    if first + units > UNITS:
        raise ValueError(f"there are {UNITS} units")
    time = np.arange(UNIT) / SAMPLE_RATE
    ramp = np.minimum(1.0, np.minimum(np.arange(UNIT), np.arange(UNIT)[::-1]) / 80)
    parts = []
    for unit in range(first, first + units):
        low, high = _LOW[unit % 16], _HIGH[(unit // 16 + unit) % 16]
        parts.append(7000 * ramp * (np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * high * time)))
    return np.concatenate(parts).astype("<i2").tobytes()


def hear(pcm: bytes) -> list[Found]:
    """The units in a recording, each where it is clearest; those that are not there are left out."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float64)
    starts = np.arange(0, max(0, len(samples) - UNIT + 1), _HOP)
    if not len(starts):
        return []
    spectra = np.empty((len(starts), UNIT // 2 + 1))
    window = np.hanning(UNIT)
    for row, start in enumerate(starts):
        spectra[row] = np.abs(np.fft.rfft(samples[start : start + UNIT] * window))
    bins = SAMPLE_RATE / UNIT
    low, high = (spectra[:, np.round(tones / bins).astype(int)] for tones in (_LOW, _HIGH))
    found = []
    for unit in range(UNITS):
        i, j = unit % 16, (unit // 16 + unit) % 16
        floor = np.delete(low, i, 1).max(1) + _SILENCE, np.delete(high, j, 1).max(1) + _SILENCE
        score = np.minimum(low[:, i] / floor[0], high[:, j] / floor[1])
        best = int(score.argmax())
        if score[best] > _CLEAR:
            found.append(Found(unit, int(starts[best]) + UNIT))
    return found
