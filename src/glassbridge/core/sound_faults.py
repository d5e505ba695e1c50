"""Is what a phone sends the sound of a living microphone? Judged from blocks of BLOCK seconds, by some numbers of each.

Rules
- A microphone that works never gives the same value for seconds: samples that are all zero are a dead capture, samples
  that all have another value a stuck one. The faintest noise (one unit) is a living microphone; but a codec turns zeros
  into a unit here and there.
- A signal that stays at its extremes for seconds is clipped: its deviation is nearly half of its range (a pure tone,
  the steadiest sound there is, has 0.71 of that). A codec blurs that; then it is as loud as can be, and hits the ends.
- A fault is one that lasted FAULT_AFTER seconds while the user spoke, by the phone's own voice detector. The first
  block of living sound ends it.

It does not know frames, clocks or phones.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from glassbridge.core.diagnosis import Action, Finding, Hop

BLOCK: Final = 0.1
"""Seconds in one block."""
FAULT_AFTER: Final = 3.0
CODED_ZERO: Final = 2
"""The largest value that a codec makes of zeros, and by how much they deviate then."""
CODED_DEVIATION: Final = 0.2
CLIPPED_SHARE: Final = 0.77
"""Standard deviation of a clipped block, as a share of half its range."""
CLIPPED_RANGE: Final = 6_000
"""Range of a clipped block, at least: what is less may be the last bits of a quiet signal."""
LOUDEST: Final = 17_000.0
"""Deviation of a block that is clipped if ENDS_SHARE of its samples are at either end of what a sample can be."""
ENDS_SHARE: Final = 0.02


class SoundFault(Enum):
    """What is wrong with the sound."""

    SILENT = "digital_silence"
    STUCK = "stuck_signal"
    CLIPPED = "clipped_signal"


FINDINGS: Final = {
    fault: Finding(Hop.PHONE, fault.value, f"audio arrives, but {what}: restart the microphone", Action.RESTART_CAPTURE)
    for fault, what in (
        (SoundFault.SILENT, "every sample is zero"),
        (SoundFault.STUCK, "every sample has the same value"),
        (SoundFault.CLIPPED, "it is clipped"),
    )
}


@dataclass(frozen=True, slots=True)
class BlockFigures:
    """The samples of one block, in numbers."""

    low: int
    high: int
    deviation: float
    """Standard deviation."""
    at_ends: float = 0.0
    """Share of the samples that are at either end of 16 bits; may be left out of a block that is not LOUDEST."""


def fault_in(block: BlockFigures) -> SoundFault | None:
    """What is wrong with a block; None where nothing is."""
    low, high = block.low, block.high
    if low == high != 0:
        return SoundFault.STUCK
    if low >= -CODED_ZERO and high <= CODED_ZERO and block.deviation <= CODED_DEVIATION:
        return SoundFault.SILENT
    steady = high - low >= CLIPPED_RANGE and block.deviation >= CLIPPED_SHARE * (high - low) / 2
    if steady or (block.deviation >= LOUDEST and block.at_ends >= ENDS_SHARE):
        return SoundFault.CLIPPED
    return None


class SoundJudge:
    """Takes the blocks of one phone in order; `fault` is what has been wrong for long enough."""

    __slots__ = ("_blocks", "_speaking", "_suspected", "fault")

    def __init__(self) -> None:
        self.fault: SoundFault | None = None
        self._speaking = False
        self._suspected: SoundFault | None = None
        self._blocks = 0
        """Blocks of the suspected kind in a row, while the user spoke."""

    def voice(self, speaking: bool) -> None:
        """What the phone's voice detector says."""
        self._speaking = speaking
        self._blocks = 0

    def take(self, block: BlockFigures) -> None:
        """The next block."""
        found = fault_in(block)
        if found is not self._suspected:
            self._suspected, self._blocks = found, 0
        if found is None:
            self.fault = None
        elif self._speaking:
            self._blocks += 1
            if self._blocks >= round(FAULT_AFTER / BLOCK):
                self.fault = found
