"""Is what a phone sends as PCM something else? Judged from the shape of each chunk, as coded audio is read as samples.

Rules
- Coded audio looks like noise of full strength: most samples are LOUD, and no sample resembles its neighbours. A voice
  has few loud samples; one that is clipped, or a tone of any pitch, resembles itself within LAGS samples.
- A chunk that is short, and of a length that frames of the original's LC3 add up to, decides at once if it is the
  first: audio that was never plain is never live. After plain audio it takes TURN such chunks in a row. Of chunks of
  any other length, which may be samples, it takes SECONDS. TURN plain chunks are believed again.
- Frames of an announced coding that their decoder finds damaged count the same way: a chunk with more than DAMAGED of
  them is no chunk of this coding.

It does not know frames, clocks, decoders or phones; time is an argument.
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
SHORT: Final = 640
"""Bytes; fewer are less than 20 ms of samples, and as much as 60 ms and more of LC3."""
FRAME_UNIT: Final = 20
"""Bytes; frames of the original's LC3 have one, two or three times as many."""
TURN: Final = 3
SECONDS: Final = 0.5
"""Without a plain chunk. Speech that is 64 times too loud looks like noise for 0.12 s at most, cymbals for 0.15 s."""
DAMAGED: Final = 0.3
"""Share of damaged frames. PCM read as LC3 has 0.44, LC3 of a lossless way has none."""

CODED_AUDIO: Final = Finding(
    Hop.PHONE,
    "coded_audio",
    "audio arrives in a coding that was not announced: announce it (POST /api/client/audio/configure) or send PCM16 at "
    "16 kHz",
    Action.ASK_PHONE,
)


class CodingVerdict(Enum):
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


def verdict_of(shape: Shape) -> CodingVerdict:
    """What a chunk of at least SHORTEST samples looks like."""
    if shape.loud < PLAIN_SHARE or shape.likeness > LIKENESS:
        return CodingVerdict.PLAIN
    return CodingVerdict.CODED if shape.loud >= LOUD_SHARE else CodingVerdict.UNSURE


def may_be_lc3(size: int) -> bool:
    """Whether a chunk of so many bytes is more likely LC3 than samples."""
    return size < SHORT and size % FRAME_UNIT == 0


class CodedJudge:
    """Takes the verdicts of one phone in order; `refuses` says whether its audio is nothing to hear."""

    __slots__ = ("_in_a_row", "_since", "refuses", "was_plain")

    def __init__(self) -> None:
        self.refuses = False
        self.was_plain = False
        """Plain audio has come since the beginning."""
        self._in_a_row = 0
        """Chunks that speak against what is believed."""
        self._since = 0.0
        """When the first of them came."""

    def take(self, verdict: CodingVerdict, now: float, *, likely: bool) -> None:
        """The next chunk. `likely`: its length is that of coded audio; `now` is monotonic seconds."""
        if verdict is CodingVerdict.UNSURE:
            return
        if (verdict is CodingVerdict.CODED) is self.refuses:
            self._in_a_row = 0
        else:
            self._since = self._since if self._in_a_row else now
            self._in_a_row += 1
            if self._is_enough(now, likely):
                self.refuses, self._in_a_row = not self.refuses, 0
        self.was_plain = self.was_plain or (verdict is CodingVerdict.PLAIN and not self.refuses)

    def _is_enough(self, now: float, likely: bool) -> bool:
        if self.refuses:
            return self._in_a_row >= TURN
        if likely:
            return self._in_a_row >= (TURN if self.was_plain else 1)
        return now - self._since >= SECONDS
