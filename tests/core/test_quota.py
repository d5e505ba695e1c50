"""So many at once, then at an even pace, for each key on its own."""

from glassbridge.core.quota import Quota


def test_a_burst_and_then_an_even_pace() -> None:
    quota = Quota(burst=2, per_minute=6)
    assert [quota.take("a", 0.0) for _ in range(3)] == [True, True, False]
    assert quota.wait("a", 0.0) == 10.0
    assert quota.take("a", 9.9) is False
    assert quota.take("a", 20.0) is True


def test_keys_are_apart_and_asking_takes_nothing() -> None:
    quota = Quota(burst=1, per_minute=1)
    assert quota.take("a", 0.0)
    assert quota.wait("b", 0.0) == quota.wait("b", 0.0) == 0.0
    assert quota.take("b", 0.0)


def test_the_table_is_bounded_and_forgets_the_key_that_was_used_longest_ago() -> None:
    quota = Quota(burst=1, per_minute=1, max_keys=2)
    for key in ("a", "b", "a", "c"):
        quota.take(key, 0.0)
    assert quota.wait("a", 0.0) > 0
    assert quota.wait("b", 0.0) == 0.0
    assert len(quota._buckets) == 2
