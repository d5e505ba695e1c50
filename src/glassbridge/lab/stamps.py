"""PCM that carries its own numbering, so that each frame is known wherever it comes out."""

import struct
from dataclasses import dataclass
from typing import ClassVar

Arrival = tuple[int, int, int]
"""(sequence, sent, received) of one frame; both times in CLOCK_MONOTONIC nanoseconds."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """The first 24 bytes of a frame of test audio: who, which, when."""

    MAGIC: ClassVar[int] = 0x47425354
    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<IIQQ")

    user: int
    sequence: int
    sent_ns: int
    """CLOCK_MONOTONIC of the sender, nanoseconds."""

    def write(self, size: int) -> bytes:
        """A frame of `size` bytes that begins with this stamp; the rest is silence."""
        return self.LAYOUT.pack(self.MAGIC, self.user, self.sequence, self.sent_ns).ljust(size, b"\0")

    @classmethod
    def read(cls, pcm: bytes) -> "Stamp | None":
        """The stamp at the head of a frame; None where there is none."""
        if len(pcm) < cls.LAYOUT.size:
            return None
        magic, user, sequence, sent_ns = cls.LAYOUT.unpack_from(pcm)
        return cls(user, sequence, sent_ns) if magic == cls.MAGIC else None
