"""The level of one session's microphone, measured only while it is watched."""

from array import array
from collections import deque
from collections.abc import Callable
from math import log10
from operator import mul
from typing import Final

from glassbridge.core.values import BYTES_PER_MS

EVERY_MS: Final = 100
KEPT: Final = 50
"""Levels that wait for the watcher: five seconds."""
SILENCE: Final = -96
"""dBFS of digital silence, in PCM16."""
_BLOCK: Final = EVERY_MS * BYTES_PER_MS
_FULL_SCALE: Final = 32_768.0


class LevelMeter:
    """A listener. Levels are of the live view: late audio says nothing of now."""

    wants_late = False

    def __init__(self, clock: Callable[[], int]) -> None:
        self.levels: deque[tuple[int, int]] = deque(maxlen=KEPT)
        """(unix milliseconds at which it was heard, dBFS)."""
        self._clock = clock
        self._rest = b""

    def put(self, pcm: bytes) -> None:
        """Takes samples; never waits."""
        data = self._rest + pcm
        whole = len(data) - len(data) % _BLOCK
        self._rest = data[whole:]
        now = self._clock() - (whole // _BLOCK - 1) * EVERY_MS
        for number, start in enumerate(range(0, whole, _BLOCK)):
            self.levels.append((now + number * EVERY_MS, dbfs(data[start : start + _BLOCK])))


def dbfs(pcm: bytes) -> int:
    """RMS of PCM16 in decibels below full scale, rounded; SILENCE for silence."""
    samples = array("h", pcm)
    square = sum(map(mul, samples, samples)) / len(samples)
    return max(SILENCE, round(10 * log10(square / _FULL_SCALE**2))) if square else SILENCE
