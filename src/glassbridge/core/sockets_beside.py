"""How many sockets carry a phone's audio beside its first, where no room carries any (phone/beside.py).

TCP holds back what comes after a lost segment until that has come again, more than a round trip later. On a long way
(core/sending.LONG) each socket holds audio back for a share of the time that grows with loss and round trip; late in
the end is what all of them hold back: the product of their shares. On a short way what is lost is heard in time, unless
it is lost again and again: TCP waits longer each time.

Pure functions. Times are seconds.
"""

from typing import Final

MOST: Final = 3
"""Sockets beside the first, at most: on all of them coded audio takes less than half of what PCM takes on one."""
OVER: Final = 10.0
"""Seconds over which repetitions are counted."""
HELD: Final = (0.5, 2.0)
"""Seconds for which a long way held audio back in OVER, from which on one more socket carries it."""
REPEATED: Final = (20, 40)
"""Segments that were sent again in OVER on a short way, from which on one more socket carries it. At 20 % loss
10 of 26 phones that spoke for 20 s by two sockets were live for less than 97 % of it; by four 4 of 18, at least two of
them for what they said first."""
LAG: Final = 0.075
"""By how much each socket sends later than the one before it, so that TCP repeats on each at other moments: half of a
timeout at a short round trip."""
LONG_LAG: Final = 0.12
"""The same on a long way: longer than a frame, so that frames go together. Of fewer segments fewer are lost."""


def carrying(repeated: int, trip: float, *, is_long: bool) -> int:
    """How many carry all audio where a loss is worth another socket at all. `repeated`: segments that all sockets sent
    again in OVER; `trip`: a round trip."""
    if is_long:
        return 1 + sum(repeated * trip >= least for least in HELD)
    return 1 + sum(repeated >= least for least in REPEATED)


def opened(carry: int, *, is_long: bool, is_new: bool) -> int:
    """How many are open where so many carry: on a long way one more, since to open it takes several round trips; but
    none that the probe of a new link would have to share it with."""
    return min(MOST, carry + 1) if carry and is_long and not is_new else carry


def lag(place: int, *, is_long: bool) -> float:
    """How long audio waits for the socket at this place beside the first, from 0 on."""
    return (LONG_LAG if is_long else LAG) * (1 + place)
