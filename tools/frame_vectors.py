"""Writes docs/protocol/vectors/*.json from the codec of numbered audio: what each frame means, or why it is none.

For authors of phones in other languages. Numbers of 64 bits are text: JSON numbers lose some of them in JavaScript.
`--check` only compares.
"""

import json
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from glassbridge.wire.audio_frames import (
    CODING_OPUS,
    FLAG_LAST,
    FLAG_PRESENCE,
    FLAG_REPAIR,
    FLAG_REPLAYED,
    HEADER,
    MAX_OPUS_PACKET_BYTES,
    MAX_OPUS_PACKETS,
    OPUS_PACKET,
    VERSION,
    FrameError,
    FrameNumber,
    decode_numbered,
    decode_opus,
    encode_numbered,
    encode_opus,
    made_by,
)

TARGET = Path(__file__).resolve().parent.parent / "docs" / "protocol" / "vectors"
NOT_EDITED = "Written by tools/frame_vectors.py from src/glassbridge/wire/audio_frames.py: `make vectors`."
EPOCH, CAPTURE = 3_735_928_559, 1_700_000_000_123_456
FLAGS = {"replayed": FLAG_REPLAYED, "presence": FLAG_PRESENCE, "last": FLAG_LAST, "repair": FLAG_REPAIR}
SPEECH = struct.pack("<4h", 0, 1, -1, -32_768)


def raw(payload: bytes = b"", *, version: int = VERSION, flags: int = 0, coding: int = 0) -> bytes:
    """A frame with whatever stands in its header."""
    return HEADER.pack(version, flags, coding, EPOCH, 480_000, CAPTURE) + payload


def good() -> Iterator[tuple[str, bytes]]:
    """Frames that mean something."""
    for name, flags in (("fresh speech", 0), ("replayed", FLAG_REPLAYED), ("repair", FLAG_REPAIR), ("last", FLAG_LAST)):
        yield name, raw(SPEECH, flags=flags)
    yield "replayed and last", raw(SPEECH, flags=FLAG_REPLAYED | FLAG_LAST)
    yield "one sample", raw(SPEECH[:2])
    yield "100 ms of silence", raw(bytes(3_200))
    yield "presence", raw(flags=FLAG_PRESENCE)
    yield "presence while the microphone is off", raw(flags=FLAG_PRESENCE | FLAG_LAST)
    yield "the beginning of what the phone keeps", raw(flags=FLAG_PRESENCE | FLAG_REPLAYED)
    yield "reserved flags are ignored", raw(SPEECH, flags=0xF0)
    yield "all numbers 0", encode_numbered(FrameNumber(0, 0, 0), SPEECH)
    largest = FrameNumber((1 << 32) - 1, (1 << 64) - 1, (1 << 64) - 1, FLAG_PRESENCE)
    yield "all numbers at their largest", encode_numbered(largest, b"")
    yield "past the integers of JavaScript", encode_numbered(FrameNumber(EPOCH, (1 << 53) + 1, (1 << 53) + 1), SPEECH)
    packets = [b"\xaa\xbb\xcc", b"\xdd\xee"]
    yield "two Opus packets", raw(encode_opus(packets, 2 * OPUS_PACKET), coding=CODING_OPUS)
    yield "the same by encoder 3", raw(encode_opus(packets, 2 * OPUS_PACKET), flags=made_by(3, 0), coding=CODING_OPUS)
    yield "Opus whose end is silence", raw(encode_opus(packets, OPUS_PACKET + 1), coding=CODING_OPUS)
    most = [bytes([number]) for number in range(MAX_OPUS_PACKETS)]
    yield "as many Opus packets as may be", raw(encode_opus(most, MAX_OPUS_PACKETS * OPUS_PACKET), coding=CODING_OPUS)
    yield "presence of a phone that codes", raw(flags=FLAG_PRESENCE, coding=CODING_OPUS)


def bad() -> Iterator[tuple[str, bytes]]:
    """What a receiver refuses; nothing else changes by it."""
    yield "nothing", b""
    yield "a header that is cut off", raw()[:-1]
    for version in (0, 1, 3, 255):
        yield f"version {version}", raw(SPEECH, version=version)
    yield "half a sample", raw(SPEECH[:3])
    yield "samples in a presence frame", raw(SPEECH, flags=FLAG_PRESENCE)
    for coding in (2, 256, 65_535):
        yield f"coding {coding}", raw(SPEECH, coding=coding)
    yield "coding 2 in a presence frame", raw(flags=FLAG_PRESENCE, coding=2)
    yield "Opus without a number of samples", raw(b"\x40", coding=CODING_OPUS)
    yield "Opus without packets", raw(encode_opus([], 0), coding=CODING_OPUS)
    yield "more samples than Opus packets hold", raw(encode_opus([b"\xaa"], OPUS_PACKET + 1), coding=CODING_OPUS)
    yield "an Opus packet too many", raw(encode_opus([b"\xaa", b"\xbb"], OPUS_PACKET), coding=CODING_OPUS)
    yield "an empty Opus packet", raw(encode_opus([b""], OPUS_PACKET), coding=CODING_OPUS)
    yield "an Opus packet that is cut off", raw(encode_opus([b"\xaa\xbb"], OPUS_PACKET)[:-1], coding=CODING_OPUS)
    yield (
        "the length of an Opus packet, cut off",
        raw(encode_opus([b"\xaa"], OPUS_PACKET) + b"\x01", coding=CODING_OPUS),
    )
    long = bytes(MAX_OPUS_PACKET_BYTES + 1)
    yield "an Opus packet that is too long", raw(encode_opus([long], OPUS_PACKET), coding=CODING_OPUS)
    many = [b"\xaa"] * (MAX_OPUS_PACKETS + 1)
    yield "too many Opus packets", raw(encode_opus(many, len(many) * OPUS_PACKET), coding=CODING_OPUS)


def meaning(frame: bytes) -> Mapping[str, Any]:
    """What the codec makes of it. Raises FrameError."""
    number, payload = decode_numbered(frame)
    said: dict[str, Any] = {
        "epoch": number.epoch,
        "position": str(number.position),
        "capture_time_us": str(number.capture_time_us),
        "flags": [name for name, bit in FLAGS.items() if number.flags & bit],
        "coding": number.coding,
    }
    if number.coding == CODING_OPUS and not number.presence:
        packets, samples = decode_opus(payload)
        return said | {"encoder": number.encoder, "samples": samples, "packets": [packet.hex() for packet in packets]}
    return said | {"samples": len(payload) // 2, "pcm": payload.hex()}


def vectors() -> dict[str, Any]:
    """The whole file."""
    refused = []
    for name, frame in bad():
        try:
            decode_numbered(frame)
        except FrameError as error:
            refused.append({"name": name, "frame": frame.hex(), "error": str(error)})
        else:
            raise AssertionError(f"the codec takes {name!r} for a frame")
    taken = [{"name": name, "frame": frame.hex(), "means": meaning(frame)} for name, frame in good()]
    return {"about": NOT_EDITED, "version": VERSION, "good": taken, "bad": refused}


def main() -> int:
    files = {"frames.json": json.dumps(vectors(), indent=1) + "\n"}
    stale = [
        name for name, text in files.items() if not (TARGET / name).is_file() or (TARGET / name).read_text() != text
    ]
    if "--check" in sys.argv:
        for name in stale:
            print(f"docs/protocol/vectors/{name} is not what the codec says: run `make vectors`", file=sys.stderr)
        return 1 if stale else 0
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (TARGET / name).write_text(files[name])
    return 0


if __name__ == "__main__":
    sys.exit(main())
