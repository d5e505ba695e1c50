"""Sound and words as the demo measures them."""

import math
from array import array
from difflib import SequenceMatcher

from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE


def words_found(spoken: list[str], heard: list[str]) -> int:
    """How many of the spoken words were heard, in order."""
    return sum(block.size for block in SequenceMatcher(None, spoken, heard, autojunk=False).get_matching_blocks())


def loudness(pcm: bytes) -> float:
    """0 for silence under -60 dB, 1 for full scale."""
    samples = array("h", pcm)
    power = sum(sample * sample for sample in samples) / max(1, len(samples)) / 32768**2
    return min(1.0, max(0.0, 1 + math.log10(power) / 6)) if power else 0.0


def bytes_of(seconds: float) -> int:
    """How long that is, in whole samples."""
    return int(seconds * SAMPLE_RATE) * BYTES_PER_SAMPLE
