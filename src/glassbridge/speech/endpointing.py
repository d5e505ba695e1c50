"""Where an utterance begins and ends: a pure rule over frames that a voice detector has judged.

- It begins when START_SHARE of the last START_FRAMES frames are speech, and reaches back over all of those frames.
- It ends when END_SHARE of the last END_FRAMES frames are not: people pause inside a sentence, too.
- It ends after MAX_FRAMES in any case: captions must not wait for somebody who never pauses.
"""

from collections import deque
from dataclasses import dataclass

FRAME_MS = 30
START_FRAMES, START_SHARE = 10, 0.6
END_FRAMES, END_SHARE = 17, 0.9
MAX_FRAMES = 20_000 // FRAME_MS


@dataclass(frozen=True, slots=True)
class Speech:
    """What one frame meant: the frames that belong to the utterance now, and whether it begins or ends with them."""

    frames: tuple[bytes, ...]
    begins: bool = False
    ends: bool = False


class Endpointer:
    """Takes frames one by one. `in_speech` tells whether an utterance is open."""

    def __init__(self) -> None:
        self._recent: deque[tuple[bytes, bool]] = deque(maxlen=max(START_FRAMES, END_FRAMES))
        self._length = 0
        self.in_speech = False

    def take(self, frame: bytes, is_speech: bool) -> Speech | None:
        """None while nobody speaks."""
        self._recent.append((frame, is_speech))
        if self.in_speech:
            self._length += 1
            ends = self._length >= MAX_FRAMES or self._share_of_silence() >= END_SHARE
            if ends:
                self.reset()
            return Speech((frame,), ends=ends)
        head = list(self._recent)[-START_FRAMES:]
        if sum(voiced for _, voiced in head) < START_SHARE * START_FRAMES:
            return None
        self.in_speech = True
        self._length = len(head)
        return Speech(tuple(pcm for pcm, _ in head), begins=True)

    def reset(self) -> None:
        """Forgets what was heard; an open utterance is over."""
        self._recent.clear()
        self._length = 0
        self.in_speech = False

    def _share_of_silence(self) -> float:
        tail = list(self._recent)[-END_FRAMES:]
        return sum(not voiced for _, voiced in tail) / END_FRAMES
