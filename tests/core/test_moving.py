"""How many users a cloud sends to others."""

import pytest

from glassbridge.core.moving import PACE, PART, SLACK, SLACK_PART, CloudStage, pace, surplus


@pytest.mark.parametrize(
    ("mine", "others", "most", "sent"),
    [
        (100, [], 10, 0),  # nobody else serves
        (0, [0, 0], 10, 0),
        (100, [100, 100], 10, 0),
        (100, [95, 90], 10, 0),  # within the slack
        (100, [0], 10, 2),  # a node that has just come: two of a hundred at a time
        (1_000, [0], 10, 10),  # as much as the setting says
        (1_000, [0], 0, 0),  # nobody is moved
        (30, [0, 0], 10, 1),  # at least one
        (16, [0, 0], 10, 1),
        (15, [6, 6], 10, 1),
        (14, [6, 6], 10, 0),  # few are not worth a move
        (0, [100], 10, 0),  # those who lack users send none
    ],
)
def test_a_cloud_sends_away_what_is_beyond_its_share(mine: int, others: list[int], most: int, sent: int) -> None:
    assert surplus(mine, others, most) == sent


@pytest.mark.parametrize("others", [[0], [0, 200], [200, 200, 0, 0], [1] * 9])
def test_rounds_end_near_the_share_and_never_go_back(others: list[int]) -> None:
    """All decide at once, by what they knew a round ago, and the balancer brings users to the least loaded."""
    loads = [200, *others]
    share = sum(loads) / len(loads)
    rounds = 0
    while True:
        sent = [surplus(mine, loads[:at] + loads[at + 1 :], 5) for at, mine in enumerate(loads)]
        if not any(sent):
            break
        rounds += 1
        assert rounds < 200
        loads = [mine - gone for mine, gone in zip(loads, sent, strict=True)]
        for _ in range(sum(sent)):
            loads[loads.index(min(loads))] += 1
    assert max(loads) - share <= max(SLACK, share * SLACK_PART) + 1


def test_a_round_moves_a_small_part() -> None:
    for mine in (50, 100, 1_000, 10_000):
        assert surplus(mine, [0], 1_000) <= max(1, mine * PART)


def test_users_of_a_cloud_that_stops_go_one_after_the_other_within_its_time() -> None:
    assert pace(0, 3.0) == pace(10, 3.0) == PACE
    assert 1_000 * pace(1_000, 3.0) == pytest.approx(1.5)


def test_a_cloud_that_leaves_takes_whom_the_balancer_brings() -> None:
    assert [(stage.ready, stage.takes) for stage in CloudStage] == [(True, True), (False, True), (False, False)]
