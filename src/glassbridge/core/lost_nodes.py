"""Clouds that the directory no longer knows, although they have not said goodbye: they may go on, cut off from it.

Rules
- A cloud that is missing, and was not draining when it was last seen, is lost for KEPT seconds.
- It is lost no longer when it is back, or when another run of a program has its address.
"""

from collections.abc import Mapping
from typing import Final

from glassbridge.core.ownership import Owner

KEPT: Final = 300.0
MOST: Final = 64


class LostNodes:
    """Of one cloud. `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._seen: Mapping[Owner, bool] = {}
        self._lost: dict[Owner, float] = {}
        """Until when each is remembered, the oldest first."""

    def see(self, nodes: Mapping[Owner, bool], now: float) -> None:
        """All that the directory knows now; whether each is draining."""
        for owner, draining in self._seen.items():
            if owner not in nodes and not draining:
                self._lost[owner] = now + KEPT
        addresses = {owner.address for owner in nodes}
        self._lost = {
            owner: until for owner, until in self._lost.items() if until > now and owner.address not in addresses
        }
        while len(self._lost) > MOST:
            del self._lost[next(iter(self._lost))]
        self._seen = dict(nodes)

    def lost(self, now: float) -> list[Owner]:
        """The one that was lost last comes last."""
        return [owner for owner, until in self._lost.items() if until > now]
