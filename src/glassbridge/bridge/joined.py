"""Sounds joined byte by byte, where each has a header of its own: an Ogg stream after another, a WAV after a WAV.

FFmpeg's demuxers end with the first sound, or take the second header for noise. So such a file is cut where the next
sound begins. MP3, AAC and FLAC need no cut: their frames can be joined as they are.
"""

import io
import re
from typing import Final, NamedTuple, Protocol

_OVERLAP: Final = 64
"""Bytes that are held back, for a beginning may arrive in two reads."""


class _Kind(NamedTuple):
    begin: re.Pattern[bytes]
    """How a sound begins."""
    body: re.Pattern[bytes]
    """What stands between two beginnings, at least: an Ogg stream can begin with several first pages."""


_KINDS: Final = {
    b"OggS": _Kind(re.compile(rb"OggS\0[\2\3\6\7]"), re.compile(rb"OggS\0[\0\1\4\5]")),
    b"RIFF": _Kind(re.compile(rb"RIFF....WAVE", re.DOTALL), re.compile(rb"")),
    b"FORM": _Kind(re.compile(rb"FORM....AIF[FC]", re.DOTALL), re.compile(rb"")),
    b"\x1aE\xdf\xa3": _Kind(re.compile(rb"\x1aE\xdf\xa3.{1,40}?(?:webm|matroska)", re.DOTALL), re.compile(rb"")),
}
_LONGEST_MAGIC: Final = 4


class Bytes(Protocol):
    """What is read from its beginning to its end."""

    def read(self, size: int) -> bytes:
        """At least one byte; b"" at the end."""


class JoinedFile:
    """A file for FFmpeg that ends where the next sound begins; `next_sound()` goes on there. Cannot seek."""

    def __init__(self, source: Bytes) -> None:
        self._source = source
        self._held = bytearray()
        self._complete = False
        self._kind: _Kind | None = None
        self._open()

    def _open(self) -> None:
        self._at = 0
        """Bytes of this sound that were read."""
        self._has_body = False
        self._over = False
        while len(self._held) < _LONGEST_MAGIC and not self._complete:
            self._fill(_LONGEST_MAGIC)
        self._kind = _KINDS.get(bytes(self._held[:_LONGEST_MAGIC]))

    def next_sound(self) -> bool:
        """Goes on with what follows; False at the end of all. The rest of this sound is passed over."""
        while self.read(1 << 16):
            pass
        if not self._held:
            return False
        self._open()
        return True

    def read(self, size: int) -> bytes:
        """At most `size` bytes of this sound; b"" at its end."""
        while not self._over:
            ready = self._ready()
            if ready:
                data = bytes(self._held[: min(size, ready)])
                del self._held[: len(data)]
                self._at += len(data)
                return data
            if self._complete:
                self._over = True
            elif not self._over:
                self._fill(size)
        return b""

    def _ready(self) -> int:
        """Bytes at hand that belong to this sound. Sets `_over` when the next one begins here."""
        held = self._held
        if self._kind is None:
            return len(held)
        start = 0 if self._at else 1
        if not self._has_body and (body := self._kind.body.search(held, start)):
            self._has_body, start = True, max(start, body.start())
        if self._has_body and (begin := self._kind.begin.search(held, start)):
            self._over = begin.start() == 0
            return begin.start()
        return len(held) if self._complete else max(0, len(held) - _OVERLAP)

    def _fill(self, size: int) -> None:
        data = self._source.read(size)
        self._held += data
        self._complete = not data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        raise OSError("a sound that arrives cannot be sought in")

    def tell(self) -> int:
        """Bytes that were read of this sound."""
        return self._at

    def seekable(self) -> bool:
        """No."""
        return False
