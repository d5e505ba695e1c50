"""Watches whether what a phone sends is the sound of a living microphone (core/sound_faults.py)."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from glassbridge.core.diagnosis import Finding
from glassbridge.core.sound_faults import BLOCK, FINDINGS, LOUDEST, BlockFigures, SoundJudge
from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE

LOWEST: Final = -32_768
HIGHEST: Final = 32_767
BLOCK_BYTES: Final = round(BLOCK * SAMPLE_RATE) * BYTES_PER_SAMPLE


class SoundWatch:
    """A listener of the microphone; `tell` hears of each change."""

    __slots__ = ("_judge", "_pending", "_tell")

    def __init__(self, tell: Callable[[Finding | None], None]) -> None:
        self._tell = tell
        self._judge = SoundJudge()
        self._pending = bytearray()

    @property
    def wants_late(self) -> bool:
        return False

    def voice(self, speaking: bool) -> None:
        """What the phone says of speech."""
        self._judge.voice(speaking)

    def put(self, pcm: bytes) -> None:
        """Takes whole samples; never waits."""
        before = self._judge.fault
        self._pending += pcm
        while len(self._pending) >= BLOCK_BYTES:
            samples = np.frombuffer(bytes(self._pending[:BLOCK_BYTES]), "<i2")
            del self._pending[:BLOCK_BYTES]
            self._judge.take(_measure(samples))
        if (fault := self._judge.fault) is not before:
            self._tell(FINDINGS[fault] if fault is not None else None)


def _measure(samples: NDArray[np.int16]) -> BlockFigures:
    low, high = int(samples.min()), int(samples.max())
    deviation = float(samples.std()) if low < high else 0.0
    at_ends = float(np.mean((samples == LOWEST) | (samples == HIGHEST))) if deviation >= LOUDEST else 0.0
    return BlockFigures(low, high, deviation, at_ends)
