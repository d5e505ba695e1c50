"""Opus frames of a phone become samples: each packet is decoded once, whichever route or copy brought it first.

Opus decoders remember what came before: a decoder that jumps between packets garbles words. So there are three.
- One goes on where the sound is complete, packet by packet.
- What comes too early is decoded by another one at once, in case that what is missing never comes. When it does, what
  waits behind it is decoded again, in order, and that takes its place as long as it has not been handed on.
- What fills an older hole is decoded by a third one, so that a repair does not disturb the live sound.
"""

from collections.abc import Callable
from typing import NamedTuple

from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE
from glassbridge.livekit.opus import Decoder, OpusError
from glassbridge.wire.audio_frames import OPUS_PACKET, FrameError, FrameNumber, decode_opus

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


class OpusFrames:
    """Of one session. `wants(epoch, start, stop)`: whether any of these samples has not been delivered yet.
    `settled(epoch)`: the position before which all is delivered or given up."""

    __slots__ = ("_ahead", "_early", "_epoch", "_live", "_may", "_repairs", "_settled", "_wants")

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
        self._early: dict[int, _Packet] = {}
        """By position: what waits behind a hole."""

    def decode(self, number: FrameNumber, payload: bytes) -> tuple[list[Stretch], int]:
        """The samples of a frame that are still wanted, and how many it held in all. What waited behind them and sounds
        better now comes before them, the newest first: who takes it in this order hands on nothing too soon. Raises
        FrameError (the phone's fault)."""
        packets, samples = decode_opus(payload)
        if number.epoch != self._epoch:
            self._epoch = number.epoch
            self._begin()
        self._pass(self._settled(number.epoch))
        own: list[Stretch] = []
        again: dict[int, Stretch] = {}
        for index, content in enumerate(packets):
            offset = index * OPUS_PACKET
            start, count = number.position + offset, min(OPUS_PACKET, samples - offset)
            packet = _Packet(number.capture_time_us + offset * 1_000_000 // SAMPLE_RATE, count, content)
            again.pop(start, None)
            if self._wants(number.epoch, start, start + count):
                if not self._may():
                    raise FrameError("more Opus packets than are decoded in a second")
                own.append(self._take(start, packet))
                again |= self._go_on()
        return [again[start] for start in sorted(again, reverse=True)] + own, samples

    def _pass(self, settled: int) -> None:
        """Missing audio before this position is not waited for any more."""
        if settled > self._live.stop:
            if self._ahead.stop == settled:
                self._live, self._ahead = self._ahead, self._live
            self._live.stop = settled
            self._early = {at: packet for at, packet in self._early.items() if at >= settled}

    def _take(self, start: int, packet: _Packet) -> Stretch:
        if not self._live.stop or start == self._live.stop:
            return self._live.decode(packet, start)
        if start < self._live.stop:
            return self._repairs.decode(packet, start)
        self._early[start] = packet
        if len(self._early) > EARLY:
            del self._early[next(iter(self._early))]
        return self._ahead.decode(packet, start)

    def _go_on(self) -> dict[int, Stretch]:
        """What waited behind the sound that is complete now."""
        again: dict[int, Stretch] = {}
        while (packet := self._early.pop(self._live.stop, None)) is not None:
            stretch = self._live.decode(packet, self._live.stop)
            again[stretch.position] = stretch
        return again


class _Stream:
    """One decoder and the position that it expects next; 0: none yet."""

    __slots__ = ("_decoder", "stop")

    def __init__(self) -> None:
        self.stop = 0
        self._decoder: Decoder | None = None

    def decode(self, packet: _Packet, position: int) -> Stretch:
        if self._decoder is None:
            self._decoder = Decoder()
        try:
            pcm = self._decoder.decode(packet.content)
        except OpusError as error:
            raise FrameError(f"an Opus packet cannot be decoded: {error}") from None
        if len(pcm) != OPUS_PACKET * BYTES_PER_SAMPLE:
            raise FrameError(f"an Opus packet holds {len(pcm) // BYTES_PER_SAMPLE} samples, not {OPUS_PACKET}")
        self.stop = position + OPUS_PACKET
        return Stretch(position, packet.captured_us, pcm[: packet.samples * BYTES_PER_SAMPLE])
