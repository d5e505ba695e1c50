"""LC3 at 16 kHz mono by Google's liblc3, of which the package lc3py carries a copy; else the system's.

lc3py's own Decoder is not used: it does not tell damaged frames, and never frees its memory (docs/adr/0010-lc3.md).
"""

import ctypes
import ctypes.util
from ctypes import c_char_p, c_int, c_uint, c_void_p
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE

FRAME_US: Final = 10_000
FRAME_BYTES: Final = SAMPLE_RATE // 100 * BYTES_PER_SAMPLE
"""Of the samples of a frame: 10 ms."""
SMALLEST, LARGEST = 20, 400
"""Bytes of a coded frame."""
_S16 = 0


class NoLc3(Exception):
    """There is no liblc3 here."""


@cache
def _library() -> ctypes.CDLL:
    spec = find_spec("lc3")
    folder = Path(spec.origin).with_name(".lc3py.mesonpy.libs") if spec is not None and spec.origin else Path()
    copies = sorted(folder.glob("liblc3*")) if spec is not None else []
    found = str(copies[0]) if copies else ctypes.util.find_library("lc3")
    if found is None:
        raise NoLc3("no liblc3: install it (pip install lc3py, or Debian: apt install liblc3-1)")
    lc3 = ctypes.CDLL(found)
    lc3.lc3_decoder_size.restype = c_uint
    lc3.lc3_decoder_size.argtypes = [c_int, c_int]
    lc3.lc3_setup_decoder.restype = c_void_p
    lc3.lc3_setup_decoder.argtypes = [c_int, c_int, c_int, c_void_p]
    lc3.lc3_decode.argtypes = [c_void_p, c_char_p, c_int, c_int, c_void_p, c_int]
    return lc3


class Decoder:
    """Of one stream of frames that are `size` bytes each: it remembers what came before. Raises NoLc3, and ValueError
    for a size that no frame has."""

    def __init__(self, size: int) -> None:
        if not SMALLEST <= size <= LARGEST:
            raise ValueError(f"a frame of LC3 has {SMALLEST} to {LARGEST} bytes, not {size}")
        self.size = size
        self._lc3 = _library()
        self._memory = ctypes.create_string_buffer(self._lc3.lc3_decoder_size(FRAME_US, SAMPLE_RATE))
        self._state = self._lc3.lc3_setup_decoder(FRAME_US, SAMPLE_RATE, SAMPLE_RATE, self._memory)
        self._pcm = ctypes.create_string_buffer(FRAME_BYTES)

    def decode(self, frames: bytes) -> tuple[bytes, int]:
        """PCM16 of whole frames, and how many of them are damaged: these are made up from what came before. Raises
        ValueError where these are no whole frames."""
        if len(frames) % self.size:
            raise ValueError(f"{len(frames)} bytes are no whole frames of {self.size}")
        found, damaged = [], 0
        for at in range(0, len(frames), self.size):
            frame = frames[at : at + self.size]
            damaged += self._lc3.lc3_decode(self._state, frame, self.size, _S16, self._pcm, 1)
            found.append(self._pcm.raw)
        return b"".join(found), damaged
