"""The lease of a node: each cell of its table, and its seconds in virtual time."""

import pytest

from glassbridge.core.lease import (
    EVENTS,
    LEASE,
    RENEW_EVERY,
    RENEW_TIME,
    TABLE,
    TRUSTED,
    ClaimFailed,
    Drop,
    Effect,
    Event,
    Lease,
    LeaseState,
    NotRenewed,
    Reconcile,
    Renew,
    Renewed,
    Tick,
    Withdraw,
)
from glassbridge.core.machine import missing_cells

ONE = "server-1"


def in_state(state: LeaseState) -> Lease:
    """A lease whose renewal 1 was asked at second 0, and which came to `state` by it."""
    lease = Lease(0.0)
    lease.step(Tick(), 0.0)
    way: dict[LeaseState, list[tuple[Event, float]]] = {
        LeaseState.ABSENT: [],
        LeaseState.HELD: [(Renewed(1, ONE), 0.1)],
        LeaseState.DOUBTFUL: [(Renewed(1, ONE), 0.1), (Tick(), 1.0), (NotRenewed(2), 1.8)],
        LeaseState.AWAY: [(Renewed(1, ONE), 0.1), (Tick(), 1.0), (NotRenewed(2), 1.8), (Tick(), 4.0)],
        LeaseState.WITHDRAWN: [(Withdraw(), 0.1)],
    }
    for event, at in way[state]:
        lease.step(event, at)
    assert lease.state is state
    lease.records.clear()
    return lease


def test_the_table_is_total() -> None:
    assert missing_cells(TABLE, LeaseState, EVENTS) == []


@pytest.mark.parametrize(
    ("state", "event", "now", "effects", "after"),
    [
        (LeaseState.ABSENT, Renewed(1, ONE), 0.1, [Reconcile()], LeaseState.HELD),
        (LeaseState.ABSENT, Renewed(1, ONE), TRUSTED, [Renew(2)], LeaseState.ABSENT),
        (LeaseState.ABSENT, NotRenewed(1), 0.8, [], LeaseState.ABSENT),
        (LeaseState.ABSENT, Tick(), 1.0, [Renew(2)], LeaseState.ABSENT),
        (LeaseState.ABSENT, Tick(), TRUSTED, [Renew(2)], LeaseState.AWAY),
        (LeaseState.HELD, Tick(), 0.9, [], LeaseState.HELD),
        (LeaseState.HELD, Tick(), 1.0, [Renew(2)], LeaseState.HELD),
        (LeaseState.HELD, Tick(), TRUSTED, [Renew(2)], LeaseState.AWAY),
        (LeaseState.HELD, NotRenewed(1), 0.8, [], LeaseState.DOUBTFUL),
        (LeaseState.HELD, NotRenewed(0), 0.8, [], LeaseState.HELD),
        (LeaseState.HELD, ClaimFailed(), 0.5, [Renew(2)], LeaseState.DOUBTFUL),
        (LeaseState.HELD, Withdraw(), 0.5, [Drop()], LeaseState.WITHDRAWN),
        (LeaseState.HELD, Renewed(1, ONE), 0.2, [], LeaseState.HELD),
        (LeaseState.HELD, Renewed(1, "server-2"), 0.2, [Reconcile()], LeaseState.HELD),
        (LeaseState.HELD, Renewed(7, ONE), 0.2, [], LeaseState.HELD),
        (LeaseState.DOUBTFUL, Renewed(2, ONE), 1.9, [Reconcile()], LeaseState.HELD),
        (LeaseState.DOUBTFUL, Renewed(1, ONE), 1.9, [], LeaseState.DOUBTFUL),
        (LeaseState.DOUBTFUL, ClaimFailed(), 1.9, [], LeaseState.DOUBTFUL),
        (LeaseState.DOUBTFUL, Tick(), 2.0, [Renew(3)], LeaseState.DOUBTFUL),
        (LeaseState.DOUBTFUL, Tick(), TRUSTED, [Renew(3)], LeaseState.AWAY),
        (LeaseState.AWAY, Tick(), 4.5, [], LeaseState.AWAY),
        (LeaseState.AWAY, Tick(), 5.0, [Renew(4)], LeaseState.AWAY),
        (LeaseState.AWAY, Renewed(3, ONE), 4.5, [Reconcile()], LeaseState.HELD),
        (LeaseState.AWAY, Renewed(2, ONE), 4.5, [], LeaseState.AWAY),
        (LeaseState.AWAY, Withdraw(), 4.5, [Drop()], LeaseState.WITHDRAWN),
        (LeaseState.WITHDRAWN, Renewed(1, ONE), 0.2, [], LeaseState.WITHDRAWN),
        (LeaseState.WITHDRAWN, Tick(), 9.0, [], LeaseState.WITHDRAWN),
    ],
)
def test_a_step(state: LeaseState, event: Event, now: float, effects: list[Effect], after: LeaseState) -> None:
    lease = in_state(state)
    assert lease.step(event, now) == effects
    assert lease.state is after
    assert [(r.old, r.new, r.at) for r in lease.records] == ([(state, after, now)] if state is not after else [])


def test_an_owner_stops_before_others_take_it_for_dead() -> None:
    """Also when each renewal takes all its time, and none is answered."""
    assert TRUSTED + RENEW_EVERY + RENEW_TIME > LEASE > TRUSTED + RENEW_EVERY
    lease = in_state(LeaseState.HELD)
    assert lease.is_trusted(TRUSTED - 0.01)
    assert not lease.is_trusted(TRUSTED), "trusted without a tick: this process stalled"


def test_a_process_that_stood_still_reconciles_although_its_last_answer_was_good() -> None:
    lease = in_state(LeaseState.HELD)
    lease.step(Tick(), 1.0)  # renewal 2 is answered while the process stands still
    assert lease.step(Renewed(2, ONE), 21.0) == [Renew(3)], "an answer of 20 s ago was believed"
    assert lease.step(Renewed(3, ONE), 21.1) == [Reconcile()]


def test_claims_that_always_fail_do_not_hurry_it_more_than_once_a_second() -> None:
    """A directory may answer each renewal, and refuse a claim each time: all claims were restored without a pause."""
    lease, renewed, now = Lease(0.0), 0, 0.0
    lease.step(Tick(), now)
    while now < 10.0:
        number = lease._number
        assert lease.step(Renewed(number, ONE), now) == [Reconcile()]
        lease.step(ClaimFailed(), now + 0.001)
        renewed += 1
        if lease._number == number:
            now = lease.next_deadline() or 0.0
            lease.step(Tick(), now)
        else:
            now += 0.002
    assert renewed <= 2 * 10


def test_it_renews_each_second_whatever_is_answered() -> None:
    lease, asked = Lease(0.0), []
    for tenth in range(100):
        now = tenth / 10
        due = lease.next_deadline()
        if due is not None and now >= due:
            asked += [now for effect in lease.step(Tick(), now) if isinstance(effect, Renew)]
    assert asked == [float(second) for second in range(10)]
    assert lease.state is LeaseState.AWAY
