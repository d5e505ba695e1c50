"""Speech that tells where each of its samples belongs, and a codec that keeps it: so what is heard is compared exactly.

Samples come in stretches of 20 ms, each with a value of its own. Opus is stood in for by the lengths of equal values.
"""

import struct
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Final
from unittest.mock import patch

from glassbridge.cloud import decoding
from glassbridge.livekit.opus import OpusError
from glassbridge.phone import coding

UNIT: Final = 320
"""Samples of one stretch; as many as a packet holds."""
_RUN = struct.Struct("<hH")


def speech(position: int, samples: int) -> bytes:
    """So many samples from `position` on."""
    return array("h", (1 + at // UNIT for at in range(position, position + samples))).tobytes()


class Encoder:
    """Stands for livekit/opus.py's: as many bytes as the bit rate asks for."""

    def __init__(self, bit_rate: int) -> None:
        self._size = bit_rate // 8 // 50

    def encode(self, pcm: bytes) -> bytes:
        runs = b"".join(_RUN.pack(value, len(list(same))) for value, same in groupby(array("h", pcm)))
        return bytes([len(runs) // _RUN.size]) + runs.ljust(self._size - 1, b"\0")


class Decoder:
    """Of such packets."""

    def decode(self, packet: bytes) -> bytes:
        if len(packet) < 1 + packet[0] * _RUN.size:
            raise OpusError("a packet is too short")
        out = array("h")
        for value, count in _RUN.iter_unpack(packet[1 : 1 + packet[0] * _RUN.size]):
            out.extend([value] * count)
        return out.tobytes()


@contextmanager
def exact_codec() -> Iterator[None]:
    """Phone and cloud use it instead of Opus."""
    with patch.object(coding, "Encoder", Encoder), patch.object(decoding, "Decoder", Decoder):
        yield
