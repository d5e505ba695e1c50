"""What was said in a session, in order, with the gaps in it."""

from collections import deque
from typing import Final

from glassbridge.app.events import Gap, Transcription

MOST: Final = 2_000
"""Lines that are kept; the oldest go first."""


class Transcript:
    """Final transcriptions of what the app listens to, and gaps: one that is filled goes, and its words are there."""

    def __init__(self) -> None:
        self._lines: deque[Transcription | Gap] = deque(maxlen=MOST)

    @property
    def lines(self) -> list[Transcription | Gap]:
        """The oldest first."""
        return list(self._lines)

    @property
    def text(self) -> str:
        """For people: a gap is told in brackets."""
        return " ".join(line.text if isinstance(line, Transcription) else f"[{line}]" for line in self._lines)

    def note(self, news: Transcription | Gap) -> None:
        """Something came."""
        if isinstance(news, Gap):
            self._note_gap(news)
        elif news.final and not self._knows(news):
            self._lines.append(news)

    def _knows(self, news: Transcription) -> bool:
        """What is heard by two names comes twice."""
        return any(line == news for line in list(self._lines)[-4:])

    def _note_gap(self, gap: Gap) -> None:
        known = next((line for line in self._lines if isinstance(line, Gap) and line.id == gap.id), None)
        if gap.state == "filled":
            if known is not None:
                self._lines.remove(known)
        elif known is None:
            self._lines.append(gap)
        else:
            self._lines[self._lines.index(known)] = gap
