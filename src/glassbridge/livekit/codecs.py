"""The codecs of remote tracks, each as a decoder to PCM16 LE, 16 kHz, mono. RED is none: it wraps others (media.py)."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from glassbridge.livekit import opus
from glassbridge.livekit.decoding import DecodeError, Decoder, WithoutMemory, check_length

G711_RATE: Final = 8_000


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


class G722(WithoutMemory):
    """By FFmpeg, which has no state to set free."""

    def __init__(self) -> None:
        import av  # only where it is used: it takes its time

        self._error = av.error.FFmpegError
        self._packet = av.Packet
        self._decoder = av.CodecContext.create("g722", "r")

    def decode(self, payload: bytes) -> bytes:
        check_length(payload)
        try:
            frames = self._decoder.decode(self._packet(payload))
        except self._error as error:
            raise DecodeError(type(error).__name__) from None
        return b"".join(frame.to_ndarray().astype("<i2").tobytes() for frame in frames)


def _g711(law: str) -> Decoder:
    from glassbridge.livekit import g711  # only where it is used: numpy takes 17 MB

    return g711.G711(g711.TABLES[law])


class Codec(NamedTuple):
    """How one codec is decoded."""

    make: Callable[[], Decoder]
    rtp_clock: int
    """Hz of its timestamps."""


CODECS: Final[Mapping[str, Codec]] = {
    "opus": Codec(Opus, 48_000),
    "pcmu": Codec(lambda: _g711("mu"), G711_RATE),
    "pcma": Codec(lambda: _g711("a"), G711_RATE),
    "g722": Codec(G722, G711_RATE),  # its sound has 16 kHz, whatever its clock says (RFC 3551 4.5.2)
}
