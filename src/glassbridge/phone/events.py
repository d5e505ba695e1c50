"""What a phone client tells its owner."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class SocketChanged:
    """The socket to the cloud."""

    state: Literal["open", "closed", "unreachable"]
    cloud: str
    code: int | None = None
    """Close code, where there was one."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The cloud accepted the socket. Says nothing about audio."""

    session_id: str
    resumed: bool
    """The session had lived on."""
    numbered: bool
    """Audio is numbered from now on."""


@dataclass(frozen=True, slots=True)
class RoomChanged:
    """The phone's place in its LiveKit room."""

    state: Literal["joined", "left", "lost", "failed"]
    room: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AgentChanged:
    """Whether the cloud's agent is in the room, as the LiveKit server last told."""

    present: bool


@dataclass(frozen=True, slots=True)
class AudioStateChanged:
    """The truth about the phone's audio, as the cloud sees it."""

    state: Literal["live", "connecting", "interrupted", "unavailable"]
    reason: str
    code: str
    transport: Literal["livekit", "websocket"] | None
    """Live: the path. Otherwise: the path that is open for audio."""
    retry_in_ms: int | None
    hop: Literal["phone", "livekit", "bridge", "stream", "recogniser"] | None = None
    """Where on the way audio dies, once the cloud knows."""
    seconds: float | None = None
    """With the code `recogniser_slow`: about how late captions come."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a person should know about the phone now, in words."""

    situation: Literal["connecting", "offline", "unreachable", "connected", "unheard", "renewing", "heard", "ended"]
    text: str
    retry_in: float | None
    """Seconds until the next attempt; None where none is planned."""


@dataclass(frozen=True, slots=True)
class AudioAcknowledged:
    """Everything before `position` is delivered, but for `lost` samples that were given up."""

    epoch: int
    position: int
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Caption:
    """What was understood."""

    text: str
    final: bool
    start_ms: int | None = None
    end_ms: int | None = None
    """When it was spoken, in milliseconds of the session's audio."""
    id: str | None = None
    """Of a final one."""
    replaces: tuple[str, ...] = ()
    """Ids of captions whose place it takes, with those that follow it and insert into the same hole."""
    inserts: str | None = None
    """We sent what was spoken late: its place is before what was spoken later."""


@dataclass(frozen=True, slots=True)
class CaptionGap:
    """Words are missing in the captions."""

    id: str
    seconds: float
    state: Literal["open", "filled", "kept"]
    """`open`: we may still send them; `filled`: they have come; `kept`: they are lost."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What an app shows on the glasses, in place of what it showed before."""

    package: str
    text: str
    """Empty for what holds no words."""


@dataclass(frozen=True, slots=True)
class AppChanged:
    """How an app is now."""

    package: str
    state: Literal["starting", "running", "reconnecting", "stopped"]
    reason: str = ""
    """A reason a person can read, if it stopped without being asked to."""


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """All captions of what was said until the microphone stopped have come."""

    captioned: bool
    """False: captions are off, or not all of it could be kept."""


@dataclass(frozen=True, slots=True)
class MicrophoneAsked:
    """The cloud has changed its mind about the microphone (on at first); the client has obeyed."""

    on: bool


@dataclass(frozen=True, slots=True)
class RoomSound:
    """Sound out of the room, in portions of about a second."""

    ms: int
    """Milliseconds heard since the client began."""
    level: float
    """Root mean square of this portion, 0 to 1."""


@dataclass(frozen=True, slots=True)
class TrackReplaced:
    """A phone with a track has no room that it could reach: audio goes by the cloud's socket. Or that is over."""

    by_socket: bool


@dataclass(frozen=True, slots=True)
class CloudError:
    """The cloud complains; the socket lives."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The client has given up for good: refused, superseded, or the session was ended."""

    message: str
    """What to do about it, in one line."""


PhoneEvent = (
    SocketChanged
    | Acknowledged
    | RoomChanged
    | AgentChanged
    | AudioStateChanged
    | CaptionGap
    | Told
    | AudioAcknowledged
    | Caption
    | Shown
    | AppChanged
    | SpeechEnded
    | MicrophoneAsked
    | RoomSound
    | TrackReplaced
    | CloudError
    | Ended
)
