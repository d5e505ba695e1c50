"""The microphone's side of the numbers."""

import pytest

from glassbridge.phone import capture
from glassbridge.phone.capture import Capture


def test_positions_count_captured_samples() -> None:
    microphone = Capture(5, clock=lambda: 1_000_000)
    first = microphone.take(bytes(3200))
    assert (first.number.epoch, first.number.position, first.number.capture_time_us) == (5, 0, 900_000)
    assert microphone.presence(microphone_on=True).number.position == 1600
    second = microphone.take(bytes(20), 77, last=True)
    assert (second.number.position, second.number.capture_time_us, second.number.last) == (1600, 77, True)
    off = microphone.presence(microphone_on=False).number
    assert (off.position, off.presence, off.last, off.capture_time_us) == (1610, True, True, 1_000_000)


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="whole"):
        Capture(1).take(b"abc")


def test_what_is_kept_is_bounded() -> None:
    microphone = Capture(1)
    for _ in range(1000):
        microphone.take(bytes(3200))
    assert sum(len(frame.pcm) for frame in microphone.kept) == capture.KEPT_BYTES
    assert microphone.kept[0].number.position == 100 * 1600


def test_acknowledged_audio_is_released_and_nonsense_ignored() -> None:
    microphone = Capture(1)
    for _ in range(3):
        microphone.take(bytes(3200))
    microphone.acknowledge(2, 4800)
    microphone.acknowledge(1, 4801)
    assert len(microphone.kept) == 3
    microphone.acknowledge(1, 3300)
    assert [frame.number.position for frame in microphone.kept] == [3200]
    microphone.acknowledge(1, 1600)
    assert microphone.acknowledged == 3300


def test_what_the_cloud_misses_is_kept_until_it_has_it() -> None:
    microphone = Capture(1)
    for _ in range(5):
        microphone.take(bytes(3200))
    microphone.acknowledge(1, 6400, [(1700, 3300)])
    assert [frame.number.position for frame in microphone.kept] == [1600, 3200, 6400]
    assert [(frame.number.position, frame.stop) for frame in microphone.missing] == [(1700, 3200), (3200, 3300)]
    microphone.acknowledge(1, 6400, [(1700, 3200)])
    assert [(frame.number.position, frame.stop) for frame in microphone.missing] == [(1700, 3200)]
    microphone.acknowledge(1, 6400)
    assert [frame.number.position for frame in microphone.kept] == [6400]
    assert microphone.missing == ()


def test_a_new_epoch_begins_at_zero_and_keeps_nothing_of_the_former() -> None:
    microphone = Capture(1)
    microphone.take(bytes(3200))
    microphone.begin_epoch(2)
    assert list(microphone.kept) == []
    frame = microphone.take(bytes(3200))
    assert (frame.number.epoch, frame.number.position) == (2, 0)
    microphone.acknowledge(1, 1600)
    assert list(microphone.kept) == [frame], "an acknowledgement of the former epoch is nothing"
    microphone.acknowledge(2, 1600)
    assert list(microphone.kept) == []
