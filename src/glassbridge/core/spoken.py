"""The last seconds of what was said: what a new stream is given, so that nothing is lost between two streams.

Rules
- A new stream begins PRE_ROLL seconds before the speech, after what is finally understood, and never over BEHIND
  seconds back: the longest utterance, the time until a stream is known to be dead, and some lag.
- What a lost stream had not finally understood is given to the next one, once: if that fails as well, it may be the
  audio that does it.
- The new stream of a user who was told that there is no room begins RECENT seconds back, even if a lost stream had not
  understood what was said before: captions of that would come late, and keep others waiting.
- Silence is skipped, but only after speech that was given to a stream, and only what comes after speech that was
  understood is not needed again: a stream may turn out to be dead long after the user has stopped speaking.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE

PRE_ROLL: Final = 2.5
BEHIND: Final = 30.0
RECENT: Final = 2.5
_PRE_ROLL: Final = round(PRE_ROLL * SAMPLE_RATE)
_BEHIND: Final = round(BEHIND * SAMPLE_RATE)
_RECENT: Final = round(RECENT * SAMPLE_RATE)


@dataclass(frozen=True, slots=True)
class Piece:
    """Samples of the session; positions count from its first sample."""

    start: int
    pcm: bytes
    came_at: float
    """Monotonic seconds."""

    @property
    def end(self) -> int:
        return self.start + len(self.pcm) // BYTES_PER_SAMPLE


class Spoken:
    """Of one recognition."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self._from = 0
        """Where the next piece for a stream begins."""
        self.end = 0
        """Of what was said."""
        self._understood = 0
        self._given_twice = 0
        """Everything before was given to a stream that replaced another one."""
        self.dropped = 0
        """Samples of speech that no stream was given in time."""

    def keep(self, piece: Piece) -> None:
        """The user speaks."""
        self.end = piece.end
        self._append(piece)

    def pass_by(self, piece: Piece) -> None:
        """The user is silent: only the end of this audio may belong to the next words."""
        self._append(piece)
        self._skip(piece.end - _PRE_ROLL)
        if self._understood >= self.end:
            self._understood = max(self._understood, piece.end - _PRE_ROLL)

    def _append(self, piece: Piece) -> None:
        self._pieces.append(piece)
        oldest = max(piece.end - _BEHIND, min(self._from, self._understood))
        while self._pieces and self._pieces[0].end <= oldest:
            gone = self._pieces.pop(0)
            if gone.end > self._from:
                self.dropped += max(0, min(gone.end, self.end) - max(gone.start, self._from))
                self._from = gone.end

    def begins(self, position: int) -> None:
        """A speech begins here: what was silence until now is skipped."""
        self._skip(position - _PRE_ROLL)

    def _skip(self, position: int) -> None:
        if not self.waiting:
            self._from = max(self._from, position)

    def understood(self, position: int) -> None:
        """Everything before is finally understood."""
        self._understood = max(self._understood, position)

    def lost(self) -> None:
        """The stream is gone: what it did not understand is given again, unless it was already."""
        fed, self._from = self._from, max(min(self._understood, self._from), self._given_twice)
        self._given_twice = max(self._given_twice, fed)

    def crowded_out(self) -> None:
        """There was no room until now."""
        if (recent := self.end - _RECENT) > self._from:
            self.dropped += recent - self._from
            self._from = recent
            self.understood(recent)  # or the next stream would be given it, should this one be lost

    @property
    def waiting(self) -> bool:
        """Something was said that no stream has been given."""
        return self.end > self._from

    def waits(self, now: float) -> float:
        """Seconds since the first of what no stream has been given was said."""
        return max((now - piece.came_at for piece in self._pieces if piece.end > self._from), default=0.0)

    def take(self) -> Iterator[Piece]:
        """What is to be given to the stream now, in order."""
        fresh = list(takewhile(lambda piece: piece.end > self._from, reversed(self._pieces)))  # mostly the last one
        for piece in reversed(fresh):
            cut = max(0, self._from - piece.start) * BYTES_PER_SAMPLE
            yield Piece(max(piece.start, self._from), piece.pcm[cut:], piece.came_at)
            self._from = piece.end
