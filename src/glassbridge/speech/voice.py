"""The small interface behind which every voice stands, and the one without a key: a speech program of the system."""

import asyncio
import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol

import structlog

from glassbridge.runtime.child import Child

log = structlog.get_logger()

MAX_TEXT: Final = 2_000
"""Characters that are said in one go."""
AT_ONCE: Final = 2
SAY_TIMEOUT: Final = 10.0
_VOICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,39}")
_PROGRAMS: Final = {
    "espeak-ng": (("-f", "{text}", "-w", "{sound}"), "-v"),
    "espeak": (("-f", "{text}", "-w", "{sound}"), "-v"),
    "flite": (("-f", "{text}", "-o", "{sound}"), "-voice"),
}
"""Best first: arguments, and the option that names a voice."""


class VoiceError(Exception):
    """It cannot be said; the text is for people."""


class Voice(Protocol):
    """Turns text into sound."""

    async def say(self, text: str, voice: str | None = None) -> bytes:
        """A sound file. Raises VoiceError. Safe to cancel."""


class ProgramVoice:
    """A speech program that writes a WAV file; a few run at a time."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._arguments, self._voice_option = _PROGRAMS[program.name]
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def say(self, text: str, voice: str | None = None) -> bytes:
        """As of Voice; SAY_TIMEOUT seconds at most once it is its turn."""
        if not text.strip() or len(text) > MAX_TEXT:
            raise VoiceError(f"a text to say has 1 to {MAX_TEXT} characters")
        if voice is not None and not _VOICE.fullmatch(voice):
            raise VoiceError("there is no such voice")
        async with self._turn:
            with TemporaryDirectory(prefix="glassbridge-voice-") as folder:
                return await self._run(Path(folder), text, voice)

    async def _run(self, folder: Path, text: str, voice: str | None) -> bytes:
        paths = {"text": folder / "text", "sound": folder / "sound.wav"}
        paths["text"].write_text(text.replace("\0", " "), encoding="utf-8", errors="replace")
        arguments = [argument.format(**paths) for argument in self._arguments]
        named = [self._voice_option, voice] if voice is not None else []
        quiet = asyncio.subprocess.DEVNULL
        try:
            child = await Child.start([self._program, *named, *arguments], stdout=quiet, stderr=quiet, cwd=folder)
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
    """The best speech program of this machine, None without one."""
    for name in _PROGRAMS:
        if (found := shutil.which(name)) is not None:
            return ProgramVoice(Path(found))
    return None
