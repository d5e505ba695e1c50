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
            self._note_words(news)

    def _note_words(self, news: Transcription) -> None:
        """At the end, or what came late in its place."""
        gone = [line for line in self._lines if isinstance(line, Transcription) and line.id in news.replaces]
        for line in gone:
            self._lines.remove(line)
        later = (at for at, line in enumerate(self._lines) if _is_later(line, news))
        self._insert(news, None if news.inserts is None else next(later, None))

    def _insert(self, line: Transcription | Gap, at: int | None) -> None:
        """Before the line of this number; None: at the end."""
        if len(self._lines) == MOST:
            self._lines.popleft()
            at = at and at - 1
        self._lines.insert(len(self._lines) if at is None else at, line)

    def _knows(self, news: Transcription) -> bool:
        """A stream that is heard by two names comes twice."""
        lines = list(self._lines)
        return any(line == news for line in (lines if news.inserts is not None else lines[-4:]))

    def _note_gap(self, gap: Gap) -> None:
        known = next((line for line in self._lines if isinstance(line, Gap) and line.id == gap.id), None)
        if gap.state == "filled":
            if known is not None:
                self._lines.remove(known)
        elif known is None:
            self._insert(gap, next((at for at, line in enumerate(self._lines) if _start(line) >= gap.at_ms), None))
        else:
            self._lines[self._lines.index(known)] = gap


def _start(line: Transcription | Gap) -> int:
    return line.at_ms if isinstance(line, Gap) else line.start_ms


def _is_later(line: Transcription | Gap, news: Transcription) -> bool:
    """It was said later; a gap that begins where this does is filled by it."""
    if isinstance(line, Gap):
        return line.at_ms > news.start_ms
    return (line.start_ms, line.end_ms) > (news.start_ms, news.end_ms)
