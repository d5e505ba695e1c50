"""Which bridges a cloud uses: those that it was told of when it started, and those that the directory lists.

Rules
- What the cloud was told of stays. What the directory lists comes at once.
- What is listed no more stays while it answers, or while a place of ours is there: the directory may have forgotten
  it, or it alone may be cut off from the directory. It goes once neither is so.
- A directory that is away lists nothing: what it listed last counts on.
- A new room goes to a bridge that answers. One that is full, is listed no more or is about to stop is asked only where
  no better one answers; where none answers, all are asked, for news of a bridge can be old.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from glassbridge.core.ownership import NodeState

MOST: Final = 1_000
"""Bridges that are listed; more are left out."""
LATER: Final[Mapping[NodeState | None, int]] = {
    NodeState.SERVING: 0,
    None: 1,
    NodeState.FULL: 2,
    NodeState.DRAINING: 3,
}
"""How late a bridge is asked for a new room, by how it is listed."""


@dataclass(slots=True)
class Standing:
    """What is known of one bridge beside its address."""

    told: bool
    """The cloud was told of it when it started."""
    listed: NodeState | None = None
    """As the directory last said; None: it lists none at this address."""
    answers: bool = False
    """As of the last answer or failure."""
    places: int = 0
    """Of ours, attempts included."""

    @property
    def stays(self) -> bool:
        """Whether it belongs to the list."""
        return self.told or self.listed is not None or self.answers or self.places > 0

    @property
    def lateness(self) -> int:
        """Bridges with a smaller one are asked first for a new room."""
        if not self.answers:
            return len(LATER)
        return 0 if self.told and self.listed is None else LATER[self.listed]
