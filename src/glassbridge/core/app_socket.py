"""How an app's SDK goes on after the end of a socket to its cloud.

Rules
- A complaint before the end says more than the close code. A cloud that does not expect the app asks when it does; one
  that knows another key, or no such app, never lets it in.
- 1008 without a complaint is no refusal: the cloud stops, or the user is elsewhere, and the app lives on.
- While a cloud is asking for the app, a cloud that does not expect it is another one behind the same address: the next
  try may reach the right one.
"""

from enum import Enum, auto
from typing import Final


class SocketEnd(Enum):
    """How a socket ended."""

    LEFT = auto()
    """By the app, for another cloud."""
    GOODBYE = auto()
    REFUSED = auto()
    """1008."""
    RESTARTING = auto()
    """The cloud will be back soon."""
    BROKEN = auto()


class CloudComplaint(Enum):
    """What the cloud has said before."""

    NONE = auto()
    NOT_EXPECTED = auto()
    HOPELESS = auto()
    OTHER = auto()


class Next(Enum):
    """When the next socket is opened."""

    LOOK_ON = auto()
    """At once."""
    SOON = auto()
    """At once, with jitter."""
    LADDER = auto()
    """After growing gaps."""
    ASKED = auto()
    """When a cloud asks."""
    NEVER = auto()


_E, _C, _N = SocketEnd, CloudComplaint, Next
_ROWS: Final[dict[SocketEnd, tuple[Next, ...]]] = {
    #                NONE       NOT_EXPECTED HOPELESS   OTHER
    _E.LEFT:       (_N.LADDER, _N.LADDER,   _N.LADDER, _N.LADDER),
    _E.GOODBYE:    (_N.NEVER,  _N.ASKED,    _N.NEVER,  _N.NEVER),
    _E.REFUSED:    (_N.SOON,   _N.ASKED,    _N.NEVER,  _N.NEVER),
    _E.RESTARTING: (_N.SOON,   _N.ASKED,    _N.NEVER,  _N.SOON),
    _E.BROKEN:     (_N.LADDER, _N.ASKED,    _N.NEVER,  _N.LADDER),
}  # fmt: skip
TABLE: Final = {
    (ended, complaint): after
    for ended, row in _ROWS.items()
    for complaint, after in zip(CloudComplaint, row, strict=True)
}


def next_socket(ended: SocketEnd, complaint: CloudComplaint, *, asked: bool) -> Next:
    """`asked`: a cloud is asking for the app, and none has let it in since."""
    if asked and (ended is SocketEnd.LEFT or complaint is CloudComplaint.NOT_EXPECTED):
        return Next.LOOK_ON
    return TABLE[ended, complaint]
