"""Counts the sound that a phone plays: how long, how loud; keeps it where that is wanted."""

from array import array
from math import sqrt
from sys import byteorder
from typing import Protocol

from glassbridge.core.values import BYTES_PER_MS
from glassbridge.phone.events import RoomSound

PORTION_MS = 1000
_FULL_SCALE = 32768


class SoundSink(Protocol):
    """Keeps what is heard."""

    def take(self, track: str, pcm: bytes) -> None:
        """A block of a track."""


class Hearing:
    """Gathers blocks of PCM16 into portions."""

    def __init__(self) -> None:
        self.keeper: SoundSink | None = None
        self.ms = 0
        """Milliseconds heard so far."""
        self._pending = bytearray()

    def take(self, track: str, pcm: bytes) -> RoomSound | None:
        """One block; returns a portion when it is full."""
        if self.keeper is not None:
            self.keeper.take(track, pcm)
        self.ms += len(pcm) // BYTES_PER_MS
        self._pending += pcm
        if len(self._pending) < PORTION_MS * BYTES_PER_MS:
            return None
        samples = array("h", bytes(self._pending[: len(self._pending) // 2 * 2]))
        self._pending.clear()
        if byteorder == "big":
            samples.byteswap()
        level = sqrt(sum(sample * sample for sample in samples) / len(samples)) / _FULL_SCALE
        return RoomSound(self.ms, round(level, 4))
