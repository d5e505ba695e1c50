"""Two phones of the original with one account: is the older one closed when the newer one comes, or kept unheard?

Rules
- A superseded phone is closed, unless two phones are taking the user from each other: TURNS times in a row, a newer
  socket came between SOONEST and LATEST seconds after the one before. The original's phone comes back 5 s after any
  close, whatever its code, so each close brings the next one, for ever.
- From then on, for as long as the session lasts, a superseded phone is kept open and is not heard. The original's cloud
  does the same: it swaps the socket of a session and never closes the older one.
- At most KEPT sockets of a user are kept so; one more is closed.

It does not know what a phone understands: phones of ours stay away after being superseded, and are closed always.
"""

from math import inf
from typing import Final

TURNS: Final = 3
SOONEST, LATEST = 1.0, 20.0
"""Seconds. Sooner: one phone that opens several sockets at once; later: a person who changes phones."""
KEPT: Final = 3


class Rivals:
    """Of one session."""

    __slots__ = ("_turned_at", "_turns")

    def __init__(self) -> None:
        self._turned_at = -inf
        self._turns = 0

    def keeps(self, kept: int, now: float) -> bool:
        """Whether the phone that is superseded now stays open; `kept` others do already. `now` is monotonic seconds."""
        gap, self._turned_at = now - self._turned_at, now
        if self._turns < TURNS:
            self._turns = self._turns + 1 if SOONEST <= gap <= LATEST else 0
        return self._turns >= TURNS and kept < KEPT
