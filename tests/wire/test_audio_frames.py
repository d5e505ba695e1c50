"""Frame codecs: the bytes of docs/numbered-audio.md, and nothing accepted that is no frame."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbridge.wire import audio_frames as frames
from glassbridge.wire.audio_frames import FrameError, FrameNumber

numbers = st.builds(
    FrameNumber,
    epoch=st.integers(0, 2**32 - 1),
    position=st.integers(0, 2**64 - 1),
    capture_time_us=st.integers(0, 2**64 - 1),
    flags=st.sampled_from([0, frames.FLAG_REPLAYED, frames.FLAG_LAST, frames.FLAG_REPLAYED | frames.FLAG_LAST]),
)


def test_the_bytes_are_those_of_the_document() -> None:
    number = FrameNumber(epoch=0x01020304, position=0x1112131415161718, capture_time_us=0x2122232425262728, flags=4)
    assert frames.encode_numbered(number, b"\xaa\xbb").hex() == "020400000403020118171615141312112827262524232221aabb"


@given(numbers, st.binary(max_size=200).map(lambda pcm: pcm[: len(pcm) // 2 * 2]))
def test_numbered_frames_come_back(number: FrameNumber, pcm: bytes) -> None:
    assert frames.decode_numbered(frames.encode_numbered(number, pcm)) == (number, pcm)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_frame_or_a_frame_error(data: bytes) -> None:
    try:
        number, pcm = frames.decode_numbered(data)
    except FrameError:
        return
    assert frames.encode_numbered(number, pcm) == data


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (b"", "24 bytes"),
        (bytes([2]) * 23, "24 bytes"),
        (frames.encode_numbered(FrameNumber(1, 2, 3), b"")[1:] + b"\0", "version 0"),
        (frames.encode_numbered(FrameNumber(1, 2, 3, coding=2), b""), "coding 2"),
        (frames.encode_numbered(FrameNumber(1, 2, 3, coding=1), b""), "number of samples"),
        (frames.encode_numbered(FrameNumber(1, 2, 3, coding=1), b"\x40\x01\x05\x00abcd"), "cut off"),
        (frames.encode_numbered(FrameNumber(1, 2, 3, coding=1), b"\x40\x01\x00\x00"), "empty"),
        (frames.encode_numbered(FrameNumber(1, 2, 3, coding=1), b"\x41\x01\x01\x00a"), "321 samples"),
        (frames.encode_numbered(FrameNumber(1, 2, 3, coding=1), b"\x00\x00\x01\x00a"), "0 samples"),
        (frames.encode_numbered(FrameNumber(1, 2, 3), b"abc"), "whole"),
        (frames.encode_numbered(FrameNumber(1, 2, 3, frames.FLAG_PRESENCE), b"ab"), "no samples"),
    ],
)
def test_what_is_no_frame_is_refused_with_a_reason(frame: bytes, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        frames.decode_numbered(frame)


@given(st.integers(0, 10_000), st.binary(max_size=100).map(lambda pcm: pcm[: len(pcm) // 2 * 2]))
def test_the_originals_counter_is_told_from_plain_audio_by_parity(counter: int, pcm: bytes) -> None:
    assert frames.decode_unnumbered(frames.encode_sequence(counter, pcm)) == (counter % 256, pcm)
    assert frames.decode_unnumbered(pcm) == (None, pcm)


def test_flags_have_names() -> None:
    number = FrameNumber(1, 2, 3, frames.FLAG_REPLAYED | frames.FLAG_LAST)
    assert (number.replayed, number.presence, number.last) == (True, False, True)
