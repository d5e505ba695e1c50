"""Common parts of the decoders of remote tracks: their shape, their error, and the stateless one."""

from typing import Final, Protocol

from glassbridge.core.values import BYTES_PER_SAMPLE

LONGEST_PACKET: Final = 2_000
"""Bytes; more does not fit into a datagram."""


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


class WithoutMemory:
    """Codecs that cannot make up what is missing: it is silence."""

    def recover(self, following: bytes, samples: int) -> bytes:
        return self.conceal(samples)

    def conceal(self, samples: int) -> bytes:
        return bytes(samples * BYTES_PER_SAMPLE)


def check_length(payload: bytes) -> None:
    if not 0 < len(payload) <= LONGEST_PACKET:
        raise DecodeError(f"{len(payload)} bytes are no packet")
