"""Is what a phone sends as PCM something else? Judged from the shape of each chunk, as coded audio is read as samples.

Rules
- Coded audio looks like noise of full strength: most samples are LOUD, and no sample resembles its neighbours. A voice
  has few loud samples; one that is clipped, or a tone of any pitch, resembles itself within LAGS samples.
- The first chunk decides at once: audio that was never plain is never live. After plain audio it takes TURN coded
  chunks in a row, and TURN plain ones to be believed again.
- Frames of an announced coding that their decoder finds damaged count the same way: a chunk with more than DAMAGED of
  them is no chunk of this coding.

It does not know frames, clocks, decoders or phones.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from glassbridge.core.diagnosis import Action, Finding, Hop

LOUD: Final = 8_192
"""Magnitude of a loud sample."""
LAGS: Final = 8
LOUD_SHARE: Final = 0.5
PLAIN_SHARE: Final = 0.25
"""With fewer loud samples it is plain."""
LIKENESS: Final = 0.5
"""Greatest correlation of noise with itself; of 64 samples 0.3 is usual."""
SHORTEST: Final = 64
"""Samples without which there is no verdict."""
TURN: Final = 3
DAMAGED: Final = 0.3
"""Share of damaged frames. PCM read as LC3 has 0.44, LC3 of a lossless way has none."""

CODED_AUDIO: Final = Finding(
    Hop.PHONE,
    "coded_audio",
    "audio arrives in a coding that was not announced: announce it (POST /api/client/audio/configure) or send PCM16 at "
    "16 kHz",
    Action.ASK_PHONE,
)


class Verdict(Enum):
    """Of one chunk."""

    PLAIN = "plain"
    CODED = "coded"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Shape:
    """The samples of one chunk, in numbers."""

    loud: float
    """Share of loud samples."""
    likeness: float
    """Greatest correlation with itself at 1 to LAGS samples, regardless of sign."""


def verdict_of(shape: Shape) -> Verdict:
    """What a chunk of at least SHORTEST samples looks like."""
    if shape.loud < PLAIN_SHARE or shape.likeness > LIKENESS:
        return Verdict.PLAIN
    return Verdict.CODED if shape.loud >= LOUD_SHARE else Verdict.UNSURE


class CodedJudge:
    """Takes the verdicts of one phone in order; `refuses` says whether its audio is nothing to hear."""

    def __init__(self) -> None:
        self.refuses = False
        self.was_plain = False
        """Plain audio has come since the beginning."""
        self._in_a_row = 0
        """Chunks that speak against what is believed."""

    def take(self, verdict: Verdict) -> None:
        """The next chunk."""
        if verdict is Verdict.UNSURE:
            return
        against = (verdict is Verdict.CODED) is not self.refuses
        self._in_a_row = self._in_a_row + 1 if against else 0
        if self._in_a_row >= (TURN if self.was_plain or self.refuses else 1) and against:
            self.refuses, self._in_a_row = not self.refuses, 0
        self.was_plain = self.was_plain or (verdict is Verdict.PLAIN and not self.refuses)
