"""Opus frames of a phone become samples: each packet is decoded once, whichever route or copy brought it first.

A decoder that gets a packet which does not follow the one before makes noise, often louder than any voice and for a
second (tests/cloud/test_decoding.py). So it begins anew there, and where another encoder made the packet
(docs/numbered-audio.md). There are three.
- One goes on where the sound is complete, packet by packet.
- What comes too early is decoded by another one at once, in case that what is missing never comes. When it does, what
  waits behind it is decoded again, in order, and that takes its place as long as it has not been handed on.
- What fills an older hole is decoded by a third one, so that a repair does not disturb the live sound.
"""

from collections.abc import Callable
from typing import NamedTuple

from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE
from glassbridge.livekit.opus import Decoder, OpusError
from glassbridge.wire.audio_frames import ENCODERS, OPUS_PACKET, FrameError, FrameNumber, decode_opus

EARLY = 1_000
"""Packets that may wait behind a hole; the oldest go first."""


class Stretch(NamedTuple):
    """Consecutive samples out of one frame."""

    position: int
    captured_us: int
    pcm: bytes


class _Packet(NamedTuple):
    captured_us: int
    samples: int
    content: bytes
    encoder: int


class OpusFrames:
    """Of one session. `wants(epoch, start, stop)`: whether any of these samples has not been delivered yet.
    `settled(epoch)`: the position before which all is delivered or given up."""

    __slots__ = ("_ahead", "_complete", "_early", "_epoch", "_live", "_may", "_repairs", "_settled", "_wants")

    def __init__(
        self,
        wants: Callable[[int, int, int], bool],
        settled: Callable[[int], int],
        may: Callable[[], bool] = lambda: True,
    ) -> None:
        """`may`: whether one more packet is decoded now."""
        self._may = may
        self._wants = wants
        self._settled = settled
        self._epoch: int | None = None
        self._begin()

    def _begin(self) -> None:
        self._live, self._ahead, self._repairs = _Stream(), _Stream(), _Stream()
        self._complete = 0
        """The position up to which the sound is decoded in order; 0: none yet."""
        self._early: dict[int, _Packet] = {}
        """By position: what waits behind a hole."""

    def decode(self, number: FrameNumber, payload: bytes) -> tuple[list[Stretch], int]:
        """The samples of a frame that are still wanted, and how many it held in all. What waited behind them and sounds
        better now comes before them, the newest first: who takes it in this order hands on nothing too soon. Raises
        FrameError (the phone's fault)."""
        packets, samples = decode_opus(payload)
        # where it is not told, repairs are taken to have an encoder of their own
        encoder = number.encoder or (ENCODERS if number.repair or number.replayed else 0)
        if number.epoch != self._epoch:
            self._epoch = number.epoch
            self._begin()
        self._pass(self._settled(number.epoch))
        own: list[Stretch] = []
        again: dict[int, Stretch] = {}
        for index, content in enumerate(packets):
            offset = index * OPUS_PACKET
            start, count = number.position + offset, min(OPUS_PACKET, samples - offset)
            packet = _Packet(number.capture_time_us + offset * 1_000_000 // SAMPLE_RATE, count, content, encoder)
            again.pop(start, None)
            if self._wants(number.epoch, start, start + count):
                if not self._may():
                    raise FrameError("more Opus packets than are decoded in a second")
                own.append(self._take(start, packet))
                again |= self._go_on()
        return [again[start] for start in sorted(again, reverse=True)] + own, samples

    def _pass(self, settled: int) -> None:
        """Missing audio before this position is not waited for any more."""
        if settled > self._complete:
            if self._ahead.stop == settled:
                self._live, self._ahead = self._ahead, self._live
            self._complete = settled
            self._early = {at: packet for at, packet in self._early.items() if at >= settled}

    def _take(self, start: int, packet: _Packet) -> Stretch:
        if not self._complete or start == self._complete:
            return self._decode_next(packet, start)
        if start < self._complete:
            return self._repairs.decode(packet, start)
        self._early[start] = packet
        if len(self._early) > EARLY:
            del self._early[next(iter(self._early))]
        return self._ahead.decode(packet, start)

    def _decode_next(self, packet: _Packet, start: int) -> Stretch:
        self._complete = start + packet.samples
        return self._live.decode(packet, start)

    def _go_on(self) -> dict[int, Stretch]:
        """What waited behind the sound that is complete now."""
        again: dict[int, Stretch] = {}
        while (packet := self._early.pop(self._complete, None)) is not None:
            stretch = self._decode_next(packet, self._complete)
            again[stretch.position] = stretch
        return again


class _Stream:
    """One decoder, the position that it expects next, and the encoder whose packets it follows."""

    __slots__ = ("_decoder", "_encoder", "stop")

    def __init__(self) -> None:
        self.stop = self._encoder = -1
        self._decoder: Decoder | None = None

    def decode(self, packet: _Packet, position: int) -> Stretch:
        if self._decoder is None or position != self.stop or packet.encoder != self._encoder:
            self._decoder, self._encoder = Decoder(), packet.encoder
        try:
            pcm = self._decoder.decode(packet.content)
        except OpusError as error:
            raise FrameError(f"an Opus packet cannot be decoded: {error}") from None
        if len(pcm) != OPUS_PACKET * BYTES_PER_SAMPLE:
            raise FrameError(f"an Opus packet holds {len(pcm) // BYTES_PER_SAMPLE} samples, not {OPUS_PACKET}")
        self.stop = position + packet.samples
        return Stretch(position, packet.captured_us, pcm[: packet.samples * BYTES_PER_SAMPLE])
