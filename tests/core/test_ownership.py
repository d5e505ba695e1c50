"""Who owns a user: what a claim means, and each cell of the owner's table."""

from dataclasses import replace

import pytest

from glassbridge.core.machine import missing_cells
from glassbridge.core.ownership import (
    EVENTS,
    JOINS,
    TABLE,
    Assumed,
    Claim,
    Denied,
    Effect,
    Ended,
    Epoch,
    Event,
    Granted,
    Held,
    Move,
    NodeState,
    Owner,
    Ownership,
    OwnershipState,
    Raise,
    Refused,
    Release,
    Released,
    Taken,
    decide,
    first_generation,
    resume,
)
from glassbridge.core.values import UserId

ANN = UserId("ann@example.com")
HERE, THERE = Owner("here", "1a", "127.0.0.1:1"), Owner("there", "2b", "127.0.0.1:2")
NOW = 1_790_000_000_000


def claim(owner: Owner = HERE, epoch: int = 0, phone: str = "", attempt: int = 0, session: str = "s") -> Claim:
    return Claim(ANN, owner, session, phone, attempt, Epoch(epoch))


# ---- what a claim means


def test_the_first_claim_has_the_time_for_its_epoch() -> None:
    assert decide(None, claim(), NOW) == Granted(claim(epoch=NOW), None)


@pytest.mark.parametrize(("old", "epoch"), [(NOW - 5, NOW), (NOW, NOW + 1), (NOW + 3_600_000, NOW + 3_600_001)])
def test_a_new_owner_has_a_greater_epoch_whatever_the_clock_says(old: int, epoch: int) -> None:
    kept = claim(THERE, old)
    assert decide(kept, claim(), NOW) == Granted(claim(epoch=epoch), kept)
    assert decide(Released(Epoch(old)), claim(), NOW) == Granted(claim(epoch=epoch), None)


def test_each_new_socket_gets_a_greater_epoch_also_of_the_same_owner() -> None:
    """Another owner that nobody heard of may have been in between."""
    again = claim(HERE, phone="p", attempt=2, session="t")
    assert decide(claim(HERE, 7, "p", 1), again, NOW) == Granted(replace(again, epoch=Epoch(NOW)), None)
    assert decide(claim(HERE, NOW, "p", 1), again, NOW) == Granted(replace(again, epoch=Epoch(NOW + 1)), None)


def test_a_claim_that_is_restored_keeps_its_epoch() -> None:
    mine = claim(HERE, 9, "p", 1)
    for kept in (None, claim(HERE, 7, "p", 1), mine):
        assert decide(kept, mine, NOW) == Granted(mine, None)


@pytest.mark.parametrize("owner", [HERE, THERE])
def test_a_late_attempt_of_the_same_phone_is_refused_everywhere(owner: Owner) -> None:
    kept = claim(owner, 7, "p", 3)
    assert decide(kept, claim(HERE, 0, "p", 2), NOW) == Refused(kept)
    assert isinstance(decide(kept, claim(HERE, 0, "q", 2), NOW), Granted), "another phone"
    assert isinstance(decide(kept, claim(HERE, 0, "", 2), NOW), Granted), "a phone that does not count"


@pytest.mark.parametrize(
    ("kept", "restored", "verdict"),
    [
        (None, claim(epoch=9), Granted(claim(epoch=9), None)),
        (Released(Epoch(5)), claim(epoch=9), Granted(claim(epoch=9), None)),
        (Released(Epoch(9)), claim(epoch=9), Granted(claim(epoch=NOW), None)),
        (claim(THERE, 5), claim(epoch=9), Granted(claim(epoch=9), claim(THERE, 5))),
        (claim(THERE, 9), claim(epoch=9), Refused(claim(THERE, 9))),
        (claim(THERE, 12), claim(epoch=9), Refused(claim(THERE, 12))),
        (claim(HERE, 5), claim(epoch=9), Granted(claim(epoch=9), None)),
        (claim(HERE, 12), claim(epoch=9), Granted(claim(epoch=12), None)),
        (claim(THERE, 12, "p", 1), claim(HERE, 9, "p", 2), Granted(claim(HERE, NOW, "p", 2), claim(THERE, 12, "p", 1))),
        (claim(THERE, 5, "p", 2), claim(HERE, 9, "p", 1), Refused(claim(THERE, 5, "p", 2))),
        (claim(THERE, 12, "p", 2), claim(HERE, 9, "p", 2), Refused(claim(THERE, 12, "p", 2))),
    ],
)
def test_a_restored_claim(kept: Claim | Released | None, restored: Claim, verdict: Granted | Refused) -> None:
    assert decide(kept, restored, NOW) == verdict


def test_generations_of_a_newer_owner_are_greater_and_exact_in_javascript() -> None:
    assert first_generation(Epoch(NOW + 1)) >= first_generation(Epoch(NOW)) + JOINS
    assert first_generation(Epoch(2_199_023_255_551)) < 1 << 53  # September 2039
    assert first_generation(Epoch(NOW)) > NOW, "clouds of before the directory used unix milliseconds"


def test_the_state_of_a_node() -> None:
    assert NodeState.of(9, 10, draining=False) is NodeState.SERVING
    assert NodeState.of(10, 10, draining=False) is NodeState.FULL
    assert NodeState.of(10, 10, draining=True) is NodeState.DRAINING


# ---- the owner


def in_state(state: OwnershipState) -> Ownership:
    """Of epoch 7, if it claimed anything."""
    machine = Ownership()
    way: dict[OwnershipState, list[Event]] = {
        OwnershipState.ABSENT: [],
        OwnershipState.HELD: [Held(claim(epoch=7))],
        OwnershipState.LOCAL: [Assumed(claim(epoch=7))],
        OwnershipState.MOVED: [Held(claim(epoch=7)), Taken(Epoch(8))],
        OwnershipState.RELEASED: [Held(claim(epoch=7)), Ended()],
    }
    for event in way[state]:
        machine.step(event, 0.0)
    assert machine.state is state
    machine.records.clear()
    return machine


def test_the_table_is_total() -> None:
    assert missing_cells(TABLE, OwnershipState, EVENTS) == []


_S = OwnershipState


@pytest.mark.parametrize(
    ("state", "event", "effects", "after"),
    [
        (_S.ABSENT, Held(claim(epoch=7)), [Raise(Epoch(7))], _S.HELD),
        (_S.ABSENT, Assumed(claim(epoch=7)), [Raise(Epoch(7))], _S.LOCAL),
        (_S.ABSENT, Taken(Epoch(8)), [], _S.ABSENT),
        (_S.ABSENT, Denied(Epoch(0), THERE), [], _S.ABSENT),
        (_S.ABSENT, Ended(), [], _S.RELEASED),
        (_S.HELD, Held(claim(epoch=7, attempt=2)), [], _S.HELD),
        (_S.HELD, Held(claim(epoch=9)), [Raise(Epoch(9))], _S.HELD),
        (_S.HELD, Held(claim(epoch=6)), [], _S.HELD),
        (_S.HELD, Assumed(claim(epoch=7)), [], _S.LOCAL),
        (_S.HELD, Assumed(claim(epoch=6)), [], _S.HELD),
        (_S.HELD, Taken(Epoch(7)), [], _S.HELD),
        (_S.HELD, Taken(Epoch(8)), [Move()], _S.MOVED),
        (_S.HELD, Denied(Epoch(6), THERE), [], _S.HELD),
        (_S.HELD, Denied(Epoch(7), HERE), [], _S.HELD),
        (_S.HELD, Denied(Epoch(7), THERE), [Move()], _S.MOVED),
        (_S.HELD, Ended(), [Release(claim(epoch=7))], _S.RELEASED),
        (_S.LOCAL, Held(claim(epoch=7)), [], _S.HELD),
        (_S.LOCAL, Held(claim(epoch=6)), [], _S.LOCAL),
        (_S.LOCAL, Assumed(claim(epoch=7)), [], _S.LOCAL),
        (_S.LOCAL, Taken(Epoch(8)), [Move()], _S.MOVED),
        (_S.LOCAL, Denied(Epoch(7), HERE), [], _S.LOCAL),
        (_S.LOCAL, Denied(Epoch(7), THERE), [Move()], _S.MOVED),
        (_S.LOCAL, Ended(), [Release(claim(epoch=7))], _S.RELEASED),
        *((state, event, [], state) for state in (_S.MOVED, _S.RELEASED)
          for event in (Held(claim(epoch=9)), Assumed(claim(epoch=9)), Taken(Epoch(9)),
                        Denied(Epoch(7), THERE), Ended())),
    ],
)  # fmt: skip
def test_a_step(state: OwnershipState, event: Event, effects: list[Effect], after: OwnershipState) -> None:
    machine = in_state(state)
    assert machine.step(event, 1.0) == effects
    assert machine.state is after
    assert [(r.old, r.new) for r in machine.records] == ([(state, after)] if state is not after else [])


@pytest.mark.parametrize(
    ("event", "kept"),
    [
        (Held(claim(epoch=6, phone="p", attempt=3)), claim(epoch=7, phone="p", attempt=3)),
        (Held(claim(epoch=7, phone="p", attempt=1)), claim(epoch=7, phone="p", attempt=2)),
        (Held(claim(epoch=9, phone="p", attempt=1)), claim(epoch=9, phone="p", attempt=2)),
        (Held(claim(epoch=7, phone="q", attempt=1)), claim(epoch=7, phone="q", attempt=1)),
    ],
)
def test_answers_in_any_order_leave_the_newest_attempt_and_the_greatest_epoch(event: Event, kept: Claim) -> None:
    machine = Ownership()
    machine.step(Held(claim(epoch=7, phone="p", attempt=2)), 0.0)
    machine.step(event, 1.0)
    assert machine.claim == kept


@pytest.mark.parametrize(
    ("former", "granted", "epoch", "lost"),
    [
        (None, 5, 7, False),
        (None, 9, 9, False),
        (claim(THERE, 4, "p", 1), 5, 7, False),
        (claim(THERE, 8, "p", 3), 9, 9, True),
        (claim(THERE, 4, "p", 3), 5, 8, True),
        (claim(THERE, 8, "q", 1), 9, 9, True),
        (claim(THERE, 4, "q", 1), 5, 7, False),
    ],
)
def test_a_directory_that_forgot_lowers_no_epoch(former: Claim | None, granted: int, epoch: int, lost: bool) -> None:
    mine, wanted = claim(HERE, 7, "p", 2), claim(HERE, granted, "p", 4)
    assert resume(mine, None, Granted(wanted, former)) == (replace(wanted, epoch=Epoch(epoch)), lost)
    assert resume(None, None, Granted(wanted, former)) == (wanted, False)
    beyond = replace(wanted, epoch=Epoch(11))
    assert resume(None, claim(THERE, 10, "p", 3), Granted(wanted, former)) == (beyond, False)
