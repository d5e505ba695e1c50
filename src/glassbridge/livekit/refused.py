"""What LiveKit servers sent beyond a bound of ours, or unreadable, counted for this process; a bridge tells it as
`glassbridge_livekit_refused_total`."""

from collections import Counter
from enum import StrEnum


class Rejected(StrEnum):
    """By what it was."""

    MESSAGE = "message"
    """Larger than MAX_MESSAGE, or no WebSocket frame: the connection ends, and the reason says why."""
    UNREADABLE = "unreadable"
    """A message that is no signalling, or a description that is too large or describes nothing: passed over."""
    WORK = "work"
    """More requests than can be done: the place ends."""
    CANDIDATES = "candidates"
    """Ways to the server, beyond the first 32: passed over."""
    PEOPLE = "people"
    """Participants beyond the first 1,000 of a room: passed over."""


counted: Counter[str] = Counter(dict.fromkeys(Rejected, 0))
