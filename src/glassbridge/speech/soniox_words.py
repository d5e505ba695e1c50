"""What the double of Soniox (soniox_double.py) understands: a script, or what an offline recogniser hears."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Protocol

import msgspec

from glassbridge.core.values import BYTES_PER_MS
from glassbridge.speech import soniox_protocol as wire
from glassbridge.speech.base import RecogniserError, RecogniserStream, Transcript

WORD_MS = 300
SCRIPT = "hello world. this is the double of soniox."


class TokenSource(Protocol):
    """What makes tokens of audio."""

    async def feed(self, pcm: bytes) -> None: ...

    async def finish(self) -> None: ...

    async def close(self) -> None: ...


Say = Callable[[list[wire.Token]], None]


class Script:
    """Reveals a word each WORD_MS of audio, again and again; a word with a full stop ends an utterance."""

    def __init__(self, text: str, say: Say) -> None:
        self._words = text.split()
        self._say = say
        self._ms = 0.0
        self._revealed = 0
        self._open: list[wire.Token] = []

    async def feed(self, pcm: bytes) -> None:
        self._ms += len(pcm) / BYTES_PER_MS
        while self._ms >= (self._revealed + 1) * WORD_MS:
            word = self._words[self._revealed % len(self._words)]
            begin = self._revealed * WORD_MS
            self._revealed += 1
            space = " " if self._open else ""
            self._open.append(
                wire.Token(space + word.rstrip("."), start_ms=begin, end_ms=begin + WORD_MS, confidence=0.9)
            )
            if word.endswith("."):
                self._final(wire.END)
            else:
                self._say(list(self._open))

    async def finish(self) -> None:
        self._final(wire.FIN)

    async def close(self) -> None:
        pass

    def _final(self, mark: str) -> None:
        tokens = [msgspec.structs.replace(token, is_final=True) for token in self._open]
        self._open = []
        self._say([*tokens, wire.Token(mark, is_final=True)])


class Offline:
    """What an offline recogniser understands."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.stream: RecogniserStream | None = None

    def heard(self, said: Transcript) -> None:
        """A transcript of the recogniser."""
        words = said.text.split()
        step = (said.end_ms - said.start_ms) / max(1, len(words))
        tokens = [
            wire.Token(
                (" " if n else "") + word,
                is_final=said.final,
                start_ms=said.start_ms + n * step,
                end_ms=said.start_ms + (n + 1) * step,
            )
            for n, word in enumerate(words)
        ]
        self._say([*tokens, wire.Token(wire.END, is_final=True)] if said.final else tokens)

    async def feed(self, pcm: bytes) -> None:
        if self.stream is not None:
            self.stream.feed(pcm)

    async def finish(self) -> None:
        if self.stream is not None:
            with suppress(RecogniserError):
                await self.stream.finish()
        self._say([wire.Token(wire.FIN, is_final=True)])

    async def close(self) -> None:
        if self.stream is not None:
            await self.stream.close()


def translated(tokens: list[wire.Token], target: str) -> Iterator[wire.Token]:
    """Each word and its translation, which has no times; marks stay last."""
    for token in tokens:
        if token.text in (wire.END, wire.FIN):
            yield token
        else:
            yield msgspec.structs.replace(token, translation_status="original")
            yield wire.Token(
                f"{token.text}·{target}", token.is_final, language=target, translation_status="translation"
            )


def in_language(token: wire.Token, language: str) -> wire.Token:
    return token if token.translation_status == "translation" else msgspec.structs.replace(token, language=language)


def by_speaker(token: wire.Token, speaker: str) -> wire.Token:
    return token if token.text in (wire.END, wire.FIN) else msgspec.structs.replace(token, speaker=speaker)
