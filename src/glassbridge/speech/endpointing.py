"""Where an utterance begins and ends: a pure rule over frames, each with a probability of speech and a power.

- It begins when BEGIN_FRAMES of the last BEGIN_WINDOW frames are likely to be speech, and includes LEAD frames before.
- It ends after a pause. People pause inside a sentence, too; so the pause must be long while the utterance is short,
  and may be short once it is long (PAUSES). In noise the detector misses quiet syllables: the pause must be longer.
- An utterance of FULL_FRAMES has to be cut even without a pause. `quietest` names the moments at which a cut is
  least likely to hit a word; the caller tries them and says by `cut` which one it took.

Frames are numbered from 0, and go on across utterances.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final

FRAME_SAMPLES: Final = 512
FRAME_MS: Final = 32

ENTER: Final = 0.45
LEAVE: Final = 0.3
"""Probabilities: a frame over ENTER may begin an utterance, one under LEAVE belongs to a pause."""
BEGIN_FRAMES, BEGIN_WINDOW = 3, 4
LEAD: Final = 10
TAIL: Final = 9
"""Frames of silence that an utterance takes with it before its first and after its last speech."""
PAUSES: Final = ((9_000 // FRAME_MS, 17), (12_000 // FRAME_MS, 10), (1 << 60, 4))
"""Up to so many frames of utterance, a pause is so many frames."""
NOISY_PAUSE: Final = 1
"""Frames more in noise: the end of speech is still known within 0.6 s."""
NOISY_RATIO: Final = 30.0
"""Noise: the power of speech is less than so many times the power between."""
FULL_FRAMES: Final = 14_000 // FRAME_MS
CUT_MARGIN: Final = 16
"""Frames before the newest one in which nothing is cut: a word may have just begun."""


class Mark(Enum):
    """What a frame meant."""

    SILENCE = "silence"
    BEGINS = "begins"
    GOES_ON = "goes on"
    ENDS = "ends"
    FULL = "full"
    """It goes on, and has to be cut."""


@dataclass(slots=True)
class UtteranceFrames:
    """Frames: it holds those from `start` on; the first and the last speech in it."""

    start: int
    first: int
    last: int

    @property
    def end(self) -> int:
        """The frame after its last one."""
        return self.last + 1 + TAIL


class _Level:
    """A slowly moving mean of power."""

    def __init__(self) -> None:
        self._mean: float | None = None

    def note(self, power: float) -> None:
        self._mean = power if self._mean is None else self._mean + 0.05 * (power - self._mean)

    @property
    def mean(self) -> float | None:
        return self._mean


class Endpointer:
    """Takes frames one by one. `utterance` is the open one, and after ENDS the one that has ended."""

    def __init__(self) -> None:
        self.count = 0
        """Frames taken."""
        self.in_speech = False
        self.utterance = UtteranceFrames(0, 0, 0)
        self._recent: deque[bool] = deque(maxlen=BEGIN_WINDOW)
        self._powers: deque[float] = deque(maxlen=FULL_FRAMES + CUT_MARGIN)
        self._free = 0
        """The first frame that no utterance holds."""
        self._speech, self._noise = _Level(), _Level()

    def take(self, probability: float, power: float) -> Mark:
        """Judges the next frame."""
        now, self.count = self.count, self.count + 1
        self._powers.append(power)
        if probability >= ENTER:
            self._speech.note(power)
        elif probability < LEAVE / 3:
            self._noise.note(power)
        if not self.in_speech:
            return self._wait(now, probability)
        utterance = self.utterance
        if probability >= LEAVE:
            utterance.last = now
        elif now - utterance.last >= self._pause(now - utterance.start):
            self.in_speech = False
            self._free = min(utterance.end, self.count)
            self._recent.clear()
            return Mark.ENDS
        return Mark.FULL if now - utterance.start >= FULL_FRAMES else Mark.GOES_ON

    def _wait(self, now: int, probability: float) -> Mark:
        self._recent.append(probability >= ENTER)
        if sum(self._recent) < BEGIN_FRAMES:
            return Mark.SILENCE
        first = now + 1 - len(self._recent) + list(self._recent).index(True)
        self.utterance = UtteranceFrames(max(self._free, first - LEAD), first, now)
        self.in_speech = True
        return Mark.BEGINS

    def _pause(self, length: int) -> int:
        frames = next(pause for up_to, pause in PAUSES if length <= up_to)
        return frames + NOISY_PAUSE if self.noisy else frames

    @property
    def noisy(self) -> bool:
        """There is noise between the words."""
        speech, noise = self._speech.mean, self._noise.mean
        return speech is not None and noise is not None and speech < NOISY_RATIO * noise

    def quietest(self, most: int) -> list[int]:
        """Frames before which the open utterance may be cut, the quietest first; none in its first half."""
        powers, oldest = list(self._powers), self.count - len(self._powers)
        begin = max(self.utterance.start + (self.count - self.utterance.start) // 2, oldest + 1)
        smooth = {
            frame: powers[at - 1] + 2 * powers[at] + powers[at + 1]
            for frame in range(begin, self.count - CUT_MARGIN)
            for at in (frame - oldest,)
        }
        dips = [
            frame
            for frame, power in smooth.items()
            if power <= smooth.get(frame - 1, power) and power < smooth.get(frame + 1, power + 1.0)
        ]
        return sorted(dips, key=lambda frame: (smooth[frame], -frame))[:most]

    def cut(self, frame: int) -> None:
        """The open utterance was cut before this frame; the rest of it goes on as another one."""
        self._free = frame
        self.utterance = UtteranceFrames(frame, frame, max(frame, self.utterance.last))

    def reset(self) -> None:
        """An open utterance is over, and what was heard of it is no part of the next."""
        self.in_speech = False
        self._free = self.count
        self._recent.clear()
