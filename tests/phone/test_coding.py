"""From captured samples to frames and back: positions, copies, remainders, repairs."""

from dataclasses import replace
from itertools import cycle, pairwise

import numpy as np
import pytest

from glassbridge.cloud.decoding import OpusFrames
from glassbridge.core.sending_levels import LEVELS, Coding, Level
from glassbridge.core.uplink import Ledger
from glassbridge.phone.capture import Capture, Frame
from glassbridge.phone.coding import Coder, Outgoing, joined, merged, recoded, repair, repaired
from glassbridge.phone.pacing import AROUND
from glassbridge.runtime.tcp import SEGMENT
from glassbridge.wire.audio_frames import (
    FLAG_REPAIR,
    FrameError,
    FrameNumber,
    decode_numbered,
    decode_opus,
    encode_opus,
)

CLEAR, GUARDED, LOSSY, NARROW, THIN = LEVELS
DATAGRAM = 1_100


def voice(samples: int) -> bytes:
    time = np.arange(samples) / 16_000
    return (9000 * np.sin(2 * np.pi * 300 * time)).astype("<i2").tobytes()


def coded(level_index: int, sizes: list[int], *, last: bool = True) -> tuple[list[Outgoing], bytes]:
    capture, out, pcm = Capture(7), [], voice(sum(sizes))
    coder = Coder(capture.encoders)
    at = 0
    for number, size in enumerate(sizes):
        piece = pcm[2 * at : 2 * (at + size)]
        frame = capture.take(piece, at * 1000 // 16, last=last and number == len(sizes) - 1)
        out += coder.code(frame, LEVELS[level_index])
        at += size
    return out, pcm


@pytest.mark.parametrize("level", range(len(LEVELS)))
@pytest.mark.parametrize("sizes", [[1600] * 5, [320] * 20, [333] * 17, [1, 2, 3, 319, 321], [6400, 100]])
def test_frames_cover_every_sample_once_and_the_last_one_ends_it(level: int, sizes: list[int]) -> None:
    frames, _ = coded(level, sizes)
    at = 0
    for frame in frames:
        assert frame.number.position == at
        at = frame.stop
    assert at == sum(sizes)
    assert [frame.number.last for frame in frames] == [False] * (len(frames) - 1) + [True]


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_a_frame_fits_one_datagram(level: int) -> None:
    frames, _ = coded(level, [1600] * 20)
    assert max(len(frame.encoded(LEVELS[level].copies)) for frame in frames) <= DATAGRAM


def test_pcm_is_bit_for_bit() -> None:
    frames, pcm = coded(1, [1600] * 5)
    assert b"".join(decode_numbered(frame.encoded())[1] for frame in frames) == pcm


@pytest.mark.parametrize(("level", "lost"), [(2, 2), (3, 1)])
def test_copies_replace_lost_frames(level: int, lost: int) -> None:
    """Two in a row at 24 kbit/s, one at 16."""
    frames, pcm = coded(level, [1600] * 20)
    ledger = Ledger()
    opus = OpusFrames(ledger.wants, ledger.settled)
    got: dict[int, bytes] = {}
    for index, frame in enumerate(frames):
        if index % (lost + 1) and index + lost < len(frames):
            continue
        number, payload = decode_numbered(frame.encoded(LEVELS[level].copies))
        stretches, _ = opus.decode(number, payload)
        for part in stretches:
            deliveries = ledger.receive(7, part.position, part.captured_us, part.pcm, now=index * 0.02, coded=True)
            got |= {delivery.position: delivery.pcm for delivery in deliveries}
    account = ledger.account().epochs[0]
    assert (account.lost, account.live, account.coded) == (0, 32_000, 32_000)
    heard = np.frombuffer(b"".join(got[position] for position in sorted(got)), "<i2").astype(float)
    said = np.frombuffer(pcm, "<i2").astype(float)
    power = np.sqrt(np.mean(heard[3200:] ** 2)) / np.sqrt(np.mean(said[3200:] ** 2))
    assert 0.7 < power < 1.3, "it is the voice that was sent, not silence"


def test_what_was_delivered_is_not_decoded_again() -> None:
    frames, _ = coded(2, [1600] * 2)
    ledger = Ledger()
    opus = OpusFrames(ledger.wants, ledger.settled)
    for _ in range(2):
        for frame in frames:
            number, payload = decode_numbered(frame.encoded(2))
            for part in opus.decode(number, payload)[0]:
                ledger.receive(7, part.position, part.captured_us, part.pcm, now=0.1)
    assert ledger.account().repeated == 0


def test_a_repair_holds_just_what_is_missing_and_says_so() -> None:
    capture = Capture(7)
    capture.take(voice(1600), 0)
    capture.acknowledge(7, 1600, [(333, 1001)])
    (missing,) = capture.missing
    for level in LEVELS:
        parts = repair(missing, level, Coder(cycle([1, 2])))
        assert (parts[0].number.position, parts[-1].stop) == (333, 1001)
        assert {part.number.flags for part in parts} == {FLAG_REPAIR}


def test_short_frames_are_coded_as_a_whole_when_they_go_again() -> None:
    """Each by itself would be filled up with silence: of 30 ms a quarter."""
    capture = Capture(7)
    frames = [capture.take(voice(480), number * 30_000) for number in range(10)]
    for level in LEVELS:
        again = repaired([*frames[:4], *frames[6:]], level, Coder(cycle([1, 2])))
        assert sum(frame.stop - frame.number.position for frame in again) == 8 * 480
        if level.coding is Coding.OPUS:
            assert [len(frame.packets) for frame in again] == [6, 6], "120 ms twice, not 30 ms eight times"
        else:
            assert max(frame.stop - frame.number.position for frame in again) <= 480, "PCM has to fit a datagram"


def test_waiting_pcm_becomes_few_long_frames() -> None:
    coded_frames, pcm = coded(1, [1600] * 3)
    frames = [Frame(frame.number, frame.pcm) for frame in coded_frames]
    (whole,) = joined(frames)
    assert (whole.number.position, whole.pcm, whole.number.last) == (0, pcm, True)
    assert len(joined([frames[0], frames[2]])) == 2
    again = replace(frames[1], number=replace(frames[1].number, flags=FLAG_REPAIR))
    assert len(joined([frames[0], again])) == 2, "what is sent again says so"


@pytest.mark.parametrize("former", [GUARDED, LOSSY, NARROW])
def test_what_waits_is_coded_for_a_thinner_level_whatever_it_was_coded_as(former: Level) -> None:
    capture, coder, waiting = Capture(7), Coder(cycle([1, 2])), []
    for _ in range(10):
        waiting += coder.code(capture.take(voice(1600), 0), former)
    capture.acknowledge(7, 3200)
    waiting.insert(3, Outgoing(capture.presence(microphone_on=True).number, 16_000))
    again = recoded(waiting, capture, THIN, Coder(cycle([1, 2])))
    assert again[0].number.position == 3200
    stops = [frame.stop for frame in again]
    assert [frame.number.position for frame in again[1:]] == stops[:-1]
    assert stops[-1] == 16_000
    assert all(frame.packets for frame in again)


def test_a_change_of_coding_loses_nothing() -> None:
    capture, coder, out = Capture(7), Coder(cycle([1, 2])), []
    for index, level in enumerate((LOSSY, GUARDED, NARROW, CLEAR, THIN, GUARDED)):
        out += coder.code(capture.take(voice(500), index), level)
    out += coder.flush(GUARDED)
    stops = [0, *(frame.stop for frame in out)]
    assert [frame.number.position for frame in out] == stops[:-1]
    assert stops[-1] == 3000


@pytest.mark.parametrize("payload", [b"", b"\x40", encode_opus([b"\xff" * 40], 320), encode_opus([b"\x10\x00\x00"], 1)])
def test_opus_that_is_none_is_the_phones_fault(payload: bytes) -> None:
    ledger = Ledger()
    with pytest.raises(FrameError):
        OpusFrames(ledger.wants, ledger.settled).decode(FrameNumber(1, 0, 0, coding=1), payload)


def test_the_vector_of_the_documentation() -> None:
    packets, samples = decode_opus(bytes.fromhex("8002 0300 aabbcc 0200 ddee".replace(" ", "")))
    assert (packets, samples) == ([b"\xaa\xbb\xcc", b"\xdd\xee"], 640)
    assert all(level.coding in Coding for level in LEVELS)


def test_merged_frames_hold_the_same_packets_in_one_segment_each() -> None:
    frames, _ = coded(2, [1600] * 10)
    whole = merged(frames)
    assert len(whole) < len(frames) / 4
    assert [packet for each in whole for packet in each.packets] == [
        packet for each in frames for packet in each.packets
    ]
    for former, later in pairwise(whole):
        assert former.stop == later.number.position
    assert all(len(each.encoded()) + AROUND <= SEGMENT for each in whole)
    assert whole[-1].number.last == frames[-1].number.last


def test_frames_that_do_not_follow_each_other_are_not_merged() -> None:
    (first, second, third, *_), _ = coded(2, [1600])
    assert len(merged([first, third])) == 2
    assert len(merged([replace(first, stop=first.stop - 100), second])) == 2, "its last packet ends with silence"
    assert len(merged([first, replace(second, number=replace(second.number, flags=FLAG_REPAIR))])) == 2
    assert len(merged([Outgoing(first.number, first.stop, bytes(640)), second])) == 2
