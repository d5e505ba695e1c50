"""A recogniser that reads: each word is a tone of its own, so that a word that is lost, cut or said twice shows."""

import asyncio
from array import array
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from glassbridge.core.admission import Limits
from glassbridge.core.recogniser import Reason, StreamTimes
from glassbridge.core.values import BYTES_PER_MS
from glassbridge.speech.base import RecogniserError, Transcript, Want
from tests.support.patience import deadline

WORD_MS, SPACE_MS, PAUSE_MS = 300, 60, 500
"""Of speech: a word, the silence after it, and the silence that ends an utterance."""
PARTIAL_MS = 500
_SAMPLES_PER_MS = BYTES_PER_MS // 2


def spoken(sentences: Iterable[tuple[int, int]]) -> bytes:
    """Sentences of so many words, each with so many milliseconds of silence after it. Words count from 1."""
    sound, word = b"", 0
    for words, pause in sentences:
        for _ in range(words):
            word += 1
            sound += array("h", [word]).tobytes() * (WORD_MS * _SAMPLES_PER_MS) + bytes(SPACE_MS * BYTES_PER_MS)
        sound += bytes(pause * BYTES_PER_MS)
    return sound


@dataclass(frozen=True)
class Trouble:
    """What becomes of a stream once it was fed `after` seconds."""

    after: float
    reason: Reason | None = None
    """None: it answers nothing any more."""
    slow: float = 0.0
    """Seconds by which answers are late from then on, instead."""


@dataclass
class Reader:
    """A Recogniser. `troubles` are those of its streams, one after the other; None: all goes well."""

    name: str
    delay: float = 0.3
    troubles: list[Trouble | None] = field(default_factory=list)
    watched: float | None = None
    """Seconds after which somebody notices that a stream answers nothing; None: nobody but its owner."""
    times: StreamTimes = field(default_factory=StreamTimes)
    limits: Limits = field(default_factory=lambda: Limits(streams=100, opening=100))
    stuck: float = 10.0
    fits: None = None
    opened: int = 0
    fed: int = 0
    """Bytes that all its streams were given."""

    def serves(self, want: Want) -> Want:
        return want

    async def open(
        self, want: Want, on_transcript: Callable[[Transcript], None], on_lost: Callable[[RecogniserError], None]
    ) -> "ReaderStream":
        trouble = self.troubles.pop(0) if self.troubles else None
        self.opened += 1
        await asyncio.sleep(0.05)
        if trouble is not None and trouble.after <= 0.0 and trouble.slow == 0.0:
            if trouble.reason is None:
                await asyncio.sleep(60.0)
            raise RecogniserError("no", trouble.reason or Reason.NETWORK)
        return ReaderStream(self, trouble, on_transcript, on_lost)

    def warm_up(self) -> None: ...

    async def close(self) -> None: ...


class ReaderStream:
    """Of a Reader."""

    dropped_bytes = 0
    partials = 0.5

    def __init__(
        self,
        owner: Reader,
        trouble: Trouble | None,
        on_transcript: Callable[[Transcript], None],
        on_lost: Callable[[RecogniserError], None],
    ) -> None:
        self._owner, self._trouble = owner, trouble
        self._on_transcript, self._on_lost = on_transcript, on_lost
        self._tones: list[int] = []
        """Of the open utterance, one for each millisecond."""
        self._ms = 0
        self._start = 0
        self._silence = 0
        self._partial_at = 0
        self._ended = False
        self._mute = False
        self._unanswered_since: float | None = None
        self._answers: deque[Transcript] = deque()

    @property
    def stalled(self) -> float:
        return 0.0 if self._unanswered_since is None else asyncio.get_running_loop().time() - self._unanswered_since

    @property
    def behind(self) -> float:
        return self.stalled

    def feed(self, pcm: bytes) -> None:
        self._owner.fed += len(pcm)
        if self._ended:
            return
        for tone in array("h", pcm)[::_SAMPLES_PER_MS]:
            self._hear(tone)
        if self._unanswered_since is None and (self._mute or self._delay > 1.0):
            self._unanswered_since = asyncio.get_running_loop().time()
        if self._trouble is not None and self._ms >= self._trouble.after * 1000:
            self._suffer(self._trouble)

    def _suffer(self, trouble: Trouble) -> None:
        if trouble.slow:
            return
        self._trouble = None
        if trouble.reason is not None:
            asyncio.get_running_loop().call_soon(self._lose, RecogniserError("it broke", trouble.reason))
            return
        self._mute = True
        if self._owner.watched is not None:
            stuck = RecogniserError("it gives no sign of life", Reason.STUCK)
            asyncio.get_running_loop().call_later(self._owner.watched, self._lose, stuck)

    def _lose(self, error: RecogniserError) -> None:
        if not self._ended:
            self._ended = True
            self._on_lost(error)

    @property
    def _delay(self) -> float:
        trouble = self._trouble
        slow = trouble is not None and self._ms >= trouble.after * 1000
        return trouble.slow if trouble is not None and slow and trouble.slow else self._owner.delay

    def _hear(self, tone: int) -> None:
        if tone and not self._tones:
            self._start = self._ms
            self._partial_at = self._ms + PARTIAL_MS
        self._ms += 1
        if not self._tones and not tone:
            return
        self._tones.append(tone)
        self._silence = 0 if tone else self._silence + 1
        if self._silence >= PAUSE_MS:
            self._say(final=True)
        elif self._ms >= self._partial_at:
            self._partial_at += PARTIAL_MS
            self._say(final=False)

    def _say(self, *, final: bool) -> None:
        words: list[str] = []
        for tone in sorted({tone for tone in self._tones if tone}):
            length = self._tones.count(tone)
            words.append(f"{tone}" if length == WORD_MS or not final else f"{tone}({length} ms)")
        said = Transcript(" ".join(words), final, self._start, self._ms - self._silence)
        if final:
            self._tones, self._silence = [], 0
        self._answers.append(said)
        asyncio.get_running_loop().call_later(self._delay, self._tell)

    def _tell(self) -> None:
        """The next answer, in order: timers that are due at once come in any."""
        said = self._answers.popleft()
        if not (self._ended or self._mute):
            self._on_transcript(said)

    async def finish(self) -> None:
        if self._ended:
            raise RecogniserError("the stream has ended", Reason.CLOSED)
        if self._tones:
            self._say(final=True)
        due = asyncio.get_running_loop().time() + self._delay
        async with deadline(10.0):
            while self._mute or asyncio.get_running_loop().time() < due:
                await asyncio.sleep(0.05)
                if self._ended:
                    raise RecogniserError("the stream has ended", Reason.CRASHED)

    async def close(self) -> None:
        self._ended = True
