"""What tests of recognisers share: clips, and an owner that keeps what it is told."""

import asyncio
import wave
from dataclasses import dataclass, field

from glassbridge.lab import clips
from glassbridge.speech.base import Recogniser, RecogniserError, RecogniserStream, Transcript, Want

SECOND = 32_000
"""Bytes."""


def pcm(name: str) -> bytes:
    """The samples of one of our clips."""
    with wave.open(str(clips.wav(name))) as file:
        assert file.getparams()[:3] == (1, 2, 16_000)
        frames: bytes = file.readframes(file.getnframes())
        return frames


@dataclass
class Owner:
    """Of a stream."""

    said: list[Transcript] = field(default_factory=list)
    lost: list[RecogniserError] = field(default_factory=list)

    @property
    def finals(self) -> list[Transcript]:
        return [said for said in self.said if said.final]

    @property
    def words(self) -> list[str]:
        return " ".join(said.text for said in self.finals).split()

    async def open(
        self, recogniser: Recogniser, language: str = "en-US", target: str | None = None
    ) -> RecogniserStream:
        return await recogniser.open(recogniser.serves(Want(language, target)), self.said.append, self.lost.append)


async def speak(stream: RecogniserStream, sound: bytes, chunk: int = 3_200, speed: float | None = None) -> None:
    """Feeds it in pieces, `speed` times as quickly as somebody speaks; None: as quickly as others get their turn."""
    for at in range(0, len(sound), chunk):
        stream.feed(sound[at : at + chunk])
        await asyncio.sleep(0 if speed is None else len(sound[at : at + chunk]) / SECOND / speed)
