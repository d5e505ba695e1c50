"""Opus that comes out of order sounds like Opus that came in order."""

import random
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest

from glassbridge.cloud.decoding import OpusFrames, Stretch
from glassbridge.core.sending_levels import LEVELS, Level
from glassbridge.core.uplink import REORDER_WAIT, Ledger
from glassbridge.lab import tone_code
from glassbridge.phone.capture import Capture, Frame
from glassbridge.phone.coding import Coder, Outgoing, repair
from glassbridge.wire.audio_frames import CODING_OPUS, OPUS_PACKET, FrameNumber, decode_numbered, encode_opus
from tests.speech.hearing import pcm
from tests.support.sound import loudest, opus_packets, samples

_, GUARDED, LOSSY, NARROW, _ = LEVELS
UNITS = 30
PACKET = OPUS_PACKET / 16_000


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
    coded = opus_packets(tone_code.speech(UNITS), bit_rate)
    chance = random.Random(1)
    arrivals = [(index * PACKET + (chance.random() * jitter if index else 0.0), index) for index in range(len(coded))]
    heard, ledger = delivered(coded, arrivals)
    in_order, _ = delivered(coded, ((index * PACKET, index) for index in range(len(coded))))
    assert ledger.account().lost == 0
    assert np.array_equal(heard, in_order)


@pytest.mark.parametrize("bit_rate", [24_000, 16_000, 12_000])
def test_a_hole_that_is_given_up_costs_what_is_missing_and_no_more(bit_rate: int) -> None:
    coded = opus_packets(tone_code.speech(UNITS), bit_rate)
    arrivals = [(index * PACKET, index) for index in range(len(coded)) if not 50 <= index < 60]
    heard, ledger = delivered(coded, arrivals)
    assert ledger.account().lost == 10 * OPUS_PACKET
    units = {found.unit for found in tone_code.hear(heard.astype("<i2").tobytes())}
    assert units == set(range(UNITS)) - {10, 11}


def test_a_hole_that_is_filled_later_is_heard_and_disturbs_nothing() -> None:
    coded = opus_packets(tone_code.speech(UNITS), 24_000)
    late = 2 * REORDER_WAIT
    arrivals = [(index * PACKET + (late if 50 <= index < 60 else 0.0), index) for index in range(len(coded))]
    heard, ledger = delivered(coded, arrivals)
    assert ledger.account().lost == 0
    assert {found.unit for found in tone_code.hear(heard.astype("<i2").tobytes())} == set(range(UNITS))


SPEECH = pcm("clip")
NOISE = 1.5
"""By so much the energy of 20 ms may exceed that of the loudest 20 ms of the original. It is 0.9 at most here; decoders
that went on where encoders did not made four times as much at one place in ten."""
STRETCH = 40
"""Packets that are heard after the place in question."""


def heard_of(frames: Iterable[Outgoing], length: int) -> npt.NDArray[np.float64]:
    """What a ledger hands on of these frames, by position."""
    ledger, out = Ledger(), np.zeros(length)
    decoder = OpusFrames(ledger.wants, ledger.settled)
    for frame in frames:
        number, payload = decode_numbered(frame.encoded())
        opus = number.coding == CODING_OPUS
        parts = decoder.decode(number, payload)[0] if opus else [Stretch(number.position, 0, payload)]
        for part in parts:
            for delivery in ledger.receive(1, part.position, 0, part.pcm, now=0.0, coded=opus):
                pcm = np.frombuffer(delivery.pcm, "<i2")
                out[delivery.position : delivery.position + len(pcm)] = pcm
    return out


def captured_in(capture: Capture, sound: bytes, samples: int) -> Frame:
    """The next samples of the sound."""
    start = 2 * capture.position
    return capture.take(sound[start : start + 2 * samples], 0)


@pytest.mark.parametrize("former", [LOSSY, NARROW])
def test_where_an_encoder_begins_anew_nobody_hears_a_noise(former: Level) -> None:
    """A phone changes its level, codes anew what waits, and goes on with a new encoder."""
    said, loud = samples(SPEECH), []
    for place in range(20_000, len(said) - 22_000, 4_001):
        capture = Capture(1)
        capture.position = place - 16_000
        coder, repairs = Coder(capture.encoders), Coder(capture.encoders)
        sent = coder.code(captured_in(capture, SPEECH, 16_000), former)
        sent += repair(captured_in(capture, SPEECH, 1_600), LOSSY, repairs, flags=0)
        sent += coder.code(captured_in(capture, SPEECH, STRETCH * OPUS_PACKET), LOSSY)
        loud.append(loudest(heard_of(sent, len(said))[place:]) / loudest(said))
    assert max(loud) < NOISE, [round(one, 1) for one in loud if one >= NOISE]


def test_a_repair_of_what_was_never_coded_leaves_the_words_behind_it_as_they_are() -> None:
    """As it was when a room died: PCM until 7.9 s, coded audio by the socket from 8.025 s on, the hole between them
    last, and then what is new. Four units behind it were a screech."""
    sound, capture = tone_code.speech(110), Capture(1)
    coder, repairs = Coder(capture.encoders), Coder(capture.encoders)
    sent = coder.code(captured_in(capture, sound, 79 * tone_code.UNIT), GUARDED)
    hole = captured_in(capture, sound, 2_000)
    sent += repair(captured_in(capture, sound, 86 * tone_code.UNIT - hole.stop), NARROW, repairs, flags=0)
    sent += repair(hole, NARROW, repairs)
    sent += coder.code(captured_in(capture, sound, 24 * tone_code.UNIT), NARROW)
    heard = heard_of(sent, len(sound) // 2)
    assert {found.unit for found in tone_code.hear(heard.astype("<i2").tobytes())} == set(range(110))


def test_behind_a_second_hole_that_is_given_up_nobody_hears_a_noise() -> None:
    """Twice five packets are missing. The decoder of what comes behind the second one was left at the first."""
    coded, said, loud = opus_packets(SPEECH, 24_000), samples(SPEECH), []
    for hole in range(50, len(coded) - STRETCH, 3):
        start, stop = hole - 50, hole + STRETCH
        came = set(range(stop - start)) - {*range(20, 25), *range(50, 55)}
        arrivals = [(index * PACKET, index) for index in came]
        heard, _ = delivered(coded[start:stop], arrivals)
        loud.append(loudest(heard[50 * OPUS_PACKET :]) / loudest(said[hole * OPUS_PACKET : stop * OPUS_PACKET]))
    assert max(loud) < 2 * NOISE, [round(one, 1) for one in loud if one >= NOISE]
