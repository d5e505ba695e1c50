"""Opus frames of a phone become samples: each packet is decoded once, whichever route or copy brought it first.

Opus decoders remember what came before. Packets that go on where the newest ended use one decoder; those that fill an
older hole use another, so that a repair does not disturb the live sound.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE
from glassbridge.livekit.opus import Decoder, OpusError
from glassbridge.wire.audio_frames import OPUS_PACKET, FrameError, FrameNumber, decode_opus


class Stretch(NamedTuple):
    """Consecutive samples out of one frame."""

    position: int
    captured_us: int
    pcm: bytes


class OpusFrames:
    """Of one session. `wants(epoch, start, stop)`: whether any of these samples has not been delivered yet."""

    def __init__(self, wants: Callable[[int, int, int], bool]) -> None:
        self._wants = wants
        self._epoch: int | None = None
        self._live, self._repairs = _Stream(), _Stream()

    def decode(self, number: FrameNumber, payload: bytes) -> tuple[list[Stretch], int]:
        """The samples of a frame that are still wanted, the oldest first, and how many it held in all. Raises
        FrameError (the phone's fault)."""
        packets, samples = decode_opus(payload)
        if number.epoch != self._epoch:
            self._epoch, self._live, self._repairs = number.epoch, _Stream(), _Stream()
        return list(self._stretches(number, packets, samples)), samples

    def _stretches(self, number: FrameNumber, packets: list[bytes], samples: int) -> Iterator[Stretch]:
        for index, packet in enumerate(packets):
            offset = index * OPUS_PACKET
            start, count = number.position + offset, min(OPUS_PACKET, samples - offset)
            if self._wants(number.epoch, start, start + count):
                stream = self._live if start >= self._live.stop else self._repairs
                pcm = stream.decode(packet, start)[: count * BYTES_PER_SAMPLE]
                yield Stretch(start, number.capture_time_us + offset * 1_000_000 // SAMPLE_RATE, pcm)


class _Stream:
    """One decoder and the position that it expects next."""

    def __init__(self) -> None:
        self.stop = 0
        self._decoder: Decoder | None = None

    def decode(self, packet: bytes, position: int) -> bytes:
        if self._decoder is None:
            self._decoder = Decoder()
        try:
            pcm = self._decoder.decode(packet)
        except OpusError as error:
            raise FrameError(f"an Opus packet cannot be decoded: {error}") from None
        if len(pcm) != OPUS_PACKET * BYTES_PER_SAMPLE:
            raise FrameError(f"an Opus packet holds {len(pcm) // BYTES_PER_SAMPLE} samples, not {OPUS_PACKET}")
        self.stop = position + OPUS_PACKET
        return pcm
