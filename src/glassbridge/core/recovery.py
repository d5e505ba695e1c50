"""How a bridge rejoins a room: one table row for each reason for which it lost its place, or did not get one.

Rules for all rows, so that they need no column
- Every join has a fresh token and a generation of its own: nothing that may be dead is used again.
- While the phone's socket is here, the bridge rejoins without end. While the phone is away, a lost place is let go: the
  backend that holds the phone's socket owns the user. If another participant took the place, the phone is asked on its
  socket first (`doubt`): with a half-open socket the cloud would fight the phone's new backend.
- A failed attempt always waits for the ladder (core/backoff.py); the first rejoin after a loss may go at once.

core/audio_link.py applies it.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from glassbridge.core.diagnosis import Hop
from glassbridge.core.values import LossReason


class BridgeFault(Enum):
    """Faults of a bridge before it has a place, or beside it; faults of the place are LossReason."""

    NONE_ANSWERS = ("no_bridge", "no bridge can be reached")
    TIMED_OUT = ("bridge_timed_out", "the bridge did not answer in time")
    REFUSED = ("bridge_refused", "the bridge could not join the room")
    DIED = ("bridge_died", "the bridge is gone")
    LEAVING = ("bridge_leaving", "the bridge is about to stop")

    def __init__(self, code: str, text: str) -> None:
        self.code = code
        self.text = text


Trouble = LossReason | BridgeFault


@dataclass(frozen=True, slots=True)
class Decision:
    """How the next join goes after one trouble."""

    hop: Hop
    """The dead hop, as the phone is told."""
    at_once: bool = True
    """The first join after a loss goes at once; False: it would fail at once, and waits for the first rung."""
    elsewhere: bool = False
    """Another bridge is preferred, if there is one."""
    patient: bool = False
    """An operator has to correct it first: the waits grow to a minute."""
    stays: bool = False
    """The place still works: it is kept until the next join has succeeded."""
    silent: bool = False
    """The place is only silent: it is kept, too. If something is heard there before the next join has succeeded, it
    stays, and that join is given up."""
    doubt: bool = False
    """Another backend may own the user: the phone must answer on its socket before the rejoin."""


DECISIONS: Final[dict[Trouble, Decision]] = {
    LossReason.SUPERSEDED: Decision(Hop.BRIDGE, doubt=True),
    LossReason.REMOVED: Decision(Hop.BRIDGE, doubt=True),
    LossReason.ROOM_DELETED: Decision(Hop.LIVEKIT),
    LossReason.TOKEN_EXPIRED: Decision(Hop.BRIDGE),
    LossReason.TOKEN_REFUSED: Decision(Hop.LIVEKIT, at_once=False, patient=True),
    LossReason.LIMIT_EXCEEDED: Decision(Hop.LIVEKIT, at_once=False, patient=True),
    LossReason.CLOCK_SKEW: Decision(Hop.LIVEKIT, at_once=False, patient=True),
    LossReason.WRONG_ROOM: Decision(Hop.BRIDGE, at_once=False, elsewhere=True),
    LossReason.SERVER_SHUTDOWN: Decision(Hop.LIVEKIT, at_once=False),
    LossReason.NETWORK: Decision(Hop.LIVEKIT),
    LossReason.UNREACHABLE: Decision(Hop.LIVEKIT, at_once=False),
    LossReason.MEDIA_FAILED: Decision(Hop.LIVEKIT, elsewhere=True),
    LossReason.FROZEN: Decision(Hop.BRIDGE, elsewhere=True),
    LossReason.CLOSED: Decision(Hop.BRIDGE, elsewhere=True),
    LossReason.REPLACED: Decision(Hop.BRIDGE, doubt=True),
    LossReason.STREAM_BROKEN: Decision(Hop.STREAM),
    LossReason.TIMED_OUT: Decision(Hop.LIVEKIT, at_once=False),
    LossReason.INTERNAL: Decision(Hop.BRIDGE, elsewhere=True),
    BridgeFault.NONE_ANSWERS: Decision(Hop.BRIDGE, at_once=False),
    BridgeFault.TIMED_OUT: Decision(Hop.BRIDGE, elsewhere=True),
    BridgeFault.REFUSED: Decision(Hop.BRIDGE, at_once=False, elsewhere=True),
    BridgeFault.DIED: Decision(Hop.BRIDGE, elsewhere=True),
    BridgeFault.LEAVING: Decision(Hop.BRIDGE, elsewhere=True, stays=True),
}
