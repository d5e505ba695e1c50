"""espeak-ng out of a Python package, for machines that have no speech program: a program with two of its options.

    python -m glassbridge.speech.espeak [-v VOICE] -f TEXT -w SOUND

A process of its own: the library is not made for threads, and its licence (GPL) is not ours.
"""

import argparse
import ctypes
import sys
import wave
from pathlib import Path
from typing import Final

_RETRIEVAL: Final = 1
_UTF8: Final = 1
_SAMPLES = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def speak(text: bytes, voice: str, sound: Path) -> None:
    """Writes a WAV file. Raises ValueError for a voice that there is not."""
    import espeakng_loader

    espeak = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = espeak.espeak_Initialize(_RETRIEVAL, 0, espeakng_loader.get_data_path().encode(), 0)
    if rate <= 0 or espeak.espeak_SetVoiceByName(voice.encode()) != 0:
        raise ValueError(voice)
    pcm = bytearray()

    def take(samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int | None) -> int:
        if samples and count > 0:
            pcm.extend(ctypes.string_at(samples, 2 * count))
        return 0

    callback = _SAMPLES(take)  # kept as long as it may be called
    espeak.espeak_SetSynthCallback(callback)
    espeak.espeak_Synth(ctypes.c_char_p(text), ctypes.c_size_t(len(text) + 1), 0, 0, 0, _UTF8, None, None)
    espeak.espeak_Synchronize()
    with wave.open(str(sound), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(pcm))


def main() -> None:
    """Ends with status 1 when it cannot be said."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-v", dest="voice", default="en-us")
    parser.add_argument("-f", dest="text", type=Path, required=True)
    parser.add_argument("-w", dest="sound", type=Path, required=True)
    asked = parser.parse_args()
    try:
        speak(asked.text.read_bytes(), asked.voice, asked.sound)
    except (ImportError, OSError, ValueError):
        sys.exit(1)


if __name__ == "__main__":
    main()
