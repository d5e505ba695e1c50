"""The microphone's side of the numbers."""

import pytest

from glassbridge.core.uplink import Ledger
from glassbridge.phone import capture
from glassbridge.phone.capture import Capture, Frame


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


def test_an_epoch_ends_at_zero_once_all_of_it_is_acknowledged() -> None:
    microphone = Capture(1)
    microphone.take(bytes(3200))
    microphone.end_epoch(2)
    former = microphone.take(bytes(3200))
    assert (former.number.epoch, former.number.position) == (1, 1600), "what is on its way is not given up"
    microphone.acknowledge(1, 3200, [(0, 160)], 160)
    assert microphone.epoch == 1, "something is missing that it has"
    microphone.acknowledge(1, 3200)
    assert microphone.epoch == 2
    frame = microphone.take(bytes(3200))
    assert (frame.number.epoch, frame.number.position) == (2, 0)
    microphone.acknowledge(1, 1600)
    assert list(microphone.kept) == [frame], "an acknowledgement of the former epoch is nothing"
    microphone.acknowledge(2, 1600)
    assert list(microphone.kept) == []


def test_presence_beside_audio_on_its_way_says_no_later_time_than_that_audio() -> None:
    """Else the ledger believes that nothing was captured until then, and takes what is on its way for skipped."""
    ledger, microphone = Ledger(), Capture(1)
    frames = [microphone.take(bytes(3200), at * 100_000) for at in range(20)]
    receive(ledger, frames[0], 0.1)
    microphone.acknowledge(1, 1600)
    receive(ledger, microphone.behind(), 1.5)
    receive(ledger, frames[19], 2.0)
    ledger.tick(2.3)
    account = ledger.account()
    assert (account.skipped, account.lost) == (0, 18 * 1600)


def receive(ledger: Ledger, frame: Frame, now: float) -> None:
    number = frame.number
    ledger.receive(number.epoch, number.position, number.capture_time_us, frame.pcm, now=now)


def test_the_newest_of_what_is_not_acknowledged() -> None:
    now = 0

    def clock() -> int:
        return now

    capture = Capture(1, clock)
    for _ in range(10):
        now += 100_000
        capture.take(bytes(3_200))
    capture.acknowledge(1, 14_000)
    assert [frame.number.position for frame in capture.newest(0.35)] == [12_800, 14_400]
    assert [frame.number.position for frame in capture.newest(0.05)] == [14_400]
