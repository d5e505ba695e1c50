"""Codecs of microphone audio frames. Each arrival path is told apart by topic or by negotiation, never by guessing.

| form | where | shape |
|---|---|---|
| numbered | data topic TOPIC_NUMBERED, or a WebSocket binary frame when `audio=2` was negotiated | HEADER + PCM16 |
| sequence | data packet without our topic, odd length (the original's phones) | 1 byte counter + PCM16 |
| plain | data packet without our topic, even length; WebSocket binary frame | PCM16 |

The last two share a path in the original, where only the parity tells them apart: 16-bit samples are even, the counter
makes it odd (reference-system.md 4). A phone of ours never uses them together.
"""

import struct
from dataclasses import dataclass

VERSION = 2
TOPIC_NUMBERED = "gb.audio.2"
HEADER = struct.Struct("<BBHIQQ")
HEADER_BYTES = HEADER.size
CODING_PCM16 = 0


FLAG_REPLAYED = 1
FLAG_PRESENCE = 2
FLAG_LAST = 4


@dataclass(frozen=True, slots=True)
class FrameNumber:
    """The header of a numbered audio frame (docs/numbered-audio.md), all but its version."""

    epoch: int
    """Random at each start of the phone's capture process."""
    position: int
    """Index of the first sample within the epoch."""
    capture_time_us: int
    """Microseconds on the phone's monotonic clock."""
    flags: int = 0
    coding: int = 0

    @property
    def replayed(self) -> bool:
        """Sent again after a reconnect; never played as live."""
        return bool(self.flags & FLAG_REPLAYED)

    @property
    def presence(self) -> bool:
        """No samples: the path is alive and the position stands here."""
        return bool(self.flags & FLAG_PRESENCE)

    @property
    def last(self) -> bool:
        """The last frame before the microphone stops."""
        return bool(self.flags & FLAG_LAST)


class FrameError(ValueError):
    """Bytes that are no frame: the sender's fault."""


def encode_numbered(number: FrameNumber, pcm: bytes) -> bytes:
    """The frame's bytes; `pcm` is empty for a presence frame."""
    head = HEADER.pack(VERSION, number.flags, number.coding, number.epoch, number.position, number.capture_time_us)
    return head + pcm


def decode_numbered(frame: bytes) -> tuple[FrameNumber, bytes]:
    """Header and samples. Raises FrameError: too short, other version or coding, odd samples,
    samples in a presence frame."""
    if len(frame) < HEADER_BYTES:
        raise FrameError(f"a numbered frame has at least {HEADER_BYTES} bytes, this one {len(frame)}")
    version, flags, coding, epoch, position, capture = HEADER.unpack_from(frame)
    if version != VERSION:
        raise FrameError(f"frame version {version}, expected {VERSION}")
    if coding != CODING_PCM16:
        raise FrameError(f"audio coding {coding} is not known")
    pcm = frame[HEADER_BYTES:]
    if len(pcm) % 2:
        raise FrameError("a numbered frame holds whole 16-bit samples")
    if flags & FLAG_PRESENCE and pcm:
        raise FrameError("a presence frame holds no samples")
    return FrameNumber(epoch, position, capture, flags, coding), pcm


def encode_sequence(counter: int, pcm: bytes) -> bytes:
    """The original's phone packet: a rolling byte and samples."""
    return bytes((counter & 0xFF,)) + pcm


def decode_unnumbered(packet: bytes) -> tuple[int | None, bytes]:
    """(counter, samples) of a data packet without our topic; counter None where the packet is plain PCM."""
    return (packet[0], packet[1:]) if len(packet) % 2 else (None, packet)
