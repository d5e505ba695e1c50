"""Sound files as microphone input: PCM16 LE, 16 kHz, mono."""

import wave
from pathlib import Path

from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError

MAX_SECONDS = 3600


def load(path: Path) -> bytes:
    """The samples of a file: a 16 kHz mono PCM16 WAV as it is, bit for bit; everything else converted.

    Raises UserError (exit status 2): not there, not readable, not sound, no sound in it, over an hour.
    """
    try:
        with path.open("rb") as file:
            exact = _exact(file.name) if file.read(4) == b"RIFF" else None
    except IsADirectoryError:
        raise UserError(Complaint.CLIP_IS_FOLDER.text(path=path), 2) from None
    except OSError as error:
        raise UserError(Complaint.CLIP_UNREADABLE.text(path=path, why=error.strerror or "not readable"), 2) from None
    pcm = exact if exact is not None else _converted(path)
    if not pcm:
        raise UserError(Complaint.CLIP_EMPTY.text(path=path), 2)
    return pcm


def _exact(name: str) -> bytes | None:
    """None when the file is no WAV in our format."""
    try:
        with wave.open(name, "rb") as sound:
            form = (sound.getframerate(), sound.getnchannels(), sound.getsampwidth())
            if form != (SAMPLE_RATE, 1, BYTES_PER_SAMPLE):
                return None
            _check_length(Path(name), sound.getnframes())
            pcm = sound.readframes(sound.getnframes())
    except (wave.Error, EOFError):
        return None
    return pcm[: len(pcm) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE]


def _converted(path: Path) -> bytes:
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise UserError(Complaint.CLIP_EMPTY.text(path=path), 2)
            resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
            pcm = bytearray()
            for frame in (*container.decode(audio=0), None):
                for block in resampler.resample(frame):
                    pcm += bytes(block.planes[0])[: block.samples * BYTES_PER_SAMPLE]
                _check_length(path, len(pcm) // BYTES_PER_SAMPLE)
    except (av.FFmpegError, OSError, ValueError):
        raise UserError(Complaint.CLIP_WRONG.text(path=path), 2) from None
    return bytes(pcm)


def _check_length(path: Path, samples: int) -> None:
    if samples > MAX_SECONDS * SAMPLE_RATE:
        raise UserError(Complaint.CLIP_LONG.text(path=path, minutes=MAX_SECONDS // 60), 2)
