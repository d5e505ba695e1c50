"""Where in a stream of WebSocket frames one of our own may be put, and what answers it (RFC 6455, 5.2)."""

from typing import Final

MASKED_PING: Final = b"\x89\x80\x00\x00\x00\x00"
"""A whole frame, as a client sends it; the other side answers by itself."""

_PONG: Final = 0x8A
_EXTENDED: Final = {126: 2, 127: 8}
"""Bytes of the length where the first one does not tell it."""


class FrameEdges:
    """Follows one direction of a connection, from its first frame on."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self.pongs = 0
        """Pongs that have passed."""

    @property
    def between(self) -> bool:
        """The data so far ends with a whole frame."""
        return not self._left and not self._head

    def passed(self, data: bytes) -> None:
        """These bytes came next."""
        while data:
            step = min(self._left, len(data)) or 1
            if self._left:
                self._left -= step
            else:
                self._head += data[:1]
                if (length := _payload(self._head)) is not None:
                    self.pongs += self._head[0] == _PONG
                    self._left, self._head = length, b""
            data = data[step:]


def _payload(head: bytes) -> int | None:
    """Bytes that follow this header; None: it is not whole yet."""
    if len(head) < 2:
        return None
    length, masked = head[1] & 0x7F, head[1] & 0x80
    extended = _EXTENDED.get(length, 0)
    if len(head) < 2 + extended + (4 if masked else 0):
        return None
    return int.from_bytes(head[2 : 2 + extended]) if extended else length
