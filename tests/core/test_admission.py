"""How many streams of a recogniser: alone, and with a share of an account that several clouds use."""

import random

from glassbridge.core.admission import Admission, Limits, Share, share_of


def begun_in_a_minute(admission: Admission) -> int:
    begun = 0
    for second in range(60):
        while admission.wait(float(second)) == 0.0:
            admission.opened()
            admission.gone()
            begun += 1
    return begun


def test_clouds_together_stay_within_the_account() -> None:
    """Whatever their sessions are; and none of them gets nothing."""
    chance = random.Random(16)
    for _ in range(200):
        loads = [chance.choice([0, 1, 5, 100, 2_000]) for _ in range(chance.randint(1, 6))]
        shares = [share_of(load, loads[:at] + loads[at + 1 :]) for at, load in enumerate(loads)]
        assert abs(sum(shares) - 1.0) < 1e-9
        limits = [
            Limits(streams=600, per_minute=600, of_account=True, share=Share(lambda share=share: share))  # type: ignore[misc]
            for share in shares
        ]
        assert all(each.shared(600) >= 1 for each in limits)
        assert sum(each.shared(600) for each in limits) <= 600 + len(limits)
        assert sum(begun_in_a_minute(Admission(each)) for each in limits) <= 600 + len(limits)


def test_a_cloud_with_more_users_has_more_of_it() -> None:
    assert share_of(99, [0]) > 0.9
    assert share_of(0, []) == 1.0


def test_a_share_that_shrinks_makes_new_streams_wait_and_ends_none() -> None:
    share = Share()
    admission = Admission(Limits(streams=10, per_minute=10, of_account=True, share=share))
    for _ in range(6):
        assert admission.wait(0.0) == 0.0
        admission.opened()
    share.now = lambda: 0.5
    assert (admission.full, admission.wait(1.0)) == (True, 59.0)
    share.now = lambda: 1.0
    assert (admission.full, admission.wait(1.0)) == (False, 0.0)


def test_what_is_no_account_is_not_shared() -> None:
    assert Limits(streams=10, share=Share(lambda: 0.1)).shared(10) == 10
