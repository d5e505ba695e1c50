"""Speech that tells where each of its samples belongs, and a codec that keeps it: so what is heard is compared exactly.

Samples come in stretches of 20 ms, each with a value of its own. Opus is stood in for by the lengths of equal values.
As with Opus, a decoder that gets a packet which does not follow the one before makes noise, unless it is its first.
"""

import struct
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, groupby
from typing import Final
from unittest.mock import patch

from glassbridge.cloud import decoding
from glassbridge.livekit.opus import OpusError
from glassbridge.phone import coding

UNIT: Final = 320
"""Samples of one stretch; as many as a packet holds."""
_HEAD = struct.Struct("<BHI")
"""How many runs, which encoder, and which packet of it."""
_RUN = struct.Struct("<hH")
NOISE: Final = -1
"""The value of samples that are none of the speech."""


def speech(position: int, samples: int) -> bytes:
    """So many samples from `position` on."""
    return array("h", (1 + at // UNIT for at in range(position, position + samples))).tobytes()


class Encoder:
    """Stands for livekit/opus.py's: as many bytes as the bit rate asks for."""

    _encoders = count()

    def __init__(self, bit_rate: int) -> None:
        self._size = bit_rate // 8 // 50
        self._encoder = next(self._encoders) & 0xFFFF
        self._packets = count()

    def encode(self, pcm: bytes) -> bytes:
        runs = [_RUN.pack(value, len(list(same))) for value, same in groupby(array("h", pcm))]
        packet = _HEAD.pack(len(runs), self._encoder, next(self._packets)) + b"".join(runs)
        return packet.ljust(self._size, b"\0")


class Decoder:
    """Of such packets."""

    def __init__(self) -> None:
        self._next: tuple[int, int] | None = None

    def decode(self, packet: bytes) -> bytes:
        if len(packet) < _HEAD.size or len(packet) < (stop := _HEAD.size + packet[0] * _RUN.size):
            raise OpusError("a packet is too short")
        _, encoder, number = _HEAD.unpack_from(packet)
        follows = self._next in (None, (encoder, number))
        self._next = encoder, number + 1
        out = array("h")
        for value, length in _RUN.iter_unpack(packet[_HEAD.size : stop]):
            out.extend([value if follows else NOISE] * length)
        return out.tobytes()


@contextmanager
def exact_codec() -> Iterator[None]:
    """Phone and cloud use it instead of Opus."""
    with patch.object(coding, "Encoder", Encoder), patch.object(decoding, "Decoder", Decoder):
        yield
