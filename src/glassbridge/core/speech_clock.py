"""What moment of a session does a recogniser speak of, and where did its answer lose time?

A recogniser counts from the first sample that its stream was fed. Streams come and go, and silence is not fed; a
session goes on. Here is kept which part of the session each part of a stream was: times stay continuous across streams,
and each answer can be measured against the moment at which its last sample came, and the one at which the recogniser
got it.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from glassbridge.core.values import SAMPLE_RATE

REMEMBERED: Final = 600
"""Pieces of audio of MERGED ms and more: a minute."""
MERGED: Final = 100

_SILENCE: Final = SAMPLE_RATE * 6 // 10
"""Samples after the last word by which the end of an utterance is known."""


@dataclass(frozen=True, slots=True)
class Lag:
    """Seconds between the last sample of what was understood and the answer, split by hop."""

    waited: float
    """In the cloud, for a stream that could take it."""
    recognised: float
    """In the recogniser and on the way to it and back."""

    @property
    def total(self) -> float:
        return self.waited + self.recognised


@dataclass(frozen=True, slots=True)
class _Piece:
    stream_end: int
    session_end: int
    """Samples."""
    came_at: float
    fed_at: float


class StreamClock:
    """The clock of one stream. Times in monotonic seconds, positions of the session in samples."""

    def __init__(self) -> None:
        self._pieces: deque[_Piece] = deque(maxlen=REMEMBERED)
        self._fed = 0
        self._piece_start = 0
        """Of the newest piece, in samples of the stream."""

    def fed(self, samples: int, session_end: int, came_at: float, fed_at: float) -> None:
        """The stream was given samples, the last of which is the one before `session_end`."""
        goes_on = bool(self._pieces) and self._pieces[-1].session_end == session_end - samples
        if goes_on and self._fed - self._piece_start < MERGED * SAMPLE_RATE // 1000:
            self._pieces.pop()
        else:
            self._piece_start = self._fed
        self._fed += samples
        self._pieces.append(_Piece(self._fed, session_end, came_at, fed_at))

    def begin(self, ms: int) -> int:
        """The session's position of a moment of the stream at which something begins."""
        return self._position(ms * SAMPLE_RATE // 1000, bisect_right)

    def end(self, ms: int) -> int:
        """The same where something ends: at a seam the two differ."""
        return self._position(ms * SAMPLE_RATE // 1000, bisect_left)

    def _position(self, sample: int, bisect: Callable[..., int]) -> int:
        if not self._pieces:
            return sample
        piece = self._piece(sample, bisect)
        return max(0, piece.session_end - (piece.stream_end - sample))

    def lag(self, end_ms: int, now: float) -> Lag | None:
        """Of an answer that ends at this moment of the stream; None when nothing was fed. Only the silence that follows
        tells that an utterance has ended: while none of it comes, since the link stands still, nothing is late here."""
        if not self._pieces:
            return None
        sample = end_ms * SAMPLE_RATE // 1000
        piece, following = self._piece(sample, bisect_left), self._piece(sample + _SILENCE, bisect_left)
        stalled = following.came_at - piece.came_at - (following.stream_end - piece.stream_end) / SAMPLE_RATE
        recognised = now - piece.fed_at - max(0.0, stalled)
        return Lag(max(0.0, piece.fed_at - piece.came_at), max(0.0, recognised))

    def _piece(self, sample: int, bisect: Callable[..., int]) -> _Piece:
        index = bisect(self._pieces, sample, key=lambda piece: piece.stream_end)
        return self._pieces[min(index, len(self._pieces) - 1)]


@dataclass(slots=True)
class LagBook:
    """The lags of one recognition since the last look."""

    answers: int = 0
    worst: Lag = field(default_factory=lambda: Lag(0.0, 0.0))
    _waited: float = 0.0
    _recognised: float = 0.0

    def note(self, lag: Lag) -> None:
        """One answer."""
        self.answers += 1
        self._waited += lag.waited
        self._recognised += lag.recognised
        if lag.total > self.worst.total:
            self.worst = lag

    @property
    def mean(self) -> Lag:
        """0 before any answer."""
        answers = max(1, self.answers)
        return Lag(self._waited / answers, self._recognised / answers)
