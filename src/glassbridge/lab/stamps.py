"""PCM that carries its own numbering, so that each frame is known wherever it comes out."""

import struct
from dataclasses import dataclass
from typing import ClassVar

from glassbridge.core.values import BYTES_PER_MS

Arrival = tuple[int, int, int]
"""(sequence, sent, received) of one frame; both times in CLOCK_MONOTONIC nanoseconds."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """The first 24 bytes of a frame of test audio: who, which, when."""

    MAGIC: ClassVar[int] = 0x47425354
    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<IIIIQ")

    user: int
    sequence: int
    sent_ns: int
    """CLOCK_MONOTONIC of the sender, nanoseconds."""
    generation: int = 0
    """Which life of the speaker; each counts its frames anew."""

    def write(self, size: int) -> bytes:
        """A frame of `size` bytes that begins with this stamp; the rest is silence."""
        fields = (self.MAGIC, self.user, self.generation, self.sequence, self.sent_ns)
        return self.LAYOUT.pack(*fields).ljust(size, b"\0")

    @classmethod
    def read(cls, pcm: bytes) -> "Stamp | None":
        """The stamp at the head of a frame; None where there is none."""
        if len(pcm) < cls.LAYOUT.size:
            return None
        magic, user, generation, sequence, sent_ns = cls.LAYOUT.unpack_from(pcm)
        return cls(user, sequence, sent_ns, generation) if magic == cls.MAGIC else None


FRAME_MS = 10
FRAME_BYTES = FRAME_MS * BYTES_PER_MS
_REST = bytes(FRAME_BYTES - Stamp.LAYOUT.size)


def speech(user: int, generation: int, first: int, count: int, sent_ns: int) -> bytes:
    """`count` frames of 10 ms, each with a stamp of its own, numbered from `first`."""
    return b"".join(Stamp(user, first + at, sent_ns, generation).write(FRAME_BYTES) for at in range(count))


def stamps_in(pcm: bytes) -> tuple[list[Stamp], int, bytes]:
    """The whole frames of 10 ms in a block, in order; how many bytes belong to none of them; and the beginning of a
    frame at its end, to be put before the next block of the same listener.

    Where something is missing, that costs the frames that it was part of, and no other.
    """
    found: list[Stamp] = []
    at = strange = 0
    while at < len(pcm):
        frame = pcm[at : at + FRAME_BYTES]
        if len(frame) < FRAME_BYTES and frame.startswith(_MAGIC[: len(frame)]):
            return found, strange, frame
        stamp = Stamp.read(frame)
        if stamp is not None and frame[Stamp.LAYOUT.size :] == _REST:
            found.append(stamp)
            at += FRAME_BYTES
            continue
        next_at = pcm.find(_MAGIC, at + 1)
        strange += (next_at if next_at > 0 else len(pcm)) - at
        at = next_at if next_at > 0 else len(pcm)
    return found, strange, b""


_MAGIC = Stamp.MAGIC.to_bytes(4, "little")
