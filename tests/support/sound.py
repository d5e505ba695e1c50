"""Sound for tests, and what can be told of it."""

import numpy as np
from numpy.typing import NDArray

from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE
from glassbridge.livekit.opus import Encoder
from glassbridge.wire.audio_frames import OPUS_PACKET


def tone(seconds: float, hertz: float = 440.0, level: int = 8000) -> bytes:
    """A sine, PCM16 LE, 16 kHz, mono."""
    at = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (level * np.sin(2 * np.pi * hertz * at)).astype("<i2").tobytes()


def samples(pcm: bytes) -> NDArray[np.float64]:
    return np.frombuffer(pcm, "<i2").astype(np.float64)


def level(pcm: bytes) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(samples(pcm) ** 2))) if pcm else 0.0


def loudest(found: NDArray[np.float64]) -> float:
    """Energy of the loudest 20 ms; 1 at least, so that it can be divided by."""
    whole = found[: len(found) // OPUS_PACKET * OPUS_PACKET].reshape(-1, OPUS_PACKET)
    return max(1.0, float((whole**2).mean(1).max()))


def opus_packets(pcm: bytes, bit_rate: int) -> list[bytes]:
    """All of one encoder, 20 ms each; what fills no packet is left out."""
    encoder, size = Encoder(bit_rate), OPUS_PACKET * BYTES_PER_SAMPLE
    return [encoder.encode(pcm[at : at + size]) for at in range(0, len(pcm) // size * size, size)]


def pitch(pcm: bytes) -> float:
    """Hertz of the strongest tone."""
    found = samples(pcm) * np.hanning(len(pcm) // 2)
    spectrum = np.abs(np.fft.rfft(found))
    peak = int(np.argmax(spectrum[1:-1])) + 1
    left, middle, right = np.log(spectrum[peak - 1 : peak + 2] + 1e-9)
    offset = 0.5 * (left - right) / (left - 2 * middle + right)
    return float((peak + offset) * SAMPLE_RATE / len(found))


def loud(pcm: bytes, above: float = 500.0, window_ms: int = 5) -> float:
    """Seconds from the first to the last window that is louder than `above`; 0 for silence."""
    size = SAMPLE_RATE * window_ms // 1000
    found = samples(pcm)
    windows = found[: len(found) // size * size].reshape(-1, size)
    over = np.flatnonzero(np.sqrt((windows**2).mean(axis=1)) > above) if len(windows) else np.array([])
    return float((over[-1] - over[0] + 1) * size / SAMPLE_RATE) if len(over) else 0.0


def left_out(heard: bytes, spoken: bytes, size: int) -> int:
    """Frames, of so many bytes each, that were spoken and not heard; all others have to be, in order and alike. A frame
    without numbers is given up where it grew too old while the machine did something else."""
    at = missing = 0
    for begin in range(0, len(spoken), size):
        frame = spoken[begin : begin + size]
        if heard[at : at + len(frame)] == frame:
            at += len(frame)
        else:
            missing += 1
    assert at == len(heard), f"{len(heard) - at} bytes were heard that nobody said there"
    return missing
