"""Value types that every room of the house shares."""

import re
from enum import Enum
from string import ascii_lowercase, ascii_uppercase
from typing import NewType
from unicodedata import category, name, normalize

SAMPLE_RATE = 16_000
"""Hz; the only rate inside the system (system.md 1)."""
BYTES_PER_SAMPLE = 2
BYTES_PER_MS = SAMPLE_RATE * BYTES_PER_SAMPLE // 1000

UserId = NewType("UserId", str)
Generation = NewType("Generation", int)
"""Fencing number of a join: grows with each join, 0 means "peer does not fence"."""


MAX_USER_BYTES = 244
"""livekit-server takes identities and names of rooms of up to 256 bytes, and a bridge's identity begins with
`cloud-agent:`. With a longer id a user would be let in and never get a room."""
_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
_UNFIT = ("C", "Zl", "Zp", "Zs")
"""Categories of characters that are not seen, or turn those around them."""
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f") | set(map(chr, range(0xFE00, 0xFE10)))
"""Letters and marks that are not seen."""
_LOOKALIKE_SCRIPTS = ("LATIN", "CYRILLIC", "GREEK", "COPTIC", "ARMENIAN", "CHEROKEE")
"""Scripts with letters that look the same."""


def spelled(text: str) -> str:
    """One spelling for what may be compared with user ids: NFC, without spaces around it, A to Z in lower case.

    Only those 26: other letters that `casefold()` takes for equal belong to different people (the Kelvin sign, the long
    s, the sharp s).
    """
    return normalize("NFC", text.strip()).translate(_LOWER)


def user_id(text: str) -> UserId:
    """The one spelling of a user id; ids are never split (hazard C-8).

    Raises ValueError (the caller's fault; the text says what is wrong) for an id that is empty, too long, or holds
    characters that cannot be seen or told from others.
    """
    if len(text) > 4 * MAX_USER_BYTES:
        raise ValueError(f"a user id has at most {MAX_USER_BYTES} bytes")
    found = spelled(text)
    size = len(found.encode(errors="surrogatepass"))
    if not found or size > MAX_USER_BYTES:
        raise ValueError(f"a user id has 1 to {MAX_USER_BYTES} bytes, and this one has {size}")
    if text.isascii():
        if not found.isprintable():
            raise ValueError("a user id holds no control characters")
        return UserId(found)
    if any(_is_unfit(character) for character in found):
        raise ValueError("a user id holds no characters that cannot be seen: control, format, direction, spaces")
    if normalize("NFKC", found) != found or any(_is_another(character) for character in text):
        raise ValueError(
            "a user id holds a character that stands for another one, such as a Kelvin sign: spell it plainly"
        )
    if any(len(_scripts(word)) > 1 for word in re.findall(r"[^\W\d_]+", found)):
        raise ValueError("a user id mixes scripts whose letters look the same in one word, such as Latin and Cyrillic")
    return UserId(found)


def _is_unfit(character: str) -> bool:
    return (category(character).startswith(_UNFIT) and character != " ") or character in _INVISIBLE


def _is_another(character: str) -> bool:
    """NFC replaces it by one other character."""
    plain = normalize("NFC", character)
    return plain != character and len(plain) == 1


def _scripts(word: str) -> set[str]:
    return {script for letter in word if (script := name(letter, "").partition(" ")[0]) in _LOOKALIKE_SCRIPTS}


def agent_identity(user: UserId) -> str:
    """The identity under which a bridge sits in the user's room (the original's name)."""
    return f"cloud-agent:{user}"


class LossReason(Enum):
    """Why a place in a LiveKit room ended or never began. A rich list inside, one mapping to the wire.

    `retry` : whether a fresh join with a fresh token can help; `fault`: the side that is at fault.
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
    LIMIT_EXCEEDED = (
        "limit_exceeded",
        "LiveKit does not admit this join: a limit of its configuration is exceeded",
        "ours",
        True,
    )
    WRONG_ROOM = ("wrong_room", "the token belongs to another room", "ours", True)
    SERVER_SHUTDOWN = ("server_shutdown", "the LiveKit server is shutting down", "world", True)
    NETWORK = ("network", "the link to LiveKit is gone", "world", True)
    UNREACHABLE = ("unreachable", "no LiveKit server answers at that address", "world", True)
    MEDIA_FAILED = ("media_failed", "LiveKit answers, but its media path does not", "world", True)
    FROZEN = ("frozen", "this process was frozen", "world", True)
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
    """The state of the phone's audio as it is told (`audio_state`): never more than is proven."""

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
