"""What each trouble means for the next join: the table is total, and says what the rules say."""

from collections.abc import Callable

import pytest

from glassbridge.core.diagnosis import Hop
from glassbridge.core.recovery import DECISIONS, BridgeFault, Trouble
from glassbridge.core.values import LossReason

ALL: list[Trouble] = [*LossReason, *BridgeFault]


def test_every_trouble_has_its_decision() -> None:
    assert set(DECISIONS) == set(ALL)
    assert len({trouble.code for trouble in ALL}) == len(ALL)


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        ("doubt", {"superseded", "removed", "replaced"}),
        (
            "later",
            {
                "token_refused",
                "clock_skew",
                "limit_exceeded",
                "wrong_room",
                "server_shutdown",
                "unreachable",
                "timed_out",
                "no_bridge",
                "bridge_refused",
            },
        ),
        ("patient", {"token_refused", "clock_skew", "limit_exceeded"}),
        (
            "elsewhere",
            {"wrong_room", "media_failed", "frozen", "closed", "internal"}
            | {"bridge_timed_out", "bridge_refused", "bridge_died", "bridge_leaving"},
        ),
    ],
)
def test_decisions(where: str, chosen: set[str]) -> None:
    """Spelled out a second time, so that a change is seen."""
    is_so: dict[str, Callable[[Trouble], bool]] = {
        "doubt": lambda trouble: DECISIONS[trouble].doubt,
        "later": lambda trouble: not DECISIONS[trouble].at_once,
        "patient": lambda trouble: DECISIONS[trouble].patient,
        "elsewhere": lambda trouble: DECISIONS[trouble].elsewhere,
    }
    assert {trouble.code for trouble in ALL if is_so[where](trouble)} == chosen


def test_nobody_fights_where_somebody_else_may_be_right() -> None:
    assert all(not decision.elsewhere for decision in DECISIONS.values() if decision.doubt)


def test_faults_of_a_bridge_name_the_bridge() -> None:
    assert {DECISIONS[fault].hop for fault in BridgeFault} == {Hop.BRIDGE}
