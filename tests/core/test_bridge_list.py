"""Which bridges a cloud uses, as tables."""

import pytest

from glassbridge.core.bridge_list import Standing
from glassbridge.core.ownership import NodeState

SERVING, FULL, DRAINING = NodeState.SERVING, NodeState.FULL, NodeState.DRAINING


@pytest.mark.parametrize(
    ("told", "listed", "answers", "places", "stays"),
    [
        (True, None, False, 0, True),
        (False, SERVING, False, 0, True),
        (False, DRAINING, False, 0, True),
        (False, None, True, 0, True),  # the directory may have forgotten it
        (False, None, False, 1, True),  # of our users
        (False, None, False, 0, False),
    ],
)
def test_what_is_neither_told_nor_listed_goes_once_it_is_dead(
    told: bool, listed: NodeState | None, answers: bool, places: int, stays: bool
) -> None:
    assert Standing(told, listed, answers, places).stays is stays


def test_a_new_room_goes_to_the_best_bridge_that_answers() -> None:
    from_best_to_worst = [
        [Standing(False, SERVING, True), Standing(True, None, True), Standing(True, SERVING, True)],
        [Standing(False, None, True)],
        [Standing(False, FULL, True), Standing(True, FULL, True)],
        [Standing(False, DRAINING, True)],
        [Standing(False, SERVING, False), Standing(True, None, False)],
    ]
    found = [{standing.lateness for standing in group} for group in from_best_to_worst]
    assert all(len(group) == 1 for group in found)
    assert sorted(found, key=min) == found
    assert len(set.union(*found)) == len(found)
