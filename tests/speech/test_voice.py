"""Voices of the system: a real program where there is one, and every way in which a program can fail."""

import wave
from pathlib import Path

import pytest

from glassbridge.speech import voice as voices
from glassbridge.speech.voice import MAX_TEXT, ProgramVoice, VoiceError, find_voice

HONEST = 'head -c 8 "$2" > "$4"'


def program(folder: Path, script: str) -> ProgramVoice:
    """A speech program that is a script: its arguments are -f TEXT -o SOUND."""
    path = folder / "flite"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return ProgramVoice(path)


async def test_text_goes_in_and_a_file_comes_out(tmp_path: Path) -> None:
    assert await program(tmp_path, HONEST).say("-v; $(rm) héllo") == b"-v; $(rm"


async def test_a_voice_is_named_when_asked_for(tmp_path: Path) -> None:
    assert await program(tmp_path, 'printf "%s" "$1 $2" > "$6"').say("hello", "rms") == b"-voice rms"


@pytest.mark.parametrize(
    ("text", "voice"), [("", None), (" \n", None), ("x" * (MAX_TEXT + 1), None), ("hello", "-o"), ("hello", "a/b")]
)
async def test_what_cannot_be_said_is_refused(tmp_path: Path, text: str, voice: str | None) -> None:
    with pytest.raises(VoiceError):
        await program(tmp_path, HONEST).say(text, voice)


@pytest.mark.parametrize("script", ["exit 3", "exit 0", "sleep 60"])
async def test_a_program_that_fails_or_hangs_says_so(
    tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voices, "SAY_TIMEOUT", 0.3)
    with pytest.raises(VoiceError):
        await program(tmp_path, script).say("hello")


async def test_a_program_that_is_gone_says_so(tmp_path: Path) -> None:
    with pytest.raises(VoiceError, match="run"):
        await ProgramVoice(tmp_path / "flite").say("hello")


@pytest.mark.skipif(find_voice() is None, reason="no speech program on this machine")
async def test_the_voice_of_this_machine_speaks(tmp_path: Path) -> None:
    voice = find_voice()
    assert voice is not None
    path = tmp_path / "hello.wav"
    path.write_bytes(await voice.say("Hello. I am listening."))
    with wave.open(str(path)) as sound:
        assert sound.getnframes() / sound.getframerate() > 0.5
