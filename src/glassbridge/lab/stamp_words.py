"""A recogniser that understands the lab's phones: it speaks Soniox's protocol, and its words are the stamps it hears.

Each frame whose number is a multiple of EVERY is one word, which is final at once. So it is known of every word when it
was spoken, and whether it reached those who listen to transcripts.
"""

from contextlib import AsyncExitStack
from typing import Final, Self

from glassbridge.core.values import BYTES_PER_MS
from glassbridge.lab.judge import Run
from glassbridge.lab.stamps import stamps_in
from glassbridge.speech import soniox_protocol as wire
from glassbridge.speech.soniox_double import SonioxDouble
from glassbridge.speech.soniox_words import Say

EVERY: Final = 50
"""Frames: a word each half second."""

Word = tuple[int, int]
"""(generation, number of the frame)."""


def spelled(word: Word) -> str:
    return f"{word[0]}x{word[1]}"


def read_words(text: str) -> list[Word]:
    """Those of a transcript."""
    pairs = (part.partition("x") for part in text.split())
    return [(int(generation), int(frame)) for generation, _, frame in pairs if generation.isdigit() and frame.isdigit()]


def words_of(runs: list[Run], begin_ns: int, end_ns: int) -> set[Word]:
    """What a phone said in that time."""
    return {
        (run.generation, frame)
        for run in runs
        if begin_ns <= run.at_ns < end_ns
        for frame in range(run.first, run.first + run.count)
        if frame % EVERY == 0
    }


class StampWords:
    """What is said on one stream."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._rest = b""
        self._ms = 0.0

    async def feed(self, pcm: bytes) -> None:
        stamps, _, self._rest = stamps_in(self._rest + pcm)
        self._ms += len(pcm) / BYTES_PER_MS
        for stamp in stamps:
            if stamp.sequence % EVERY == 0:
                text = spelled((stamp.generation, stamp.sequence))
                word = wire.Token(text, is_final=True, start_ms=self._ms, end_ms=self._ms, confidence=1.0)
                self._say([word, wire.Token(wire.END, is_final=True)])

    async def finish(self) -> None:
        self._say([wire.Token(wire.FIN, is_final=True)])

    async def close(self) -> None:
        pass


class StampRecogniser:
    """`async with`; programs with `environment` use it."""

    def __init__(self) -> None:
        self._double = SonioxDouble(hears=StampWords)
        self._cleanup = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._cleanup.enter_async_context(self._double)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cleanup.aclose()

    @property
    def environment(self) -> dict[str, str]:
        return {
            "GLASSBRIDGE_RECOGNISER": "soniox",
            "GLASSBRIDGE_STANDBY": "none",
            "GLASSBRIDGE_RECOGNISERS": "1000",
            "SONIOX_PER_MINUTE": "6000",
            "SONIOX_API_KEY": "any",
            "SONIOX_ENDPOINT": self._double.url,
        }
