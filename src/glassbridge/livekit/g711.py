"""G.711 by numpy, which only workers that meet it load."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from glassbridge.livekit.decoding import WithoutMemory, check_length

_TAPS: Final = 16
"""Samples on either side of a new one from which it is made."""


class G711(WithoutMemory):
    """A table of 256 values, then twice the rate."""

    def __init__(self, table: NDArray[np.float32]) -> None:
        self._table = table
        self._before = np.zeros(2 * _TAPS - 1, np.float32)

    def decode(self, payload: bytes) -> bytes:
        check_length(payload)
        samples = np.concatenate((self._before, self._table[np.frombuffer(payload, np.uint8)]))
        self._before = samples[-len(self._before) :]
        doubled = np.empty(2 * len(payload), np.float32)
        doubled[0::2] = samples[_TAPS - 1 : _TAPS - 1 + len(payload)]
        doubled[1::2] = np.convolve(samples, _HALFWAY, "valid")
        pcm: bytes = np.clip(np.rint(doubled), -32768, 32767).astype("<i2").tobytes()
        return pcm


def _mu_law() -> NDArray[np.float32]:
    """ITU-T G.711, table 2a."""
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    size = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return np.where(code & 0x80, -size, size).astype(np.float32)


def _a_law() -> NDArray[np.float32]:
    """ITU-T G.711, table 1a."""
    code = np.arange(256, dtype=np.int32) ^ 0x55
    part, power = code & 0x0F, code >> 4 & 7
    size = np.where(power == 0, (part << 4) + 8, (part << 4) + 0x108 << np.maximum(power - 1, 0))
    return np.where(code & 0x80, size, -size).astype(np.float32)


def _halfway() -> NDArray[np.float32]:
    """A filter that gives the values half-way between samples (windowed sinc)."""
    at = np.arange(-_TAPS, _TAPS) + 0.5
    taps = np.sinc(at) * np.hanning(2 * _TAPS + 1)[:-1]
    return np.asarray(taps / taps.sum(), np.float32)


_HALFWAY = _halfway()
TABLES: Final = {"mu": _mu_law(), "a": _a_law()}
