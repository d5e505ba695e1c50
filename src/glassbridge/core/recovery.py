"""What is done about each way of losing a place, or of not getting one: the one table.

What holds for all of them, and so is no column
- Every join has a fresh token and a generation of its own: nothing is retried with what may be dead.
- While the phone's socket is here the place is joined again, for ever. While it is away the place is released quietly:
  whoever holds the phone's socket owns the user. Where somebody took the place from us, the socket is asked first
  (`doubt`): a half-open one would have us fight the phone's new backend.
- A failed attempt always waits for the ladder (core/backoff.py); a lost place may be joined again at once the first
  time.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from glassbridge.core.diagnosis import Hop
from glassbridge.core.values import LossReason


class BridgeFault(Enum):
    """What can be wrong with a bridge, before or beside its place in a room (that is LossReason)."""

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
    """What one trouble means for the next join."""

    hop: Hop
    """What the phone is told is dead."""
    at_once: bool = True
    """The first join after a loss goes at once; False: what would fail at once waits for the first rung."""
    elsewhere: bool = False
    """Another bridge is preferred, where there is one."""
    patient: bool = False
    """Somebody has to put it right first: the waits grow to a minute."""
    stays: bool = False
    """The place is still good: it is kept until the next one stands."""
    doubt: bool = False
    """Somebody else may be right: the phone must answer on its socket before we join again."""


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
