"""Phones with clocks that are wrong: live listeners go on hearing them, and the ledger knows what the clock did."""

import random
from collections.abc import Callable

import pytest

from glassbridge.core.capture_clock import DRIFT, EQUAL_FOR
from glassbridge.core.uplink import AGE_LIMIT, ClockStep, Ledger
from glassbridge.core.values import SAMPLE_RATE

FRAME = 1_600
SECONDS = FRAME / SAMPLE_RATE
PCM = bytes(2 * FRAME)


class Phone:
    """Speaks in frames of 0.1 s; `clock` turns true time into what its stamps say, `way` into seconds on the way."""

    def __init__(self, clock: Callable[[float], float], way: Callable[[float], float] = lambda _: 0.02) -> None:
        self.ledger = Ledger()
        self.clock = clock
        self.way = way
        self.now = 1_000.0
        self.position = 0

    def speak(self, seconds: float) -> list[tuple[float, bool]]:
        """(when, whether live) of each frame."""
        told = []
        arrived = 0.0
        for _ in range(round(seconds / SECONDS)):
            stamp = round(self.clock(self.now) * 1e6)
            self.now += SECONDS
            arrived = max(arrived, self.now + self.way(self.now))
            deliveries = self.ledger.receive(7, self.position, stamp, PCM, now=arrived)
            told += [(self.now, delivery.live) for delivery in deliveries]
            self.position += FRAME
        return told

    def nap(self, seconds: float) -> None:
        self.now += seconds

    def is_present(self, way: float = 0.02) -> None:
        """Says, without audio, that it is there; stamped by true time."""
        self.ledger.receive(7, self.position, round(self.now * 1e6), b"", now=self.now + way)

    @property
    def step(self) -> ClockStep | None:
        return self.ledger.clock_step


def late(told: list[tuple[float, bool]]) -> float:
    """Seconds that were not live."""
    return sum(not live for _, live in told) * SECONDS


@pytest.mark.parametrize("nap", [1.0, 5.0, 3_600.0])
def test_a_clock_that_slept_is_believed_again_after_three_seconds(nap: float) -> None:
    asleep = 0.0
    phone = Phone(lambda now: now - asleep)
    assert late(phone.speak(3.0)) == 0.0
    phone.nap(nap)
    asleep = nap
    assert late(phone.speak(15.0)) == pytest.approx(EQUAL_FOR, abs=0.2)
    assert phone.step is not None
    assert phone.step.number == 1
    assert phone.step.seconds == pytest.approx(-nap, rel=0.02, abs=0.1)


@pytest.mark.parametrize("by", [-3_600.0, -5.0, -0.7, 0.7, 5.0, 3_600.0])
def test_a_clock_that_steps_costs_nothing(by: float) -> None:
    begun = 1_010.0
    phone = Phone(lambda now: now + 10_000 + (by if now >= begun else 0.0))
    assert late(phone.speak(60.0)) == 0.0
    assert phone.step is not None
    assert phone.step.number == 1
    assert phone.step.seconds == pytest.approx(by, abs=0.1)


def test_a_clock_that_steps_forward_and_back() -> None:
    phone = Phone(lambda now: now + (5.0 if 1_010 <= now < 1_020 or 1_030 <= now < 1_040 else 0.0))
    assert late(phone.speak(60.0)) == 0.0
    assert phone.step is not None
    assert phone.step.number == 4


@pytest.mark.parametrize("rate", [0.99, 0.9998, 1.0002, 1.01])
@pytest.mark.parametrize("pauses", [False, True])
def test_a_clock_that_drifts_is_no_step(rate: float, pauses: bool) -> None:
    phone = Phone(lambda now: now * rate)
    told = []
    for _ in range(60):
        told += phone.speak(5.0)
        if pauses:
            phone.nap(5.0)
    assert late(told) == 0.0
    assert phone.step is None


def test_a_clock_that_stands_still_is_replaced_by_the_samples() -> None:
    phone = Phone(lambda now: min(now, 1_010.0))
    assert late(phone.speak(60.0)) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_stamps_that_jitter_are_no_step(seed: int) -> None:
    chance = random.Random(seed)
    phone = Phone(lambda now: now + chance.uniform(-0.15, 0.15), lambda _: chance.uniform(0.0, 0.15))
    assert late(phone.speak(120.0)) == 0.0
    assert phone.step is None


def test_a_backlog_is_late_until_it_is_over() -> None:
    """The way is shut for 2 s; what waited comes in one burst."""
    phone = Phone(lambda now: now, lambda now: max(0.02, 1_012.0 - now) if now >= 1_010.0 else 0.02)
    told = phone.speak(20.0)
    assert late(told) == pytest.approx(2.0 - AGE_LIMIT, abs=0.2)
    assert phone.step is None


def test_a_queue_that_stays_full_is_no_clock() -> None:
    """It fills within 2 s; from then on everything is late by the same."""
    phone = Phone(lambda now: now, lambda now: min(max(0.02, now - 1_010.0), 2.0))
    told = phone.speak(60.0)
    assert late(told) == pytest.approx(50.0 - AGE_LIMIT, abs=0.5)
    assert phone.step is None


@pytest.mark.parametrize("growth", [0.05, 0.1, 0.2])
def test_a_way_that_grows_longer_is_no_clock(growth: float) -> None:
    phone = Phone(lambda now: now, lambda now: max(0.02, (now - 1_010.0) * growth))
    told = phone.speak(60.0)
    assert late(told) == pytest.approx(50.0 - AGE_LIMIT / (growth - DRIFT), abs=1.5)
    assert phone.step is None


def test_a_queue_that_stays_full_for_minutes_is_late_to_the_end() -> None:
    phone = Phone(lambda now: now, lambda now: min(max(0.02, now - 1_010.0), 1.0))
    assert late(phone.speak(300.0)) == pytest.approx(290.0 - AGE_LIMIT, abs=0.5)


def test_a_clock_that_slept_while_audio_was_late_is_believed_again() -> None:
    asleep = 0.0
    phone = Phone(lambda now: now - asleep, lambda now: min(max(0.02, now - 1_010.0), 0.8))
    phone.speak(15.0)
    phone.nap(5.0)
    asleep = 5.0
    assert late(phone.speak(20.0)) == pytest.approx(EQUAL_FOR, abs=0.2)
    assert phone.step is not None
    assert phone.step.seconds == pytest.approx(-5.8, abs=0.3)


def test_the_first_audio_is_late_where_presence_was_quicker() -> None:
    """A narrow link whose queue is full before the first frame: each is late by the same."""
    phone = Phone(lambda now: now, lambda _: 1.5)
    phone.is_present()
    assert late(phone.speak(2.0)) == pytest.approx(2.0)


def test_a_phone_that_stamps_its_audio_long_before_it_sends_it_is_live() -> None:
    phone = Phone(lambda now: now - 0.8)
    for _ in range(20):
        assert late(phone.speak(1.0)) == 0.0
        phone.is_present()
    assert phone.step is None
