"""The arrival watch of one session: by which routes its phone is heard, and when silence becomes a fault.

Rules
- Silence counts only while audio is due: always for a phone that numbers its audio (it sends each second), and for an
  old phone while its voice detector reports speech and its microphone is on.
- If the phone enters its room while audio is awaited there, the time begins anew: on a long way its join alone takes
  seconds.
- For a phone that numbers its audio, silence counts on each route separately. For an old phone, audio by one route
  excuses the other.
- A fault that is noticed late is ours: this process stalled, and audio that arrived meanwhile is still unread.

Part of the audio link (core/audio_link.py), which decides what a fault means. Time is an argument, monotonic seconds.
"""

from dataclasses import dataclass, replace
from math import inf
from typing import Final

from glassbridge.core.link_events import AudioRoute, Microphone, Voice, Wanted

SILENCE: Final = 3.0
"""Seconds without a frame, while frames are due, that make a fault."""
PRESENCE_MISSED: Final = 2.3
"""The same for a phone that numbers its audio, once it was heard: it sends each second, and one frame may be lost."""
GONE: Final = 0.5
"""Seconds that a phone may be out of its room, while it joins anew, before that is a fault."""
STALL: Final = 0.5
"""If a deadline is late by more than this, in seconds, this process stalled, and the phone may not have been silent."""
CATCH_UP: Final = 1.0
"""Seconds after a stall for reading what has arrived meanwhile."""


@dataclass(frozen=True, slots=True)
class PhoneReport:
    """The phone's own account of itself. Its microphone is on until it says otherwise: the cloud asks for that."""

    here: bool = False
    room: bool = False
    """It wanted the room once in this session."""
    uses_room: bool = False
    """It wanted the room with its newest socket, or has been heard in it since."""
    numbers: bool = False
    microphone: bool = True
    speaking_since: float | None = None

    def due_since(self) -> float | None:
        """Since when audio is due from this phone; None while it may be silent."""
        if self.numbers:
            return -inf
        return self.speaking_since if self.microphone else None


class Arrival:
    """Which routes bring audio, and since when silence on them counts."""

    __slots__ = ("_gone_since", "_seen", "_since", "heard", "phone")

    def __init__(self) -> None:
        self.phone = PhoneReport()
        self.heard: frozenset[AudioRoute] = frozenset()
        """Routes that have brought audio since they were last lost or at fault."""
        self._since: dict[AudioRoute, float] = {}
        """Since when silence counts, by route; no entry if silence proves nothing there, or is told already."""
        self._seen = False
        """The phone was in the room since the bridge's place there began."""
        self._gone_since: float | None = None
        """Since when the phone is out of the room in which it was seen or heard."""

    @property
    def is_due(self) -> bool:
        """Whether audio should be arriving."""
        return self.phone.due_since() is not None

    def awaits(self, route: AudioRoute) -> bool:
        """Whether silence on this route counts, or will."""
        return route in self._since

    def heard_since(self, route: AudioRoute, at: float) -> bool:
        """Whether audio came by this route at that time or later."""
        return route in self.heard and self._since.get(route, -inf) >= at

    def fault_at(self, route: AudioRoute) -> float | None:
        """When silence on this route becomes a fault if nothing more comes; None if silence proves nothing."""
        since, due_since = self._since.get(route), self.phone.due_since()
        if since is None or due_since is None:
            return None
        at = max(since, due_since) + self._patience(route)
        if route is AudioRoute.ROOM and self._gone_since is not None:
            return min(at, max(self._gone_since + GONE, due_since))
        return at

    def fault(self, route: AudioRoute, now: float) -> bool:
        """Whether silence on this route is a fault now. After a stall of this process the time begins anew instead."""
        at = self.fault_at(route)
        if at is None or now < at:
            return False
        if now - at > STALL:
            self._forgive(route, now)
            return False
        return True

    def _patience(self, route: AudioRoute) -> float:
        return PRESENCE_MISSED if self.phone.numbers and route in self.heard else SILENCE

    def _forgive(self, route: AudioRoute, now: float) -> None:
        self._gone_since = None
        since = self._since[route] = now + CATCH_UP - self._patience(route)
        if self.phone.speaking_since is not None:
            self.phone = replace(self.phone, speaking_since=min(self.phone.speaking_since, since))

    # ---- what happens

    def arrive(self, event: Wanted, now: float) -> None:
        """A new socket: everything has to be proven anew."""
        self.phone = PhoneReport(
            here=True, room=self.phone.room or event.room, uses_room=event.room, numbers=event.numbers
        )
        self._clear()
        if not event.room:
            self._since[AudioRoute.SOCKET] = now

    def depart(self) -> None:
        """The phone's socket is gone."""
        self.phone = replace(self.phone, here=False)
        self._clear()

    def _clear(self) -> None:
        self.heard = frozenset()
        self._since.clear()
        self._gone_since, self._seen = None, False

    def hear(self, route: AudioRoute, numbered: bool, now: float) -> None:
        """Audio or presence came by this route."""
        if route not in self.heard:
            self.heard |= {route}
        self._since[route] = now
        if route is AudioRoute.ROOM:
            self._gone_since = None
            if not self.phone.uses_room:
                self.phone = replace(self.phone, uses_room=True)
        if numbered and not self.phone.numbers:
            self.phone = replace(self.phone, numbers=True)
        if not self.phone.numbers:
            self._since = dict.fromkeys(self._since, now)

    def lose(self, route: AudioRoute) -> None:
        """This route brings nothing any more, and further silence on it is no news."""
        if route in self.heard:
            self.heard -= {route}
        if route in self._since:
            self._since = {other: since for other, since in self._since.items() if other is not route}
        if route is AudioRoute.ROOM:
            self._seen = False

    def listen_to_room(self, now: float) -> None:
        """The bridge has a place in the room: from now on silence there counts, for a phone that uses it."""
        self._gone_since = None
        if self.phone.uses_room:
            self._since[AudioRoute.ROOM] = now

    def ignore_room(self) -> None:
        """From now on silence in the room proves nothing."""
        self._gone_since = None
        self._since.pop(AudioRoute.ROOM, None)

    def phone_in_room(self, here: bool, now: float) -> None:
        """The bridge reports whether the phone is in the room."""
        if here:
            if not self._seen and AudioRoute.ROOM in self._since and AudioRoute.ROOM not in self.heard:
                self._since[AudioRoute.ROOM] = now
            self._gone_since, self._seen = None, True
        elif (self._seen or AudioRoute.ROOM in self.heard) and self._gone_since is None:
            self._gone_since = now

    def learn(self, event: Microphone | Voice, now: float) -> None:
        """The phone reports whether it will send audio."""
        if isinstance(event, Microphone):
            self.phone = replace(self.phone, microphone=event.on)
        elif not event.speaking:
            self.phone = replace(self.phone, speaking_since=None)
        elif self.phone.speaking_since is None:
            self.phone = replace(self.phone, speaking_since=now)
        if not self.phone.uses_room and not self.is_due:
            self._since.setdefault(AudioRoute.SOCKET, now)
