"""How many clouds spoke for a user, as the lab counts them."""

import pytest

from glassbridge.lab.cluster_checks import owners_of


@pytest.mark.parametrize(
    ("backends", "owners"),
    [("", 0), ("AAA", 1), ("AAC", 1), ("ACAC", 2), ("ACA", 2), ("ABC", 3)],
    ids=["silence", "one", "a move", "two at once", "there and back", "three"],
)
def test_one_that_follows_another_is_a_move_and_by_turns_there_are_several(backends: str, owners: int) -> None:
    assert owners_of(backends) == owners
