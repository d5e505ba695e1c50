"""Clips of our own that the demo and the tests speak; tools/make_clip.sh makes them from their text."""

from pathlib import Path

from glassbridge.core.words import normalised

_FOLDER = Path(__file__).parent


def wav(name: str = "clip") -> Path:
    """The recording: 16 kHz mono PCM16. `clip` holds four sentences in 12 s, `short` one in 3 s."""
    return _FOLDER / f"{name}.wav"


def words(name: str = "clip") -> list[str]:
    """What is said, as words are compared (core/words.py)."""
    return normalised((_FOLDER / f"{name}.txt").read_text(encoding="utf-8"))
