"""A window on the audio for the lab: every block that listeners get also goes to a Unix datagram socket at once.

For development (`GLASSBRIDGE_TAP`): it proves what a subscriber hears, and when, from outside of this process.
"""

import asyncio
import json
import socket
import struct
from collections import deque
from contextlib import suppress
from pathlib import Path
from time import monotonic_ns

HEADER = struct.Struct("<QBH")
"""CLOCK_MONOTONIC nanoseconds at which it was handed on; 1 when this is the live view, which leaves out late audio; the
size of the JSON object that follows: `user`, `session`. The rest is PCM."""

MAX_WAITING = 500
"""Blocks that wait for the reader; the oldest go first."""
RETRY = 0.002
CLOSE_WITHIN = 0.2
"""Seconds that the reader has for a block that still waits when the session ends."""


class Tap:
    """A listener. One that nobody reads, or that reads too slowly, loses blocks; the session is never held up."""

    def __init__(self, path: Path, user: str, session_id: str, *, wants_late: bool) -> None:
        self.wants_late = wants_late
        self.dropped = 0
        """Blocks that the reader did not take in time."""
        self._waiting: deque[bytes] = deque()
        self._retry: asyncio.TimerHandle | None = None
        self._path = str(path)
        self._about = json.dumps({"user": user, "session": session_id}).encode()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def put(self, pcm: bytes) -> None:
        """Passes samples on; never waits."""
        header = HEADER.pack(monotonic_ns(), not self.wants_late, len(self._about))
        self._waiting.append(header + self._about + pcm)
        if self._retry is None:
            self._send()

    def _send(self) -> None:
        """The kernel queues only ten datagrams or so: what comes at once (after a hole) goes bit by bit."""
        self._retry = None
        try:
            while self._waiting:
                self._socket.sendto(self._waiting[0], self._path)
                self._waiting.popleft()
        except BlockingIOError:
            while len(self._waiting) > MAX_WAITING:
                self._drop()
            self._retry = asyncio.get_running_loop().call_later(RETRY, self._send)
        except OSError:  # nobody reads
            while self._waiting:
                self._drop()

    def _drop(self) -> None:
        self._waiting.popleft()
        self.dropped += 1

    def close(self) -> None:
        """Sends what waits, and releases the socket: a session that ends hands on all that it held back."""
        if self._retry is not None:
            self._retry.cancel()
        self._socket.settimeout(CLOSE_WITHIN)
        with suppress(OSError):
            while self._waiting:
                self._socket.sendto(self._waiting[0], self._path)
                self._waiting.popleft()
        self.dropped += len(self._waiting)
        self._socket.close()


def read(datagram: bytes) -> tuple[int, bool, str, str, bytes]:
    """(handed on at, live, user, session id, PCM) of what a tap sent. Raises ValueError or struct.error for anything
    else."""
    at, live, size = HEADER.unpack_from(datagram)
    about = json.loads(datagram[HEADER.size : HEADER.size + size])
    return at, bool(live), about["user"], about["session"], datagram[HEADER.size + size :]
