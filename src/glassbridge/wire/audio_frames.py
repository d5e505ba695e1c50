"""Codecs of microphone audio frames. Each arrival path is told apart by topic or by negotiation, never by guessing.

| form | where | shape |
|---|---|---|
| numbered | data topic TOPIC_NUMBERED, or a WebSocket binary frame when `audio=2` | HEADER + PCM16 or Opus |
| sequence | data packet without our topic, odd length (the original's phones) | 1 byte counter + PCM16 |
| plain | data packet without our topic, even length; WebSocket binary frame | PCM16 |

The last two share a path in the original, where only the parity tells them apart: 16-bit samples are even, the counter
makes it odd (reference-system.md 4). A phone of ours never uses them together.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

VERSION = 2
TOPIC_NUMBERED = "gb.audio.2"
HEADER = struct.Struct("<BBHIQQ")
HEADER_BYTES = HEADER.size
CODING_PCM16 = 0
CODING_OPUS = 1

FLAG_REPLAYED = 1
FLAG_PRESENCE = 2
FLAG_LAST = 4
FLAG_REPAIR = 8
ENCODERS = 16
"""Numbers of encoders: 0 is one that is not told."""
ENCODER_SHIFT = 4

OPUS_PACKET = 320
"""Samples of one Opus packet: 20 ms at 16 kHz."""
MAX_OPUS_PACKETS = 50
MAX_OPUS_PACKET_BYTES = 1275
_SAMPLES = struct.Struct("<H")


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

    @property
    def repair(self) -> bool:
        """Sent again at once because the cloud reported it missing; it may still be live."""
        return bool(self.flags & FLAG_REPAIR)

    @property
    def encoder(self) -> int:
        """Which Opus encoder made the packets, below ENCODERS; 0: not told. Each has a number of its own, as a decoder
        must begin anew where the encoder did."""
        return self.flags >> ENCODER_SHIFT


def made_by(encoder: int, flags: int) -> int:
    """These flags, and the number of the encoder."""
    return flags | encoder << ENCODER_SHIFT


class FrameError(ValueError):
    """Bytes that are no frame: the sender's fault."""


def encode_numbered(number: FrameNumber, payload: bytes) -> bytes:
    """The frame's bytes. `payload` is as `number.coding` says, empty in a presence frame."""
    head = HEADER.pack(VERSION, number.flags, number.coding, number.epoch, number.position, number.capture_time_us)
    return head + payload


def encode_opus(packets: Sequence[bytes], samples: int) -> bytes:
    """The payload of a frame of coding CODING_OPUS: consecutive packets of OPUS_PACKET samples each, of which the last
    may hold silence beyond `samples`."""
    parts = [_SAMPLES.pack(samples)]
    for packet in packets:
        parts += (_SAMPLES.pack(len(packet)), packet)
    return b"".join(parts)


def decode_opus(payload: bytes) -> tuple[list[bytes], int]:
    """The packets of such a payload and how many samples they hold. Raises FrameError."""
    if len(payload) < _SAMPLES.size:
        raise FrameError("an Opus payload begins with its number of samples")
    (samples,) = _SAMPLES.unpack_from(payload)
    packets: list[bytes] = []
    at = _SAMPLES.size
    while at < len(payload):
        if at + _SAMPLES.size > len(payload) or len(packets) == MAX_OPUS_PACKETS:
            raise FrameError(f"an Opus payload holds at most {MAX_OPUS_PACKETS} whole packets")
        (length,) = _SAMPLES.unpack_from(payload, at)
        at += _SAMPLES.size
        if not 0 < length <= min(MAX_OPUS_PACKET_BYTES, len(payload) - at):
            raise FrameError("an Opus packet is cut off, empty or too long")
        packets.append(payload[at : at + length])
        at += length
    if not packets or not OPUS_PACKET * (len(packets) - 1) < samples <= OPUS_PACKET * len(packets):
        raise FrameError(f"{len(packets)} Opus packets do not hold {samples} samples")
    return packets, samples


def decode_numbered(frame: bytes) -> tuple[FrameNumber, bytes]:
    """Header and payload. Raises FrameError: too short, other version or coding, odd samples, a malformed Opus payload,
    samples in a presence frame."""
    if len(frame) < HEADER_BYTES:
        raise FrameError(f"a numbered frame has at least {HEADER_BYTES} bytes, this one {len(frame)}")
    version, flags, coding, epoch, position, capture = HEADER.unpack_from(frame)
    if version != VERSION:
        raise FrameError(f"frame version {version}, expected {VERSION}")
    payload = frame[HEADER_BYTES:]
    if flags & FLAG_PRESENCE:
        if payload:
            raise FrameError("a presence frame holds no samples")
    elif coding == CODING_OPUS:
        decode_opus(payload)
    elif len(payload) % 2:
        raise FrameError("a numbered frame holds whole 16-bit samples")
    if coding not in (CODING_PCM16, CODING_OPUS):
        raise FrameError(f"audio coding {coding} is not known")
    return FrameNumber(epoch, position, capture, flags, coding), payload


def encode_sequence(counter: int, pcm: bytes) -> bytes:
    """The original's phone packet: a rolling byte and samples."""
    return bytes((counter & 0xFF,)) + pcm


def decode_unnumbered(packet: bytes) -> tuple[int | None, bytes]:
    """(counter, samples) of a data packet without our topic; counter None where the packet is plain PCM."""
    return (packet[0], packet[1:]) if len(packet) % 2 else (None, packet)
