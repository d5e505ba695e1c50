"""The codecs of remote tracks, each as a decoder to PCM16 LE, 16 kHz, mono. RED is none: it wraps others (media.py)."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from glassbridge.core.values import BYTES_PER_SAMPLE
from glassbridge.livekit import opus

G711_RATE: Final = 8_000
LONGEST_PACKET: Final = 2_000
"""Bytes; more does not fit into a datagram."""
_TAPS: Final = 16
"""Samples on either side of a new one from which it is made."""


class DecodeError(Exception):
    """The payload cannot be decoded: the sender's fault."""


class Decoder(Protocol):
    """Of one stream. Each call gives PCM16 LE at 16 kHz, mono, and raises DecodeError."""

    def decode(self, payload: bytes) -> bytes:
        """The sound of a packet."""

    def recover(self, following: bytes, samples: int) -> bytes:
        """The `samples` before a packet that came."""

    def conceal(self, samples: int) -> bytes:
        """`samples` made up from what came before."""


class Opus:
    """See opus.Decoder."""

    def __init__(self) -> None:
        self._decoder = opus.Decoder()

    def decode(self, payload: bytes) -> bytes:
        try:
            return self._decoder.decode(payload)
        except opus.OpusError as error:
            raise DecodeError(str(error)) from None

    def recover(self, following: bytes, samples: int) -> bytes:
        try:
            return self._decoder.recover(following, samples)
        except opus.OpusError as error:
            raise DecodeError(str(error)) from None

    def conceal(self, samples: int) -> bytes:
        return self._decoder.conceal(samples)


class _WithoutMemory:
    """Codecs that cannot make up what is missing: it is silence."""

    def recover(self, following: bytes, samples: int) -> bytes:
        return self.conceal(samples)

    def conceal(self, samples: int) -> bytes:
        return bytes(samples * BYTES_PER_SAMPLE)


class G711(_WithoutMemory):
    """A table of 256 values, then twice the rate."""

    def __init__(self, table: NDArray[np.float32]) -> None:
        self._table = table
        self._before = np.zeros(2 * _TAPS - 1, np.float32)

    def decode(self, payload: bytes) -> bytes:
        _check_length(payload)
        samples = np.concatenate((self._before, self._table[np.frombuffer(payload, np.uint8)]))
        self._before = samples[-len(self._before) :]
        doubled = np.empty(2 * len(payload), np.float32)
        doubled[0::2] = samples[_TAPS - 1 : _TAPS - 1 + len(payload)]
        doubled[1::2] = np.convolve(samples, _HALFWAY, "valid")
        pcm: bytes = np.clip(np.rint(doubled), -32768, 32767).astype("<i2").tobytes()
        return pcm


class G722(_WithoutMemory):
    """By FFmpeg, which has no state to set free."""

    def __init__(self) -> None:
        import av  # only where it is used: it takes its time

        self._error = av.error.FFmpegError
        self._packet = av.Packet
        self._decoder = av.CodecContext.create("g722", "r")

    def decode(self, payload: bytes) -> bytes:
        _check_length(payload)
        try:
            frames = self._decoder.decode(self._packet(payload))
        except self._error as error:
            raise DecodeError(type(error).__name__) from None
        return b"".join(frame.to_ndarray().astype("<i2").tobytes() for frame in frames)


def _check_length(payload: bytes) -> None:
    if not 0 < len(payload) <= LONGEST_PACKET:
        raise DecodeError(f"{len(payload)} bytes are no packet")


def _mu_law() -> NDArray[np.float32]:
    """ITU-T G.711, table 2a."""
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    size = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return np.where(code & 0x80, -size, size).astype(np.float32)


def _a_law() -> NDArray[np.float32]:
    """ITU-T G.711, table 1a."""
    code = np.arange(256, dtype=np.int32) ^ 0x55
    part, power = code & 0x0F, code >> 4 & 7
    size = np.where(power == 0, (part << 4) + 8, (part << 4) + 0x108 << np.maximum(power - 1, 0))
    return np.where(code & 0x80, size, -size).astype(np.float32)


def _halfway() -> NDArray[np.float32]:
    """A filter that gives the values half-way between samples (windowed sinc)."""
    at = np.arange(-_TAPS, _TAPS) + 0.5
    taps = np.sinc(at) * np.hanning(2 * _TAPS + 1)[:-1]
    return np.asarray(taps / taps.sum(), np.float32)


_HALFWAY = _halfway()
_MU_LAW, _A_LAW = _mu_law(), _a_law()


class Codec(NamedTuple):
    """How one codec is decoded."""

    make: Callable[[], Decoder]
    rtp_clock: int
    """Hz of its timestamps."""


CODECS: Final[Mapping[str, Codec]] = {
    "opus": Codec(Opus, 48_000),
    "pcmu": Codec(lambda: G711(_MU_LAW), G711_RATE),
    "pcma": Codec(lambda: G711(_A_LAW), G711_RATE),
    "g722": Codec(G722, G711_RATE),  # its sound has 16 kHz, whatever its clock says (RFC 3551 4.5.2)
}
