"""The answer of the demo's app: what it must sound like, and whether the phone heard that."""

import asyncio
import wave
from io import BytesIO
from pathlib import Path
from typing import Final

import aiohttp
import av
import numpy as np
from numpy.typing import NDArray

from glassbridge.core.values import SAMPLE_RATE
from glassbridge.lab.demo_app import ANSWER

ALIKE: Final = 0.5
"""Likeness from which two sounds are the same: Opus leaves 0.99, with a tear 0.85; another sentence has 0.2."""
FETCH_TIMEOUT: Final = 15.0

Samples = NDArray[np.float64]


async def spoken_answer(cloud_url: str, core_token: str) -> bytes | None:
    """The answer as the cloud's voice says it: a sound file. None: it has none, or cannot say it."""
    headers = {"Authorization": f"Bearer {core_token}"}
    try:
        async with (
            asyncio.timeout(FETCH_TIMEOUT),
            aiohttp.ClientSession() as http,
            http.get(f"{cloud_url}/api/tts", params={"text": ANSWER}, headers=headers) as answer,
        ):
            return await answer.read() if answer.status == 200 else None
    except (aiohttp.ClientError, TimeoutError):
        return None


def likeness(file: bytes, heard: Path) -> float:
    """How much of the sound in `file` was heard, 0 to 1: the best correlation of each second of it, anywhere in what
    was heard; a listener may have stretched a pause."""
    return alike(_decoded(file), _read(heard))


def alike(wanted: Samples, found: Samples) -> float:
    """The same of samples at 16 kHz."""
    parts = [wanted[at : at + SAMPLE_RATE] for at in range(0, len(wanted) - SAMPLE_RATE // 2, SAMPLE_RATE)]
    if not parts or len(found) < SAMPLE_RATE:
        return 0.0
    loudness = np.array([np.dot(part, part) for part in parts])
    return float(np.average([_best(part, found) for part in parts], weights=loudness + 1e-9))


def _best(part: Samples, found: Samples) -> float:
    """The best normalised correlation over all delays."""
    size = 1 << (len(part) + len(found)).bit_length()
    products = np.fft.irfft(np.fft.rfft(found, size) * np.conj(np.fft.rfft(part, size)), size)[: len(found)]
    before = np.concatenate(([0.0], np.cumsum(found**2)))
    ends = np.minimum(np.arange(len(found)) + len(part), len(found))
    loudness = np.sqrt((before[ends] - before[: len(found)]) * np.dot(part, part))
    return float(np.max(products / np.maximum(loudness, 1.0)))


def _decoded(file: bytes) -> Samples:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    with av.open(BytesIO(file), mode="r") as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.float64)


def _read(path: Path) -> Samples:
    if not path.exists():
        return np.zeros(0)
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)
