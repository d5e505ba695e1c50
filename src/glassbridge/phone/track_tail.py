"""The audio that went by the track lately. A track has no numbers: it is unknown which of its audio arrived. If its
path dies, the audio that was not heard is sent once more, by the WebSocket."""

from collections import deque
from dataclasses import replace
from typing import Final

from glassbridge.core.values import BYTES_PER_MS, BYTES_PER_SAMPLE
from glassbridge.phone.capture import Frame

KEPT_MS: Final = 30_000
"""More than most networks are away: a track is written to until its place is lost."""
PIECE: Final = 100 * BYTES_PER_MS


class TrackTail:
    """Of one phone; times are microseconds of the capture clock."""

    def __init__(self, kept_ms: int = KEPT_MS) -> None:
        self._kept = kept_ms * BYTES_PER_MS
        self._frames: deque[Frame] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        """Frames that are kept."""
        return len(self._frames)

    def note(self, frame: Frame) -> None:
        """It went by the track."""
        self._frames.append(frame)
        self._bytes += len(frame.pcm)
        while self._bytes > self._kept:
            self._bytes -= len(self._frames.popleft().pcm)

    def take(self, since_us: int) -> list[Frame]:
        """What of it was captured since then, in pieces of 100 ms at most; nothing is kept."""
        out = []
        for frame in self._frames:
            skip = max(0, since_us - frame.number.capture_time_us) * BYTES_PER_MS // 1000
            start = skip - skip % BYTES_PER_SAMPLE
            for at in range(start, len(frame.pcm), PIECE):
                captured = frame.number.capture_time_us + at * 1000 // BYTES_PER_MS
                out.append(Frame(replace(frame.number, capture_time_us=captured), frame.pcm[at : at + PIECE]))
        self._frames.clear()
        self._bytes = 0
        return out
