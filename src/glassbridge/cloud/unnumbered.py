"""Audio without numbers of one session, whichever way it comes: PCM16 at 16 kHz, or LC3 where the phone announced it.

What is neither (core/coded_audio.py) is not heard: to a recogniser it is noise, and a phone that sends it is not live.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from glassbridge.cloud.audio import OddByte
from glassbridge.cloud.lc3 import Decoder
from glassbridge.core.coded_audio import (
    DAMAGED,
    LAGS,
    LOUD,
    SHORTEST,
    CodedJudge,
    CodingVerdict,
    Shape,
    may_be_lc3,
    verdict_of,
)
from glassbridge.core.values import BYTES_PER_SAMPLE
from glassbridge.telemetry import metrics
from glassbridge.wire.audio_frames import FrameError

JUDGED: Final = SHORTEST * BYTES_PER_SAMPLE

_coded = metrics.FRAMES_DROPPED.cell("socket", "coded")


class Unnumbered:
    """`tell` hears of each change of `refuses`; `clock` gives monotonic seconds."""

    __slots__ = ("_clock", "_judge", "_lc3", "_tell", "_waiting")

    def __init__(self, tell: Callable[[bool], None], clock: Callable[[], float]) -> None:
        self._tell = tell
        self._clock = clock
        self._lc3: Decoder | None = None
        self._begin()

    def _begin(self) -> None:
        self._judge = CodedJudge()
        self._waiting = b""
        """The first samples, until there are enough for a verdict."""

    @property
    def refuses(self) -> bool:
        """The data is not audio."""
        return self._judge.refuses

    @property
    def lc3(self) -> int:
        """Bytes of a frame of LC3, if the phone announced it; else 0."""
        return 0 if self._lc3 is None else self._lc3.size

    def configure(self, lc3: Decoder | None) -> None:
        """The phone announced its coding; None: PCM."""
        self._lc3 = lc3
        self._renew()

    def reached(self) -> None:
        """The phone has a new socket: it is judged anew. What it announced stays."""
        self._renew()

    def _renew(self) -> None:
        refused = self.refuses
        self._begin()
        if refused:
            self._tell(False)

    def samples(self, chunk: bytes, odd: OddByte) -> bytes:
        """The whole samples of a chunk; empty where there is nothing to hear. `odd` belongs to the way that it came.
        Raises FrameError where it is no chunk of what was announced."""
        refused = self.refuses
        pcm = self._decoded(chunk) if self._lc3 is not None else self._plain(odd.whole(chunk), len(chunk))
        if self.refuses is not refused:
            self._tell(self.refuses)
        if not self.refuses:
            return pcm
        _coded.count += 1
        return b""

    def _decoded(self, chunk: bytes) -> bytes:
        assert self._lc3 is not None
        try:
            pcm, damaged = self._lc3.decode(chunk)
        except ValueError as error:
            self._judge.take(CodingVerdict.CODED, self._clock(), likely=True)
            if self.refuses:
                return b""
            raise FrameError(str(error)) from None
        frames = len(chunk) // self._lc3.size
        if frames:
            verdict = CodingVerdict.CODED if damaged > DAMAGED * frames else CodingVerdict.PLAIN
            self._judge.take(verdict, self._clock(), likely=True)
        return pcm

    def _plain(self, pcm: bytes, size: int) -> bytes:
        likely = may_be_lc3(size)
        pcm, self._waiting = self._waiting + pcm, b""
        if likely and not self._judge.was_plain and len(pcm) < JUDGED:
            self._waiting = pcm
            return b""
        if len(pcm) >= JUDGED:
            self._judge.take(verdict_of(_shape(pcm)), self._clock(), likely=likely)
        return pcm


def _shape(pcm: bytes) -> Shape:
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    loud = np.count_nonzero(np.abs(samples) >= LOUD) / len(samples)
    samples -= samples.mean()
    power = float(samples @ samples)
    if power == 0.0:
        return Shape(loud, 1.0)
    alike = max(abs(float(samples[lag:] @ samples[:-lag])) for lag in range(1, LAGS + 1))
    return Shape(loud, alike / power)
