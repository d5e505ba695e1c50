"""The arrival watch of one session: by which paths its phone is heard, and when silence becomes a fault.

Rules
- Silence counts only where something is due: always from a phone that numbers its audio (it sends each second), from an
  old phone while its voice detector says speech and its microphone is on.
- A phone that comes into its room while audio is awaited there is given the same time from then on: on a long way its
  join alone takes seconds.
- A phone that numbers its audio is missed on each path by itself. An old one that is heard on one path is not missed on
  the other.
- A fault that is discovered late was ours: we stood still, and what has arrived meanwhile is still to be read.

Part of the audio link (core/audio_link.py), which decides what a fault means. Time is an argument, monotonic seconds.
"""

from dataclasses import dataclass, replace
from math import inf
from typing import Final

from glassbridge.core.link_events import AudioRoute, Microphone, Voice, Wanted

SILENCE: Final = 3.0
"""Seconds without a frame, where frames are due, that make a fault."""
PRESENCE_MISSED: Final = 2.3
"""The same for a phone that numbers its audio, once it was heard: it sends each second, and one frame may be lost."""
GONE: Final = 0.5
"""Seconds that a phone may be out of its room, while it joins anew, before that is a fault."""
STOOD_STILL: Final = 0.5
"""A deadline that is late by more than so many seconds says that we were frozen, not that the phone was silent."""
CATCH_UP: Final = 1.0
"""Seconds that what has arrived meanwhile then has to be read."""


@dataclass(frozen=True, slots=True)
class Phone:
    """What the phone said of itself. Its microphone is on until it says otherwise: the cloud asks for that."""

    here: bool = False
    room: bool = False
    """It wanted the room once in this session."""
    uses_room: bool = False
    """It wanted the room with its newest socket, or has been heard in it since."""
    numbers: bool = False
    microphone: bool = True
    speaking_since: float | None = None

    def due_since(self) -> float | None:
        """From when something should be arriving from this phone; None while it may be silent."""
        if self.numbers:
            return -inf
        return self.speaking_since if self.microphone else None


class Arrival:
    """What is heard, and from when silence counts."""

    __slots__ = ("_gone_since", "_seen", "_since", "heard", "phone")

    def __init__(self) -> None:
        self.phone = Phone()
        self.heard: frozenset[AudioRoute] = frozenset()
        """Paths that brought something since they were last lost or at fault."""
        self._since: dict[AudioRoute, float] = {}
        """From when silence counts, for each path where it does: not where it proves nothing or is told already."""
        self._seen = False
        """The phone was in the room since our place there began."""
        self._gone_since: float | None = None
        """From when the phone is out of the room in which it was seen or heard."""

    @property
    def is_due(self) -> bool:
        """Something should be arriving."""
        return self.phone.due_since() is not None

    def awaits(self, path: AudioRoute) -> bool:
        """Silence of this path counts, or will."""
        return path in self._since

    def heard_since(self, path: AudioRoute, at: float) -> bool:
        """Something came by this path at that time or later."""
        return path in self.heard and self._since.get(path, -inf) >= at

    def fault_at(self, path: AudioRoute) -> float | None:
        """When silence of this path becomes a fault if nothing more comes; None where silence proves nothing."""
        since, due_since = self._since.get(path), self.phone.due_since()
        if since is None or due_since is None:
            return None
        at = max(since, due_since) + self._patience(path)
        if path is AudioRoute.ROOM and self._gone_since is not None:
            return min(at, max(self._gone_since + GONE, due_since))
        return at

    def fault(self, path: AudioRoute, now: float) -> bool:
        """Whether silence of this path is a fault now; one that was ours is forgiven instead."""
        at = self.fault_at(path)
        if at is None or now < at:
            return False
        if now - at > STOOD_STILL:
            self._forgive(path, now)
            return False
        return True

    def _patience(self, path: AudioRoute) -> float:
        return PRESENCE_MISSED if self.phone.numbers and path in self.heard else SILENCE

    def _forgive(self, path: AudioRoute, now: float) -> None:
        self._gone_since = None
        since = self._since[path] = now + CATCH_UP - self._patience(path)
        if self.phone.speaking_since is not None:
            self.phone = replace(self.phone, speaking_since=min(self.phone.speaking_since, since))

    # ---- what happens

    def arrive(self, event: Wanted, now: float) -> None:
        """A new socket: what was proven by the former one is to be proven anew."""
        self.phone = Phone(here=True, room=self.phone.room or event.room, uses_room=event.room, numbers=event.numbers)
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

    def hear(self, path: AudioRoute, numbered: bool, now: float) -> None:
        """Something came by this path."""
        if path not in self.heard:
            self.heard |= {path}
        self._since[path] = now
        if path is AudioRoute.ROOM:
            self._gone_since = None
            if not self.phone.uses_room:
                self.phone = replace(self.phone, uses_room=True)
        if numbered and not self.phone.numbers:
            self.phone = replace(self.phone, numbers=True)
        if not self.phone.numbers:
            self._since = dict.fromkeys(self._since, now)

    def lose(self, path: AudioRoute) -> None:
        """This path is not heard any more, and silence on it is nothing new."""
        if path in self.heard:
            self.heard -= {path}
        if path in self._since:
            self._since = {other: since for other, since in self._since.items() if other is not path}
        if path is AudioRoute.ROOM:
            self._seen = False

    def listen_to_room(self, now: float) -> None:
        """There is a place in the room: from now on silence there counts, for a phone that uses it."""
        self._gone_since = None
        if self.phone.uses_room:
            self._since[AudioRoute.ROOM] = now

    def ignore_room(self) -> None:
        """Silence in the room proves nothing more."""
        self._gone_since = None
        self._since.pop(AudioRoute.ROOM, None)

    def phone_in_room(self, here: bool, now: float) -> None:
        """The bridge tells whether the phone is in the room."""
        if here:
            if not self._seen and AudioRoute.ROOM in self._since and AudioRoute.ROOM not in self.heard:
                self._since[AudioRoute.ROOM] = now
            self._gone_since, self._seen = None, True
        elif (self._seen or AudioRoute.ROOM in self.heard) and self._gone_since is None:
            self._gone_since = now

    def learn(self, event: Microphone | Voice, now: float) -> None:
        """The phone says whether it is going to be heard."""
        if isinstance(event, Microphone):
            self.phone = replace(self.phone, microphone=event.on)
        elif not event.speaking:
            self.phone = replace(self.phone, speaking_since=None)
        elif self.phone.speaking_since is None:
            self.phone = replace(self.phone, speaking_since=now)
        if not self.phone.uses_room and not self.is_due:
            self._since.setdefault(AudioRoute.SOCKET, now)
