"""The ladder: at once, then full jitter under a ceiling that doubles up to its cap."""

import random

import pytest

from glassbridge.core.backoff import Backoff, Ladder


def test_ceilings_double_from_the_base_to_the_cap() -> None:
    ladder = Ladder(base=0.5, cap=7.0)
    assert [ladder.ceiling(n) for n in range(8)] == [0.0, 0.5, 1.0, 2.0, 4.0, 7.0, 7.0, 7.0]
    assert ladder.ceiling(10_000) == 7.0


def test_the_first_attempt_is_at_once_and_success_makes_it_so_again() -> None:
    backoff = Backoff(Ladder(), chance=lambda: 0.5)
    assert [backoff.next_delay() for _ in range(3)] == [0.0, 0.25, 0.5]
    backoff.reset()
    assert backoff.next_delay() == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_jitter_fills_the_whole_range_under_the_ceiling(seed: int) -> None:
    backoff = Backoff(Ladder(base=0.5, cap=7.0), random.Random(seed).random)
    delays = [backoff.next_delay() for _ in range(500)][10:]
    assert 0.0 <= min(delays) < 0.5, f"seed {seed}"
    assert 6.5 < max(delays) <= 7.0, f"seed {seed}"
