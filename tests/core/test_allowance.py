"""Token buckets, and what becomes of a sender that is too fast."""

import pytest

from glassbridge.core.allowance import PATIENCE, Allowance, Allowances, Bucket, Rate, RateVerdict


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = Bucket(Rate(2.0, 10), 0.0)
    assert [bucket.take(0.0) for _ in range(11)] == [True] * 10 + [False]
    assert bucket.wait(0.0) == 0.5
    assert bucket.take(0.5)
    assert not bucket.take(0.5)
    assert bucket.level(1_000.0) == 10, "no more than the burst is saved up"


def test_time_that_runs_backwards_gives_nothing() -> None:
    bucket = Bucket(Rate(1.0, 1), 10.0)
    assert bucket.take(10.0)
    assert not bucket.take(5.0)
    assert not bucket.take(10.5)
    assert bucket.take(11.0)


def phone(now: float = 0.0) -> Allowance:
    return Allowance(Rate(100, 400), Rate(10_000, 40_000), now)


@pytest.mark.parametrize("frame_ms", [10, 20, 50, 100])
def test_live_audio_with_a_replay_at_four_times_is_never_too_fast(frame_ms: int) -> None:
    """With the defaults of a cloud: an hour of it, and a burst of two seconds that waited in a stall."""
    from glassbridge.cloud.apps_config import PHONE_RATES

    allowance = Allowance(
        Rate(PHONE_RATES.messages, PHONE_RATES.messages * 4), Rate(PHONE_RATES.size, PHONE_RATES.size * 4), 0.0
    )
    size = frame_ms * 32 + 40
    frames = 2_000 // frame_ms
    assert allowance.spend(frames, frames * size, 0.0) is RateVerdict.WITHIN
    for second in range(1, 3_600):
        count = 5 * 1_000 // frame_ms
        assert allowance.spend(count, count * size, float(second)) is RateVerdict.WITHIN


def test_a_short_excess_is_told_once_and_costs_a_wait() -> None:
    allowance = phone()
    assert allowance.spend(400, 0, 0.0) is RateVerdict.WITHIN
    assert allowance.spend(100, 0, 0.0) is RateVerdict.TELL
    assert allowance.debt(0.0) == 1.0
    assert allowance.spend(150, 0, 1.0) is RateVerdict.HOLD
    assert allowance.debt(2.5) == 0.0
    assert allowance.spend(0, 40_000, 6.0) is RateVerdict.WITHIN
    assert allowance.spend(0, 1, 6.0) is RateVerdict.TELL, "a new excess, of bytes"


def test_a_sender_that_goes_on_is_closed() -> None:
    allowance = phone()
    told: list[RateVerdict] = []
    now = 0.0
    while not told or told[-1] is not RateVerdict.CLOSE:
        told.append(allowance.spend(200 if told else 450, 0, now))
        now += allowance.debt(now)
        assert now < PATIENCE + 10
    assert told[0] is RateVerdict.TELL
    assert set(told[1:-1]) == {RateVerdict.HOLD}
    assert now >= PATIENCE


def test_far_too_much_at_once_is_not_waited_for() -> None:
    assert phone().spend(801, 0, 0.0) is RateVerdict.CLOSE
    assert phone().spend(0, 80_001, 0.0) is RateVerdict.CLOSE


def test_a_sender_that_slows_down_is_not_closed() -> None:
    allowance = phone()
    assert allowance.spend(500, 0, 0.0) is RateVerdict.TELL
    for second in range(1, 100):
        assert allowance.spend(50, 0, 1.0 + second) is RateVerdict.WITHIN


def test_names_are_apart_and_asking_takes_nothing() -> None:
    many = Allowances(Rate(1 / 60, 1))
    assert many.of("a", 0.0).take(0.0)
    assert many.wait("b", 0.0) == many.wait("b", 0.0) == 0.0
    assert len(many) == 1, "nor is it remembered"
    assert many.of("b", 0.0).take(0.0)


def test_the_name_that_was_used_longest_ago_is_forgotten() -> None:
    many = Allowances(Rate(1 / 60, 1), most=2)
    for name in ("a", "b", "a", "c"):
        many.of(name, 0.0).take(0.0)
    assert many.wait("a", 0.0) > 0
    assert many.wait("b", 0.0) == 0.0
    assert len(many) == 2


def test_a_burst_and_then_an_even_pace() -> None:
    many = Allowances(Rate(0.1, 2))
    assert [many.of("a", 0.0).take(0.0) for _ in range(3)] == [True, True, False]
    assert many.wait("a", 0.0) == 10.0
    assert many.of("a", 9.9).take(9.9) is False
    assert many.of("a", 20.0).take(20.0) is True


def test_of_many_names_the_last_are_remembered() -> None:
    many = Allowances(Rate(1.0, 1), most=3)
    for name in range(10_000):
        many.of(name, 0.0).take(0.0)
    assert len(many) == 3
    assert not many.of(9_999, 0.0).take(0.0)
