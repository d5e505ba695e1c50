"""Opus at 16 kHz mono by libopus: PyAV's decoder knows only 48 kHz and would need a resampler (traps A11).

The library is the system's, else the copy that PyAV carries in its wheel.
"""

import ctypes
import ctypes.util
from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_void_p
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE

LONGEST_PACKET = SAMPLE_RATE * 120 // 1000
"""Samples in the longest packet that Opus knows (120 ms)."""
_MAX_ENCODED = 1275
_APPLICATION_AUDIO = 2049
"""Not `voip`: its high-pass filter changes the voice (traps A11)."""
_SET_BITRATE, _SET_COMPLEXITY = 4002, 4010


class OpusError(Exception):
    """libopus is not available, or refuses its input."""


@cache
def _library() -> ctypes.CDLL:
    found = ctypes.util.find_library("opus")
    if found is None:
        spec = find_spec("av")  # not imported: FFmpeg takes 17 MB
        libraries = Path(spec.origin).parent.with_name("av.libs") if spec is not None and spec.origin else None
        copies = sorted(libraries.glob("libopus*")) if libraries is not None else []
        if not copies:
            raise OpusError("no libopus: install it (Debian: apt install libopus0)")
        found = str(copies[0])
    opus = ctypes.CDLL(found)
    opus.opus_strerror.restype = c_char_p
    opus.opus_decoder_create.restype = opus.opus_encoder_create.restype = c_void_p
    opus.opus_decoder_create.argtypes = [c_int32, c_int, POINTER(c_int)]
    opus.opus_encoder_create.argtypes = [c_int32, c_int, c_int, POINTER(c_int)]
    opus.opus_decode.argtypes = [c_void_p, c_char_p, c_int32, c_void_p, c_int, c_int]
    opus.opus_encode.argtypes = [c_void_p, c_char_p, c_int, c_void_p, c_int32]
    opus.opus_decoder_destroy.argtypes = opus.opus_encoder_destroy.argtypes = [c_void_p]
    return opus


def _checked(code: int) -> int:
    if code < 0:
        raise OpusError(_library().opus_strerror(code).decode())
    return code


class Decoder:
    """Of one stream: it remembers what came before. PCM16 LE, 16 kHz, mono; a stereo stream is mixed down."""

    def __init__(self) -> None:
        self._opus = _library()
        error = c_int()
        self._state = self._opus.opus_decoder_create(SAMPLE_RATE, 1, byref(error))
        _checked(error.value)
        self._pcm = ctypes.create_string_buffer(LONGEST_PACKET * BYTES_PER_SAMPLE)

    def __del__(self) -> None:
        if state := self.__dict__.get("_state"):
            self._opus.opus_decoder_destroy(state)

    def decode(self, packet: bytes) -> bytes:
        """The sound of a packet. Raises OpusError (the sender's fault) when it is none."""
        return self._run(packet, LONGEST_PACKET, 0)

    def recover(self, following: bytes, samples: int) -> bytes:
        """The `samples` before a packet, out of what the packet says about them; made up where it says nothing."""
        return self._run(following, samples, 1)

    def conceal(self, samples: int) -> bytes:
        """`samples` made up from what came before."""
        return self._run(None, samples, 0)

    def _run(self, packet: bytes | None, samples: int, recover: int) -> bytes:
        length = len(packet) if packet else 0
        count = _checked(self._opus.opus_decode(self._state, packet, length, self._pcm, samples, recover))
        return ctypes.string_at(self._pcm, count * BYTES_PER_SAMPLE)


class Encoder:
    """Of one stream. PCM16 LE, mono, at 16 or 48 kHz."""

    def __init__(self, bitrate: int = 32_000, complexity: int = 5, rate: int = SAMPLE_RATE) -> None:
        self._opus = _library()
        error = c_int()
        self._state = self._opus.opus_encoder_create(rate, 1, _APPLICATION_AUDIO, byref(error))
        _checked(error.value)
        self._packet = ctypes.create_string_buffer(_MAX_ENCODED)
        for request, value in ((_SET_BITRATE, bitrate), (_SET_COMPLEXITY, complexity)):
            _checked(self._opus.opus_encoder_ctl(c_void_p(self._state), c_int(request), c_int32(value)))

    def __del__(self) -> None:
        if state := self.__dict__.get("_state"):
            self._opus.opus_encoder_destroy(state)

    def encode(self, pcm: bytes) -> bytes:
        """One packet. Raises OpusError (ours) for a length that Opus does not know: 2.5, 5, 10, 20, 40 or 60 ms."""
        samples = len(pcm) // BYTES_PER_SAMPLE
        length = _checked(self._opus.opus_encode(self._state, pcm, samples, self._packet, _MAX_ENCODED))
        return ctypes.string_at(self._packet, length)
