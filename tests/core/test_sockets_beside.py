"""How many sockets carry audio beside the first."""

import pytest

from glassbridge.core.sending import LONG, Sending
from glassbridge.core.sockets_beside import MOST, OVER, carrying, lag, opened


@pytest.mark.parametrize(
    ("repeated", "trip", "count"),
    [
        (0, 0.8, 1),  # a long way that loses nothing
        (1, 0.4, 1),  # 1 % at 0.4 s
        (2, 0.4, 2),
        (1, 0.6, 2),
        (3, 0.6, 2),
        (4, 0.6, 3),
        (3, 0.8, 3),  # 5 % at 0.8 s: after three seconds
        (100, 0.8, 3),
        (10, 0.05, 1),  # 5 % at 50 ms: what is lost has come again in time
        (19, 0.3, 1),
        (20, 0.05, 2),
        (40, 0.05, 3),  # 20 % at 50 ms: some is lost again and again
    ],
)
def test_loss_and_round_trip_decide(repeated: int, trip: float, count: int) -> None:
    assert carrying(repeated, trip, is_long=trip >= LONG) == count


@pytest.mark.parametrize(
    ("carry", "is_long", "is_new", "count"),
    [(0, True, False, 0), (1, False, False, 1), (1, True, True, 1), (1, True, False, 2), (MOST, True, False, MOST)],
)
def test_on_a_long_way_one_more_is_open_once_the_link_is_probed(
    carry: int, is_long: bool, is_new: bool, count: int
) -> None:
    assert opened(carry, is_long=is_long, is_new=is_new) == count


def test_each_sends_at_other_moments_and_on_a_long_way_frames_of_a_tenth_go_together() -> None:
    assert [lag(place, is_long=False) for place in range(MOST)] == [
        pytest.approx(0.075 * (1 + at)) for at in range(MOST)
    ]
    assert [lag(place, is_long=True) // 0.1 for place in range(MOST)] == [1, 2, 3]


def test_a_sender_counts_what_was_sent_again_lately() -> None:
    sending = Sending()
    sending.begin(reports=True, now=0.0, trip=0.8)
    sending.judge(0.0, queued=0.0)
    sending.probed(None, 0.0)
    assert sending.carrying_beside(0.0) == 1, "on a long way one does, whatever is known"
    sending.repeated(1, 1.0)
    assert sending.carrying_beside(1.0) == 2
    sending.repeated(2, 2.0)
    assert sending.carrying_beside(2.0) == 3
    assert sending.carrying_beside(1.5 + OVER) == 2, "the first is forgotten"
    sending.judge(3.0, queued=0.3)
    assert sending.carrying_beside(3.0) == 0, "its packets wait in a queue"


def test_a_narrow_link_gets_none() -> None:
    sending = Sending()
    sending.begin(reports=True, now=0.0, trip=0.8)
    sending.judge(0.0, queued=0.0)
    sending.probed(60_000, 0.0)
    sending.repeated(9, 1.0)
    assert sending.carrying_beside(1.0) == 0
