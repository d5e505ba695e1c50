"""Voices of the system: a real program where there is one, and every way in which a program can fail."""

import shutil
import wave
from pathlib import Path

import pytest

from glassbridge.speech import voice as voices
from glassbridge.speech.voice import MAX_TEXT, ProgramVoice, SpeechRequest, Voice, VoiceError, find_voice

HONEST = 'head -c 8 "$2" > "$4"'


def program(folder: Path, script: str) -> ProgramVoice:
    """A speech program that is a script: its arguments are -f TEXT -o SOUND."""
    path = folder / "flite"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return ProgramVoice.of(path)


async def said(voice: Voice, text: str, name: str | None = None) -> bytes:
    return b"".join([piece async for piece in voice.say(SpeechRequest(text, name))])


async def test_text_goes_in_and_a_file_comes_out(tmp_path: Path) -> None:
    assert await said(program(tmp_path, HONEST), "-v; $(rm) héllo") == b"-v; $(rm"


async def test_a_voice_is_named_when_asked_for(tmp_path: Path) -> None:
    assert await said(program(tmp_path, 'printf "%s" "$1 $2" > "$6"'), "hello", "rms") == b"-voice rms"


@pytest.mark.parametrize(
    ("text", "voice"), [("", None), (" \n", None), ("x" * (MAX_TEXT + 1), None), ("hello", "-o"), ("hello", "a/b")]
)
async def test_what_cannot_be_said_is_refused(tmp_path: Path, text: str, voice: str | None) -> None:
    with pytest.raises(VoiceError):
        await said(program(tmp_path, HONEST), text, voice)


@pytest.mark.parametrize("script", ["exit 3", "exit 0", "sleep 60"])
async def test_a_program_that_fails_or_hangs_says_so(
    tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voices, "SAY_TIMEOUT", 0.3)
    with pytest.raises(VoiceError):
        await said(program(tmp_path, script), "hello")


async def test_a_program_that_is_gone_says_so(tmp_path: Path) -> None:
    with pytest.raises(VoiceError, match="run"):
        await said(ProgramVoice.of(tmp_path / "flite"), "hello")


@pytest.mark.parametrize("installed", [True, False], ids=["of this machine", "of the package"])
async def test_there_is_always_a_voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    if not installed:
        monkeypatch.setattr(shutil, "which", lambda _name: None)
    voice = find_voice()
    assert voice is not None
    path = tmp_path / "hello.wav"
    path.write_bytes(await said(voice, "Hello. I am listening."))
    with wave.open(str(path)) as sound:
        assert sound.getnframes() / sound.getframerate() > 0.5
