"""The small interface behind which every voice stands, and those without a key: speech programs of this machine."""

import asyncio
import re
import shutil
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol

import structlog

from glassbridge.core.fair_queue import Asker
from glassbridge.runtime.child import Child
from glassbridge.runtime.turns import FairTurns, TooManyWait

log = structlog.get_logger()

MAX_TEXT: Final = 2_000
"""Characters that are said in one go."""
AT_ONCE: Final = 2
WAITING: Final = 8
"""Texts of one asker that wait for their turn; more are refused."""
SAY_TIMEOUT: Final = 10.0
_PIECE: Final = 64 << 10
_VOICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,39}")
_PROGRAMS: Final = {
    "espeak-ng": (("-f", "{text}", "-w", "{sound}"), "-v"),
    "espeak": (("-f", "{text}", "-w", "{sound}"), "-v"),
    "flite": (("-f", "{text}", "-o", "{sound}"), "-voice"),
}
"""Best first: arguments, and the option that names a voice."""


class VoiceError(Exception):
    """It cannot be said; the text is for people."""


class VoiceBusy(VoiceError):
    """Not now: this asker has as much waiting as it may have."""

    def __init__(self) -> None:
        super().__init__(f"{WAITING} texts wait to be spoken already: try again when one has been heard")


@asynccontextmanager
async def turn(turns: FairTurns, utterance: "SpeechRequest") -> AsyncIterator[None]:
    """Its turn. Raises VoiceBusy."""
    try:
        async with turns.turn(utterance.asker):
            yield
    except TooManyWait:
        raise VoiceBusy from None


NOBODY: Final = Asker()


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """What is to be said, and how. What a voice does not know it leaves out."""

    text: str
    voice: str | None = None
    """Its name, as the voice's maker gives it; None: the usual one."""
    model: str | None = None
    settings: Mapping[str, float | bool] = field(default_factory=dict)
    asker: Asker = NOBODY
    """In whose turn it is said."""

    def check(self) -> None:
        """Raises VoiceError for what no voice can say."""
        if not self.text.strip() or len(self.text) > MAX_TEXT:
            raise VoiceError(f"a text to say has 1 to {MAX_TEXT} characters")
        for name in (self.voice, self.model):
            if name is not None and not _VOICE.fullmatch(name):
                raise VoiceError("there is no such voice or model")


class Voice(Protocol):
    """Turns text into sound."""

    media_type: str

    def say(self, utterance: SpeechRequest) -> AsyncGenerator[bytes, None]:
        """A sound file, piece by piece as it is made. Raises VoiceError; after the first piece, too. Close it."""

    async def close(self) -> None:
        """Releases everything; idempotent."""


class ProgramVoice:
    """A speech program that writes a WAV file; a few run at a time."""

    media_type = "audio/wav"

    def __init__(self, command: Sequence[str | Path], arguments: tuple[str, ...], voice_option: str) -> None:
        self._command = tuple(command)
        self._arguments = arguments
        self._voice_option = voice_option
        self._turns = FairTurns(AT_ONCE, WAITING)

    @classmethod
    def of(cls, program: Path) -> "ProgramVoice":
        """One that we know by its name. Raises KeyError."""
        return cls((program,), *_PROGRAMS[program.name])

    async def say(self, utterance: SpeechRequest) -> AsyncGenerator[bytes, None]:
        """As of Voice; SAY_TIMEOUT seconds at most once it is its turn."""
        utterance.check()
        async with turn(self._turns, utterance):
            with TemporaryDirectory(prefix="glassbridge-voice-") as folder:
                sound = await self._run(Path(folder), utterance)
        for at in range(0, len(sound), _PIECE):
            yield sound[at : at + _PIECE]

    async def close(self) -> None:
        """A running request ends with its caller."""

    async def _run(self, folder: Path, utterance: SpeechRequest) -> bytes:
        paths = {"text": folder / "text", "sound": folder / "sound.wav"}
        paths["text"].write_text(utterance.text.replace("\0", " "), encoding="utf-8", errors="replace")
        arguments = [argument.format(**paths) for argument in self._arguments]
        named = [self._voice_option, utterance.voice] if utterance.voice is not None else []
        quiet = asyncio.subprocess.DEVNULL
        try:
            child = await Child.start([*self._command, *named, *arguments], stdout=quiet, stderr=quiet, cwd=folder)
        except OSError as error:
            raise VoiceError(f"the voice cannot be run: {error.strerror}") from None
        try:
            if not await child.ended_within(SAY_TIMEOUT):
                raise VoiceError("the voice takes too long")
        finally:
            await child.stop(grace=0.0)
        if child.returncode != 0 or not paths["sound"].exists():
            raise VoiceError("the voice cannot say this")
        return paths["sound"].read_bytes()


def find_voice() -> Voice | None:
    """The best speech program of this machine, else the one of the extra `voice`; None without any."""
    for name in _PROGRAMS:
        if (found := shutil.which(name)) is not None:
            return ProgramVoice.of(Path(found))
    if find_spec("espeakng_loader") is not None:
        return ProgramVoice((sys.executable, "-m", "glassbridge.speech.espeak"), *_PROGRAMS["espeak-ng"])
    return None
