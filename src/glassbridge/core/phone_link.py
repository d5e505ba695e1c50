"""The phone's link to its cloud: one machine that a phone's shell turns, made of its socket and its place in the room.

Rules
- The socket (core/phone_socket.py) and the place (core/phone_place.py) decide for themselves; this machine connects
  them: a place is wanted once the cloud has acknowledged the phone, kept while the socket is lost, left when the phone
  moves to another cloud, stops, or is told not to come back.
- A deadline that is STOOD_STILL seconds late shows that this process stalled, or the machine slept: connections may
  have died unnoticed. The socket is then probed; after a long sleep the place is taken anew at once.
- If a place outlived a socket whose path died unnoticed, it is taken anew once the next socket is acknowledged: it may
  have died too. Until then it is kept, since perhaps only the cloud could not be reached.
- If a place was taken while the cloud lacked audio, the cloud gets a hint, and tries at once what it waits for.
- The state for the user is computed from all this after each step, and reported when it changed. It never says that all
  is well while nothing is heard.

It does not know addresses, tokens, LiveKit, bytes, clocks or chance.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from math import ceil
from typing import Any, Final

from glassbridge.core import phone_place, phone_socket
from glassbridge.core.diagnosis import MUTED
from glassbridge.core.machine import Record
from glassbridge.core.phone_place import (
    FROZEN,
    AudioTold,
    Away,
    Doubted,
    Join,
    Leave,
    Narrowed,
    PhonePlace,
    PlaceFailed,
    PlaceJoined,
    PlaceLeft,
    PlaceLost,
    PlaceState,
    Unwanted,
    Wanted,
)
from glassbridge.core.phone_socket import (
    Accepted,
    CloseSocket,
    Hint,
    MessageReceived,
    NetworkChanged,
    NetworkLost,
    OpenSocket,
    PhoneSocket,
    Ping,
    SocketClosed,
    SocketFailed,
    SocketState,
    Start,
    Stop,
    Switch,
    Tick,
    Woke,
)
from glassbridge.core.sound_faults import SoundFault
from glassbridge.core.values import AudioState, Generation

STOOD_STILL: Final = 1.0
DEAD_SOUND: Final = frozenset(fault.value for fault in SoundFault)
"""Codes beside LIVE: audio arrives, and is not the sound of a living microphone."""
NOTICED: Final = 0.3
"""Seconds without audio that are worth a number."""

Event = (
    Start
    | Stop
    | Switch
    | NetworkChanged
    | NetworkLost
    | Woke
    | Accepted
    | SocketFailed
    | SocketClosed
    | MessageReceived
    | AudioTold
    | Narrowed
    | PlaceJoined
    | PlaceFailed
    | PlaceLost
    | PlaceLeft
    | Tick
)


class Situation(Enum):
    """What a person should know about the phone."""

    CONNECTING = "connecting"
    OFFLINE = "offline"
    UNREACHABLE = "unreachable"
    CONNECTED = "connected"
    """Nothing has been heard yet, and nothing is missed."""
    UNHEARD = "unheard"
    """Connected, but audio does not arrive."""
    RENEWING = "renewing"
    """The same, and the phone takes a fresh place in its room."""
    HEARD = "heard"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the person."""

    situation: Situation
    text: str
    retry_at: float | None = None
    """Monotonic seconds of the next attempt; None where none is planned."""


Effect = OpenSocket | CloseSocket | Ping | Hint | Join | Leave | Tell

_UNHEARD = "you are connected, but nothing is heard"
_RENEWING = Tell(Situation.RENEWING, f"{_UNHEARD}: the phone's place in the room is being renewed")
_OFFLINE = Tell(Situation.OFFLINE, "there is no network; it goes on as soon as there is one")


class PhoneLink:
    """Begins with Start. `room`: audio is to travel through a LiveKit room. `chance` gives numbers in [0, 1)."""

    def __init__(self, chance: Callable[[], float], *, room: bool = True) -> None:
        self.socket = PhoneSocket(chance)
        self.place = PhonePlace(chance)
        self.records: list[Record[Any]] = []
        self._room = room
        self._audio: AudioTold | None = None
        """What the cloud said last on this socket."""
        self._told: Tell | None = None
        self._unheard_since: float | None = None

    def step(self, event: Event, now: float) -> list[Effect]:
        """Decides; `now` is seconds on a clock that never jumps back and goes on in sleep."""
        deadline = self.next_deadline()
        effects: list[Effect] = []
        if deadline is not None and now - deadline > STOOD_STILL:
            effects += self._route(Woke(now - deadline), now)
        effects += self._route(event, now)
        return effects + self._tell(now)

    def next_deadline(self) -> float | None:
        due = (self.socket.next_deadline(), self.place.next_deadline())
        return min((at for at in due if at is not None), default=None)

    def _is_held(self, place: Generation) -> bool:
        return self.place.state is PlaceState.HELD and self.place.generation == place

    def _route(self, event: Event, now: float) -> list[Effect]:
        was_here = self.socket.state.here
        effects: list[Effect] = []
        if isinstance(event, phone_socket.Event):
            effects += self.socket.step(event, now)
        if isinstance(event, Accepted) and self.socket.state.here and not was_here:
            self._audio = None
        for news in self._news(event, was_here):
            effects += self.place.step(news, now)
        if isinstance(event, PlaceJoined) and self._is_missed() and self._is_held(event.place):
            effects.append(Hint(self.socket.generation))
        for machine in (self.socket, self.place):
            self.records += machine.records
            machine.records.clear()
        return effects

    def _news(self, event: Event, was_here: bool) -> list[phone_place.Event]:
        """What the place hears of it, once the socket has."""
        here = self.socket.state.here
        match event:
            case Switch() | Stop():
                return [Unwanted(goodbye=True)]
            case NetworkLost():
                return [Unwanted(goodbye=False)]
            case Accepted(same_room=same) if here and not was_here and self._room:
                return [Wanted(same), Doubted("the socket died without a word")] if self._outlived() else [Wanted(same)]
            case MessageReceived() if here and not was_here and self._room:
                return [Wanted(same=True, late=True)]
            case AudioTold() if event.socket in (self.socket.generation, self.socket.kept):
                self._audio = event
                return [event] if here else []
            case AudioTold():
                return []
            case PlaceJoined() | PlaceFailed() | PlaceLost() | PlaceLeft() | Narrowed():
                return [event]
            case Tick():
                found: list[phone_place.Event] = [phone_place.Tick()]
            case NetworkChanged():
                found = [Doubted("the network changed")]
            case Woke(seconds) if seconds >= FROZEN:
                found = [Doubted(f"stood still for {seconds:.1f} s")]
            case _:
                found = []
        if self.socket.state.final:
            return [Unwanted(goodbye=True)]
        return [Away(), *found] if was_here and not here else found

    def _outlived(self) -> bool:
        """The place is older than the silent death of the last socket."""
        dead_since, place = self.socket.dead_since, self.place
        return dead_since is not None and place.state is PlaceState.HELD and place.held_since <= dead_since

    # ---- what a person is told

    def _is_missed(self) -> bool:
        return self._audio is not None and self._audio.state in (AudioState.INTERRUPTED, AudioState.UNAVAILABLE)

    def _tell(self, now: float) -> list[Effect]:
        truth = self._truth(now)
        told = self._told
        if truth is None or (told is not None and (truth.situation, truth.text) == (told.situation, told.text)):
            return []
        if truth.situation is Situation.HEARD:
            if told is not None and told.situation is Situation.HEARD:
                return []
            if self._unheard_since is not None:
                truth = replace(truth, text=_back_after(now - self._unheard_since))
        elif told is not None and told.situation is Situation.HEARD:
            self._unheard_since = now
        self._told = truth
        return [truth]

    def _truth(self, now: float) -> Tell | None:
        """None: nothing new can be said."""
        socket = self.socket
        if socket.state.here:
            return self._truth_of_audio(now)
        match socket.state:
            case SocketState.IDLE:
                return None
            case SocketState.ENDED:
                return Tell(Situation.ENDED, socket.trouble) if socket.trouble else None
            case SocketState.OFFLINE:
                return _OFFLINE
        if not socket.trouble:
            return Tell(Situation.CONNECTING, "connecting to the cloud")
        if socket.was_here:
            return Tell(
                Situation.UNREACHABLE, f"the connection to the cloud is lost ({socket.trouble}): connecting again"
            )
        text = f"the cloud cannot be reached ({socket.trouble}), {_trying_again(socket.retry_at, now)}"
        return Tell(Situation.UNREACHABLE, text, socket.retry_at)

    def _truth_of_audio(self, now: float) -> Tell:
        audio, place = self._audio, self.place
        if audio is not None and audio.state is AudioState.LIVE:
            if audio.code in DEAD_SOUND:
                return Tell(Situation.UNHEARD, f"{_UNHEARD}: {audio.reason}")
            return Tell(Situation.HEARD, "you are heard")
        renewing = self._room and place.state in (PlaceState.LEAVING, PlaceState.WAITING, PlaceState.JOINING)
        if renewing and (self._is_missed() or place.trouble):
            return _RENEWING
        if audio is not None and audio.code == MUTED:
            return Tell(Situation.CONNECTED, f"connected; {audio.reason}")
        if audio is None or audio.state is AudioState.CONNECTING:
            return Tell(Situation.CONNECTED, "connected; nothing has been heard yet")
        if audio.state is AudioState.INTERRUPTED or audio.retry_at is None:
            return Tell(Situation.UNHEARD, f"{_UNHEARD}: {audio.reason}", audio.retry_at)
        return Tell(
            Situation.UNHEARD, f"{_UNHEARD}: {audio.reason}, {_trying_again(audio.retry_at, now)}", audio.retry_at
        )


def _back_after(seconds: float) -> str:
    return f"audio is back after {seconds:.1f} s" if seconds >= NOTICED else "audio is back"


def _trying_again(at: float | None, now: float) -> str:
    """Within a second is at once, for people."""
    seconds = 0 if at is None else ceil(at - now)
    return f"trying again in {seconds} s" if seconds > 1 else "trying again"
