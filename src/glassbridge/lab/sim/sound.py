"""Sound that is known again wherever it is heard: samples that say which frame of a phone they are."""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from glassbridge.core.values import BYTES_PER_MS

_MARK = Struct("<qd")
PLAIN_MS = 400
"""Length of a frame without a number: a backlog of such is known by its length."""
_REST = bytes(PLAIN_MS * BYTES_PER_MS - _MARK.size)


class Mark(NamedTuple):
    """What the samples of a frame say."""

    number: int
    sent: float
    """In the world's time."""


def frame(number: int, sent: float, *, numbered: bool) -> bytes:
    """Samples that say so."""
    return _MARK.pack(number, sent) if numbered else _MARK.pack(-number, sent) + _REST


def marks(pcm: bytes) -> Iterator[Mark]:
    """Of one frame or more."""
    at = 0
    while at < len(pcm):
        number, sent = _MARK.unpack_from(pcm, at)
        at += _MARK.size + (0 if number > 0 else len(_REST))
        yield Mark(abs(number), sent)
