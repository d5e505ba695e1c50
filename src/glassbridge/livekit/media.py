"""From RTP packets to sound: parsing, redundancy, a small reorder buffer, concealment. No I/O, no clock.

The buffer emits at once what is in order and waits for a missing packet only until HOLD later ones have come: a
recogniser wants sound early more than evenly.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE
from glassbridge.livekit.codecs import CODECS
from glassbridge.livekit.decoding import DecodeError

RTP_CLOCK = 48_000
"""Hz of Opus timestamps, whatever the rate of the sound."""
HOLD = 3
"""Packets that are held back, at most, while one before them is missing."""
MAX_FILL = SAMPLE_RATE
"""Samples of silence, at most, for a hole in the timestamps: the pauses of a sender that sends no silence are filled,
minutes of a muted microphone are not."""
RESTART = 100
"""A jump of so many sequence numbers is a new beginning, not loss."""


class Rtp(NamedTuple):
    """One RTP packet."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    """Empty in a packet of padding only."""


def parse_rtp(data: bytes) -> Rtp | None:
    """None when it is no RTP (RFC 3550 5.1)."""
    if len(data) < 12 or data[0] >> 6 != 2:
        return None
    start = 12 + 4 * (data[0] & 0x0F)
    if data[0] & 0x10:
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    end = len(data) - (data[-1] if data[0] & 0x20 else 0)
    if start > len(data) or end < start:
        return None
    return Rtp(
        data[1] & 0x7F,
        int.from_bytes(data[2:4], "big"),
        int.from_bytes(data[4:8], "big"),
        int.from_bytes(data[8:12], "big"),
        data[start:end],
    )


def unpack_red(packet: Rtp) -> list[Rtp]:
    """The packets inside a redundant one (RFC 2198), oldest first; nothing when it is broken."""
    payload = packet.payload
    headers: list[tuple[int, int, int]] = []
    at = 0
    while at < len(payload) and payload[at] & 0x80:
        header = int.from_bytes(payload[at : at + 4], "big")
        headers.append((header >> 24 & 0x7F, header >> 10 & 0x3FFF, header & 0x3FF))
        at += 4
    if at >= len(payload):
        return []
    headers.append((payload[at] & 0x7F, 0, len(payload) - at - 1 - sum(length for _, _, length in headers)))
    at += 1
    blocks = []
    for age, (kind, offset, length) in zip(range(len(headers) - 1, -1, -1), headers, strict=True):
        if length < 0 or at + length > len(payload):
            return []
        sequence, timestamp = packet.sequence - age & 0xFFFF, packet.timestamp - offset & 0xFFFF_FFFF
        blocks.append(Rtp(kind, sequence, timestamp, packet.ssrc, payload[at : at + length]))
        at += length
    return blocks


class Sound(NamedTuple):
    """PCM16 LE, 16 kHz, mono."""

    pcm: bytes
    concealed: bool = False
    """True where it is made up for a lost packet."""


class TrackReceiver:
    """Turns the packets of one SSRC and one codec into sound."""

    def __init__(self, codec: str = "opus") -> None:
        self.codec = codec
        self._new_decoder, self._rtp_clock = CODECS[codec]
        self._decoder = self._new_decoder()
        self._expected: int | None = None
        self._held: dict[int, Rtp] = {}
        self._frame = SAMPLE_RATE // 50
        self._clock: int | None = None
        """Timestamp up to which sound was emitted."""

    def push(self, packet: Rtp) -> Iterator[Sound]:
        """The sound that this packet makes playable, in order. Copies, and what comes too late, are passed over."""
        if self._expected is None:
            self._expected = packet.sequence
        ahead = packet.sequence - self._expected & 0xFFFF
        if RESTART <= ahead < 0x1_0000 - RESTART:
            self._held.clear()
            self._expected = packet.sequence
            self._decoder = self._new_decoder()  # one that goes on with another encoder's packets makes noise
        elif ahead >= 0x8000:
            return
        self._held.setdefault(packet.sequence, packet)
        while self._held:
            following = self._held.pop(self._expected, None)
            if following is not None:
                yield from self._play(following)
            elif len(self._held) >= HOLD:
                yield self._conceal(self._held.get(self._expected + 1 & 0xFFFF))
            else:
                return
            self._expected = self._expected + 1 & 0xFFFF

    def _play(self, packet: Rtp) -> Iterator[Sound]:
        if not packet.payload:
            return
        if self._clock is not None:
            ahead = packet.timestamp - self._clock & 0xFFFF_FFFF
            hole = ahead * SAMPLE_RATE // self._rtp_clock
            if self._frame <= hole and ahead < 0x8000_0000:  # less is the server's clock being rounded
                yield Sound(bytes(min(hole, MAX_FILL) * BYTES_PER_SAMPLE))
        try:
            pcm = self._decoder.decode(packet.payload)
        except DecodeError:
            yield self._conceal(None)
            return
        self._frame = len(pcm) // BYTES_PER_SAMPLE
        self._clock = packet.timestamp + self._in_rtp_clock(self._frame)
        yield Sound(pcm)

    def _conceal(self, following: Rtp | None) -> Sound:
        if self._clock is not None:
            self._clock += self._in_rtp_clock(self._frame)
        if following is not None and following.payload:
            with suppress(DecodeError):
                return Sound(self._decoder.recover(following.payload, self._frame), concealed=True)
        return Sound(self._decoder.conceal(self._frame), concealed=True)

    def _in_rtp_clock(self, samples: int) -> int:
        return samples * self._rtp_clock // SAMPLE_RATE
