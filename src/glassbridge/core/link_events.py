"""What the audio link (core/audio_link.py) is told, and what it wants done: its states, events and effects."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from glassbridge.core.diagnosis import Evidence, Finding, Hop
from glassbridge.core.recovery import Trouble
from glassbridge.core.values import AudioState, Generation


class AudioRoute(Enum):
    """How audio comes from the phone."""

    ROOM = "livekit"
    SOCKET = "websocket"


class LinkState(Enum):
    """Of the way through the room. `placed` says whether a bridge holds a place in it for us, as far as we know."""

    IDLE = ("idle", False)
    JOINING = ("joining", False)
    AWAITING_AUDIO = ("awaiting_audio", True)
    LIVE = ("live", True)
    SUSPECT = ("suspect", True)
    """Nothing is heard that should be; everybody on the way is being asked."""
    INTERRUPTED = ("interrupted", True)
    """The place is there and serves no more; the next join is due at a deadline."""
    UNHEARD = ("unheard", True)
    """The place is there and sound; the phone has to act, or to come back. Looked at again at a deadline, or when what
    keeps its voice from being heard has ended."""
    DOUBTFUL = ("doubtful", False)
    """Another participant took the place; the phone is asked whether it is still here."""
    BACKING_OFF = ("backing_off", False)
    HELD = ("held", True)
    """The phone is away; the place is kept for it."""

    def __init__(self, label: str, placed: bool) -> None:
        self.label = label
        self.placed = placed


# ---- events


@dataclass(frozen=True, slots=True)
class Wanted:
    """A new socket of the phone is here and wants audio to flow."""

    room: bool
    """It wants the LiveKit room; once wanted, a place is kept for the session."""
    numbers: bool
    """It numbers its audio, and so sends something each second."""


@dataclass(frozen=True, slots=True)
class Away:
    """The phone's socket is gone; it may come back."""


@dataclass(frozen=True, slots=True)
class Unwanted:
    """The session ends."""


@dataclass(frozen=True, slots=True)
class Joined:
    """The bridge is in the room and its audio stream is open."""

    generation: Generation


@dataclass(frozen=True, slots=True)
class JoinFailed:
    """The attempt ended without a place or without a stream."""

    generation: Generation
    reason: Trouble
    above: Generation = Generation(0)  # noqa: RUF009 - a plain number
    """The bridge's own generation, where it refuses ours as older: the next one must exceed it."""
    text: str = ""
    """For people, if more is known than the reason."""


@dataclass(frozen=True, slots=True)
class StreamBroke:
    """The audio stream ended, and the place with it."""

    generation: Generation
    reason: Trouble


@dataclass(frozen=True, slots=True)
class News:
    """The bridge reports a change in the room."""

    generation: Generation
    phone_here: bool
    leaving: bool = False
    """The bridge is about to leave for good."""
    hindered: Finding | None = None
    """Why the phone's voice cannot be heard; None also while it speaks by data packets."""


@dataclass(frozen=True, slots=True)
class Status:
    """The bridge's answer to AskStatus, or the lack of one."""

    generation: Generation
    lost: Trouble | None
    """None: it says that it is in the room."""


@dataclass(frozen=True, slots=True)
class Examined:
    """The answers to Examine."""

    generation: Generation
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class PhoneAnswered:
    """The answer to AskPhone, or the lack of one."""

    generation: Generation
    answers: bool


@dataclass(frozen=True, slots=True)
class BridgeBack:
    """A bridge, or LiveKit behind it, that was down answers again."""

    waiting: int
    """Sessions of this cloud that wait for it, this one included."""


@dataclass(frozen=True, slots=True)
class NetworkBack:
    """The phone says that its network is back, or that it has taken a new place in its room."""


@dataclass(frozen=True, slots=True)
class AudioReceived:
    """Samples or a presence frame came. Frames within 0.1 s after another one may be left out."""

    route: AudioRoute
    generation: Generation
    """Of the stream that brought it; without meaning for the socket."""
    numbered: bool
    track: bool = False
    """It came by a track of the room, not by data packets."""


@dataclass(frozen=True, slots=True)
class Raised:
    """A former owner of the user may have used generations up to this one: the next ones must exceed it."""

    above: Generation


@dataclass(frozen=True, slots=True)
class Microphone:
    """The phone switched its microphone."""

    on: bool


@dataclass(frozen=True, slots=True)
class Voice:
    """The phone's voice detector."""

    speaking: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline has come."""


Event = (
    Wanted
    | Away
    | Unwanted
    | Joined
    | JoinFailed
    | StreamBroke
    | News
    | Status
    | Examined
    | PhoneAnswered
    | BridgeBack
    | NetworkBack
    | AudioReceived
    | Raised
    | Microphone
    | Voice
    | Tick
)
EVENTS: Final = Event.__args__


# ---- effects


@dataclass(frozen=True, slots=True)
class Join:
    """Put a bridge into the room with a fresh token and open its audio stream. It replaces the current place."""

    generation: Generation
    elsewhere: bool = False
    """On another bridge than the last one, if there is another."""
    keeps: bool = False
    """The current place goes on until this join has succeeded."""


@dataclass(frozen=True, slots=True)
class Keep:
    """The kept place of this generation is heard again: it serves on, and the join that was to replace it is given
    up."""

    generation: Generation
    instead_of: Generation


@dataclass(frozen=True, slots=True)
class Dismiss:
    """The place that was kept is not needed any more: the join that replaces it has succeeded."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Give up the attempt or the place of this generation, and no other."""

    generation: Generation


@dataclass(frozen=True, slots=True)
class AskStatus:
    """Ask the bridge whether it still is in the room; Status within a second."""

    generation: Generation


@dataclass(frozen=True, slots=True)
class Examine:
    """Ask bridge, LiveKit and phone; Examined follows within little more than a second."""

    generation: Generation


@dataclass(frozen=True, slots=True)
class AskPhone:
    """Ask the phone on its socket for a sign of life; PhoneAnswered within a second."""

    generation: Generation


@dataclass(frozen=True, slots=True)
class InvitePhone:
    """Have the phone join its room anew, if it is one that does not understand notices."""


@dataclass(frozen=True, slots=True)
class Notice:
    """The truth about the phone's audio, as the phone is told it."""

    state: AudioState
    code: str = ""
    """For programs: the code of a Trouble or a Finding, `joining`, `awaiting_audio` or `no_audio`. With LIVE: the
    trouble of the room while audio flows by the socket."""
    text: str = ""
    """For people; empty when all is well."""
    hop: Hop | None = None
    """The dead hop, once it is known."""
    retry_at: float | None = None
    """Monotonic seconds of the next attempt; None when none is planned."""
    route: AudioRoute = AudioRoute.SOCKET
    """The route by which the phone shall send: the room, unless the bridge has no place in it or it is unproven."""


@dataclass(frozen=True, slots=True)
class Notify:
    """Tell the phone."""

    notice: Notice


Effect = Join | Keep | Dismiss | Leave | AskStatus | Examine | AskPhone | InvitePhone | Notify
