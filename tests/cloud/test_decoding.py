"""Opus that comes out of order sounds like Opus that came in order."""

import random
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest

from glassbridge.cloud.decoding import OpusFrames
from glassbridge.core.uplink import REORDER_WAIT, Ledger
from glassbridge.lab import tone_code
from glassbridge.livekit.opus import Encoder
from glassbridge.wire.audio_frames import CODING_OPUS, OPUS_PACKET, FrameNumber, encode_opus

UNITS = 30
PACKET = OPUS_PACKET / 16_000


def packets(bit_rate: int) -> list[bytes]:
    encoder, pcm = Encoder(bit_rate), tone_code.speech(UNITS)
    return [encoder.encode(pcm[at : at + 2 * OPUS_PACKET]) for at in range(0, len(pcm), 2 * OPUS_PACKET)]


def delivered(coded: list[bytes], arrivals: Iterable[tuple[float, int]]) -> tuple[npt.NDArray[np.float64], Ledger]:
    """What a ledger hands on of packets that come at these times; silence where nothing is."""
    ledger = Ledger()
    frames = OpusFrames(ledger.wants, ledger.settled)
    out = np.zeros(len(coded) * OPUS_PACKET)
    for now, index in sorted(arrivals):
        deliveries = ledger.tick(now)
        captured = round(index * PACKET * 1e6)
        number = FrameNumber(1, index * OPUS_PACKET, captured, coding=CODING_OPUS)
        for part in frames.decode(number, encode_opus([coded[index]], OPUS_PACKET))[0]:
            deliveries += ledger.receive(1, part.position, part.captured_us, part.pcm, now=now, coded=True)
        for delivery in deliveries:
            pcm = np.frombuffer(delivery.pcm, "<i2")
            out[delivery.position : delivery.position + len(pcm)] = pcm
    return out, ledger


@pytest.mark.parametrize("bit_rate", [24_000, 16_000, 12_000])
@pytest.mark.parametrize("jitter", [0.04, 0.1, 0.19])
def test_packets_that_overtake_each_other_are_no_other_words(jitter: float, bit_rate: int) -> None:
    coded = packets(bit_rate)
    chance = random.Random(1)
    arrivals = [(index * PACKET + (chance.random() * jitter if index else 0.0), index) for index in range(len(coded))]
    heard, ledger = delivered(coded, arrivals)
    in_order, _ = delivered(coded, ((index * PACKET, index) for index in range(len(coded))))
    assert ledger.account().lost == 0
    assert np.array_equal(heard, in_order)


@pytest.mark.parametrize("bit_rate", [24_000, 16_000, 12_000])
def test_a_hole_that_is_given_up_costs_what_is_missing_and_no_more(bit_rate: int) -> None:
    coded = packets(bit_rate)
    arrivals = [(index * PACKET, index) for index in range(len(coded)) if not 50 <= index < 60]
    heard, ledger = delivered(coded, arrivals)
    assert ledger.account().lost == 10 * OPUS_PACKET
    units = {found.unit for found in tone_code.hear(heard.astype("<i2").tobytes())}
    assert units == set(range(UNITS)) - {10, 11}


def test_a_hole_that_is_filled_later_is_heard_and_disturbs_nothing() -> None:
    coded = packets(24_000)
    late = 2 * REORDER_WAIT
    arrivals = [(index * PACKET + (late if 50 <= index < 60 else 0.0), index) for index in range(len(coded))]
    heard, ledger = delivered(coded, arrivals)
    assert ledger.account().lost == 0
    assert {found.unit for found in tone_code.hear(heard.astype("<i2").tobytes())} == set(range(UNITS))
