"""Close codes of the phone socket: code, meaning, whether to come back. The one table (4000-4999 are ours)."""

from enum import Enum, IntEnum


class ComeBack(Enum):
    """What a client does after a close."""

    NO = "no"
    NOW = "now"
    """Reconnect at once, with jitter."""
    LATER = "later"
    """Reconnect on the usual ladder."""


class CloseCode(IntEnum):
    """`meaning` is for people, `come_back` for clients."""

    meaning: str
    come_back: ComeBack

    def __new__(cls, code: int, meaning: str, come_back: ComeBack) -> "CloseCode":
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        member.come_back = come_back
        return member

    NORMAL = 1000, "said goodbye", ComeBack.NO
    GOING_AWAY = 1001, "lost the network; not a goodbye (traps 27)", ComeBack.LATER
    PROTOCOL = 1002, "not what the WebSocket protocol allows", ComeBack.LATER
    ABNORMAL = 1006, "the connection broke", ComeBack.LATER
    POLICY = 1008, "refused: sign in again", ComeBack.NO
    TOO_BIG = 1009, "a message over the size limit", ComeBack.LATER
    INTERNAL = 1011, "the server failed", ComeBack.LATER
    SUPERSEDED = 4001, "a newer socket of the same user took over", ComeBack.NO
    DRAINING = 4002, "the server is shutting down; come back soon", ComeBack.NOW
    SILENT = 4003, "nothing was heard from the phone for too long", ComeBack.LATER
    SLOW_READER = 4005, "the phone does not read what it is sent", ComeBack.LATER
    SESSION_ENDED = 4004, "the session was ended", ComeBack.NO
    TOO_FAST = 4006, "more messages or bytes than are allowed, and on after it was told", ComeBack.LATER
    TOKEN_ENDED = 4401, "the token has expired or was withdrawn: sign in again", ComeBack.NO


def come_back(code: int | None) -> ComeBack:
    """What to do after this code; an unknown one, or none at all, means LATER."""
    try:
        return CloseCode(code).come_back if code is not None else ComeBack.LATER  # type: ignore[call-arg]
    except ValueError:
        return ComeBack.LATER


def may_be_sent(code: int) -> bool:
    """Whether an endpoint may put this code into a close frame (RFC 6455 7.4)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
