"""Value types that every room of the house shares."""

from enum import Enum
from typing import NewType

SAMPLE_RATE = 16_000
"""Hz; the only rate inside the system (system.md 1)."""
BYTES_PER_SAMPLE = 2
BYTES_PER_MS = SAMPLE_RATE * BYTES_PER_SAMPLE // 1000

UserId = NewType("UserId", str)
Generation = NewType("Generation", int)
"""Fencing number of a join: grows with each join, 0 means "peer does not fence"."""


def user_id(text: str) -> UserId:
    """The one spelling of a user id: ids compare case-insensitively and are never split (hazard C-8).

    Raises ValueError (the caller's fault) for an empty id, one over 256 characters, or one with control characters.
    """
    spelled = text.strip().casefold()
    if not spelled or len(spelled) > 256 or not spelled.isprintable():
        raise ValueError("a user id is 1 to 256 printable characters")
    return UserId(spelled)


def agent_identity(user: UserId) -> str:
    """The identity under which a bridge sits in the user's room (the original's name)."""
    return f"cloud-agent:{user}"


class LossReason(Enum):
    """Why a place in a LiveKit room ended or never began. A rich list inside, one mapping to the wire.

    `retry` says whether a fresh join with a fresh token can help; `fault` says whose fault it is.
    """

    SUPERSEDED = ("superseded", "another participant took this identity", "peer", True)
    REMOVED = ("removed", "removed from the room by the room service", "peer", True)
    ROOM_DELETED = ("room_deleted", "the room was deleted", "peer", True)
    TOKEN_EXPIRED = ("token_expired", "the LiveKit token has expired", "ours", True)
    TOKEN_REFUSED = ("token_refused", "LiveKit refuses the token: check the API key and secret", "ours", True)
    CLOCK_SKEW = (
        "clock_skew",
        "LiveKit refuses the token because the clocks differ: set the clocks of both machines by NTP",
        "ours",
        True,
    )
    WRONG_ROOM = ("wrong_room", "the token belongs to another room", "ours", True)
    SERVER_SHUTDOWN = ("server_shutdown", "the LiveKit server is shutting down", "world", True)
    NETWORK = ("network", "the link to LiveKit is gone", "world", True)
    UNREACHABLE = ("unreachable", "no LiveKit server answers at that address", "world", True)
    MEDIA_FAILED = ("media_failed", "LiveKit answers, but its media path does not", "world", True)
    FROZEN = ("frozen", "this process stood still", "world", True)
    CLOSED = ("closed", "left on purpose", "ours", False)
    REPLACED = ("replaced", "a newer join of the same user took over", "ours", False)
    STREAM_BROKEN = ("stream_broken", "the audio stream between cloud and bridge broke", "peer", True)
    TIMED_OUT = ("timed_out", "no answer in time", "world", True)
    INTERNAL = ("internal", "an error inside the participant", "ours", True)

    def __init__(self, code: str, text: str, fault: str, retry: bool) -> None:
        self.code = code
        """Stable machine-readable word, as logged and sent."""
        self.text = text
        """A reason a person can read."""
        self.fault = fault
        self.retry = retry

    @classmethod
    def from_code(cls, code: str) -> "LossReason | None":
        """The member with this code, None when a newer peer knows one that we do not."""
        return next((reason for reason in cls if reason.code == code), None)


class AudioState(Enum):
    """What the phone is told about its audio (`audio_state`): never more than is proven."""

    LIVE = "live"
    CONNECTING = "connecting"
    INTERRUPTED = "interrupted"
    UNAVAILABLE = "unavailable"


class Transport(Enum):
    """How microphone audio travels from the phone."""

    DATA = "data"
    TRACK = "track"
    WEBSOCKET = "websocket"


class AudioSource(Enum):
    """The form in which one frame of microphone audio came; the order is that of the gRPC enum."""

    UNKNOWN = 0
    PACKET_NUMBERED = 1
    PACKET_SEQUENCE = 2
    PACKET_PLAIN = 3
    TRACK = 4
