"""What a person with this phone hears: all tracks mixed, on one time line."""

import wave
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final

import numpy as np

from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE

LONGEST: Final = 600 * SAMPLE_RATE
"""Samples that are kept; later sound is not."""
PAUSE: Final = SAMPLE_RATE // 5
"""Samples; a block that comes later than this after the last of its track stands at its own time, not behind that."""


class Recording:
    """PCM16, 16 kHz, mono; begins with the first sound."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._begun: float | None = None
        self._mix = np.zeros(SAMPLE_RATE, np.int32)
        self._length = 0
        self._ends: dict[str, int] = {}

    def take(self, track: str, pcm: bytes) -> None:
        """A block of a track."""
        now = self._clock()
        if self._begun is None:
            self._begun = now
        arrived = round((now - self._begun) * SAMPLE_RATE)
        at = self._ends.get(track, arrived)
        if arrived - at > PAUSE:
            at = arrived
        samples = np.frombuffer(pcm, "<i2")
        end = self._ends[track] = at + len(samples)
        if end > LONGEST:
            return
        while end > len(self._mix):
            self._mix = np.concatenate((self._mix, np.zeros_like(self._mix)))
        self._mix[at:end] += samples
        self._length = max(self._length, end)

    @property
    def pcm(self) -> bytes:
        """All of it."""
        found: bytes = np.clip(self._mix[: self._length], -32768, 32767).astype("<i2").tobytes()
        return found

    def save(self, path: Path) -> None:
        """As a WAV file. Raises OSError."""
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(BYTES_PER_SAMPLE)
            file.setframerate(SAMPLE_RATE)
            file.writeframes(self.pcm)
