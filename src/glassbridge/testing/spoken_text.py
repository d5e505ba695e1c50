"""Text as sound: a phone speaks it as samples that hold it letter by letter, and a recogniser that speaks Soniox's
protocol reads it there. What the user of a test says arrives word for word, through a real bridge and a real cloud."""

from collections.abc import Mapping
from typing import Final

import msgspec

from glassbridge.core.values import BYTES_PER_MS
from glassbridge.speech import soniox_protocol as wire
from glassbridge.speech.soniox_words import Say

MAGIC: Final = b"glassbridge says"
FRAME: Final = 100 * BYTES_PER_MS
_SIZE: Final = 4
_PAUSE: Final = bytes(3 * FRAME)
"""After it: what a recogniser waits for comes along."""


class Spoken(msgspec.Struct, frozen=True):
    """Something that was said."""

    text: str
    final: bool = True
    translated: Mapping[str, str] = {}
    """By the language's short name."""
    speaker: str | None = None


def as_sound(spoken: Spoken) -> list[bytes]:
    """Frames of 100 ms."""
    data = msgspec.json.encode(spoken)
    pcm = MAGIC + len(data).to_bytes(_SIZE, "little") + data
    pcm += bytes(-len(pcm) % FRAME) + _PAUSE
    return [pcm[at : at + FRAME] for at in range(0, len(pcm), FRAME)]


class SpokenWords:
    """What the double of Soniox understands of one stream."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._pcm = b""
        self._ms = 0.0

    async def feed(self, pcm: bytes) -> None:
        self._pcm += pcm
        self._ms += len(pcm) / BYTES_PER_MS
        while (spoken := self._take()) is not None:
            self._say(self._tokens(spoken))

    def _take(self) -> Spoken | None:
        at = self._pcm.find(MAGIC)
        if at < 0:
            self._pcm = self._pcm[-len(MAGIC) :]
            return None
        begin = at + len(MAGIC) + _SIZE
        size = int.from_bytes(self._pcm[at + len(MAGIC) : begin], "little")
        if len(self._pcm) < begin + size:
            return None
        data, self._pcm = self._pcm[begin : begin + size], self._pcm[begin + size :]
        return msgspec.json.decode(data, type=Spoken)

    def _tokens(self, spoken: Spoken) -> list[wire.Token]:
        status = "original" if spoken.translated else "none"
        word = wire.Token(spoken.text, spoken.final, self._ms, self._ms, 1.0, spoken.speaker, translation_status=status)
        tokens = [word]
        tokens += [
            wire.Token(text, spoken.final, language=language, translation_status="translation")
            for language, text in spoken.translated.items()
        ]
        return [*tokens, wire.Token(wire.END, is_final=True)] if spoken.final else tokens

    async def finish(self) -> None:
        self._say([wire.Token(wire.FIN, is_final=True)])

    async def close(self) -> None:
        pass
