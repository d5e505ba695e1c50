"""The levels at which a phone sends its audio: coding, bit rate, length of a frame, copies of earlier packets, one
route or both, and what each takes of the link. core/sending.py chooses among them."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from glassbridge.core.link_events import AudioRoute


class Coding(Enum):
    """How samples are coded."""

    PCM = "pcm"
    OPUS = "opus"


@dataclass(frozen=True, slots=True)
class Level:
    """One way of sending. `rate` is what it takes on the wire in bit/s, headers and both routes included."""

    name: str
    coding: Coding
    bit_rate: int
    """Of the coded audio, bit/s."""
    frame_ms: int
    """Longest frame; 0: as captured."""
    copies: int
    """Earlier packets (of 20 ms) that each frame in the room carries again."""
    both: bool
    """By both routes; otherwise by one."""
    reliable: bool
    """If only one route is used, it is the socket, if that is open."""
    rate: int


STATIC: Final = Level("static", Coding.PCM, 256_000, 0, 0, both=False, reliable=False, rate=290_000)
LEVELS: Final = (
    Level("clear", Coding.PCM, 256_000, 0, 0, both=False, reliable=False, rate=290_000),
    Level("guarded", Coding.PCM, 256_000, 25, 0, both=False, reliable=False, rate=320_000),
    Level("lossy", Coding.OPUS, 24_000, 20, 2, both=True, reliable=True, rate=210_000),
    Level("narrow", Coding.OPUS, 16_000, 60, 3, both=True, reliable=True, rate=95_000),
    Level("thin", Coding.OPUS, 12_000, 100, 0, both=False, reliable=True, rate=22_000),
)
"""From the best link to the worst. Rates: coded bytes and HEADERS."""
HEADERS: Final = {AudioRoute.ROOM: 180, AudioRoute.SOCKET: 90}
"""Bytes of all headers of a frame: ours (24), the transport's, UDP's or TCP's, IP's."""
START: Final = 1
LOSSY_LEVEL: Final = 2
LAST_BOTH: Final = max(index for index, level in enumerate(LEVELS) if level.both)
