"""When a cloud takes users, and how many it sends to other clouds: because it stops, or has more than its share.

Rules
- A cloud that stops reports at once that it is not ready, but goes on as before until the balancer must have noticed.
  Then it takes no user, and sends its users to the others one after the other, within the given time, PACE apart at
  most.
- A cloud that has more users than its share, by more than SLACK and SLACK_PART of it, sends some to the others each
  round: at most PART of its users, and not more than a setting says. Its share is the average of all clouds. Several
  clouds may do so at once, each for a part of the same free room: so it stops short of its share.
- No user is sent away twice within REST seconds: a balancer that does not know the loads may bring a phone back.
- If no other cloud serves, no user is sent away to even out the load.

It does not know sessions, sockets or the directory, nor the time.
"""

from collections.abc import Collection
from enum import Enum
from math import ceil, floor
from typing import Final

PACE: Final = 0.1
"""Seconds between two users that are sent to other clouds. Each costs the one that takes it 10 to 20 ms of processor
time, with an app, a bridge and its first second of speech, whether that cloud has just started or not; and the one that
it leaves 3 to 11 ms (30 users, moved eight times at each pace). So 0.1 s apart they need 0.1 to 0.2 of a core where one
cloud takes all, beside those that it has; 0.02 s apart 0.5 to all of it."""
PART_FOR_PACE: Final = 0.5
"""The part of the time for all users in which the last one is sent."""
SLACK: Final = 5
"""Users beyond the share that are not worth a move,"""
SLACK_PART: Final = 0.1
"""and the part of the share."""
PART: Final = 0.02
"""The part of its users that a cloud sends away in a round, at least one user."""
REST: Final = 30.0
"""Seconds for which a user stays before it is sent away for the sake of others."""


class CloudStage(Enum):
    """Of a cloud's life. `ready`: new phones are welcome; `takes`: those that come are taken."""

    SERVING = ("serving", True, True)
    LEAVING = ("leaving", False, True)
    DRAINING = ("draining", False, False)

    def __init__(self, label: str, ready: bool, takes: bool) -> None:
        self.label = label
        self.ready = ready
        self.takes = takes


def pace(users: int, within: float) -> float:
    """Seconds between two of so many users that are sent away because the cloud stops."""
    return min(PACE, within * PART_FOR_PACE / max(1, users))


def surplus(mine: int, others: Collection[int], most: int) -> int:
    """Users that a cloud with `mine` sends away in this round; `others` have so many, `most` is a setting."""
    if not others:
        return 0
    share = ceil((mine + sum(others)) / (1 + len(others)))
    beyond = mine - share - max(SLACK, floor(share * SLACK_PART))
    return max(0, min(beyond, most, max(1, floor(mine * PART))))
