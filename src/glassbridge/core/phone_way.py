"""By which route does a phone of the original send its audio, and how does the cloud bring it to the other route?
(Our own phones choose by core/audio_routes.py.)

Rules
- Such a phone sends data packets into its room while that is connected, else frames on its socket. It understands no
  `audio_state`. It changes its route only when it loses its room, or when it is greeted: then it joins anew.
- So if audio is welcome on the socket only, and the phone was heard in the room, it is taken out of the room. It stays
  there if another backend may own the user: that room may be another cloud's by now.
- When the room is welcome again, the phone is greeted, every GREET_EVERY seconds at most: a phone that joins anew is
  not heard for a moment. Until then its socket serves.

It does not know rooms, sockets or clocks; time is an argument, monotonic seconds.
"""

from enum import Enum
from math import inf
from typing import Final

from glassbridge.core.diagnosis import Hop
from glassbridge.core.link_events import AudioRoute, Notice
from glassbridge.core.values import AudioState, LossReason

GREET_EVERY: Final = 30.0
IN_DOUBT: Final = frozenset(
    reason.code for reason in (LossReason.SUPERSEDED, LossReason.REMOVED, LossReason.REPLACED, LossReason.ROOM_DELETED)
)
"""Codes of a notice after which another backend may own the user."""


class Nudge(Enum):
    """How the phone is made to change its route."""

    TAKE_OUT = "take_out"
    """Of its room."""
    GREET = "greet"


class PhoneWay:
    """Of one session."""

    __slots__ = ("_greeted_at", "_in_room", "_notice", "_taken_out", "due")

    def __init__(self) -> None:
        self._in_room = False
        """The newest audio came by data packets without numbers."""
        self._taken_out = False
        self._notice = Notice(AudioState.CONNECTING)
        self._greeted_at = -inf
        self.due: float | None = None
        """When tick() is wanted."""

    def reached(self) -> None:
        """The phone has a new socket, and was greeted on it."""
        self._in_room = self._taken_out = False
        self.due = None

    def heard(self, route: AudioRoute, *, track: bool) -> None:
        """Audio without numbers came by this route."""
        self._in_room = route is AudioRoute.ROOM and not track

    def told(self, notice: Notice, now: float) -> Nudge | None:
        """The state of the phone's audio has changed."""
        self._notice = notice
        if notice.route is AudioRoute.SOCKET:
            if not self._in_room or notice.code in IN_DOUBT:
                return None
            self._in_room, self._taken_out = False, True
            return Nudge.TAKE_OUT
        return self.invite(now) if self._taken_out else None

    def invite(self, now: float) -> Nudge | None:
        """The phone should join its room anew; too soon after the last greeting, it is due later."""
        if now < (due := self._greeted_at + GREET_EVERY):
            self.due = due
            return None
        self._greeted_at, self._taken_out, self.due = now, False, None
        return Nudge.GREET

    def tick(self, now: float) -> Nudge | None:
        """The greeting is due, if it still helps: there has to be a bridge, and the phone has to be missed there."""
        self.due = None
        welcome = self._notice.route is AudioRoute.ROOM
        unheard = self._notice.state is not AudioState.LIVE and (welcome or self._notice.hop is Hop.PHONE)
        return self.invite(now) if unheard or (welcome and self._taken_out) else None
