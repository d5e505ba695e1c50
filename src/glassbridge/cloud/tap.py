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
from typing import NamedTuple

HEADER = struct.Struct("<QBIH")
"""CLOCK_MONOTONIC nanoseconds at which it was handed on; 1 when this is the live view, which leaves out late audio; the
number of this block, from 0 on; the size of the JSON object that follows: `user`, `session`. The rest is PCM."""

MAX_WAITING = 8 << 20
"""Bytes that wait for the reader; the oldest block goes first. All that a session holds back (30 s of audio) comes at
once, and in blocks of 20 ms that is 1,500."""
RETRY = 0.002
CLOSE_WITHIN = 0.2
"""Seconds that the reader has for a block that still waits when the session ends."""


class Tap:
    """A listener. A tap that is not read, or read too slowly, loses blocks; the session is never held up."""

    def __init__(self, path: Path, user: str, session_id: str, *, wants_late: bool) -> None:
        self.wants_late = wants_late
        self.dropped = 0
        """Blocks that the reader did not take in time."""
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._blocks = 0
        self._retry: asyncio.TimerHandle | None = None
        self._path = str(path)
        self._about = json.dumps({"user": user, "session": session_id}).encode()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def put(self, pcm: bytes) -> None:
        """Passes samples on; never waits."""
        header = HEADER.pack(monotonic_ns(), not self.wants_late, self._blocks, len(self._about))
        self._blocks += 1
        self._waiting.append(header + self._about + pcm)
        self._waiting_bytes += len(self._waiting[-1])
        while self._waiting_bytes > MAX_WAITING:
            self._drop()
        if self._retry is None:
            self._send()

    def _send(self) -> None:
        """The kernel queues only ten datagrams or so: audio that comes at once (after a hole) goes bit by bit."""
        self._retry = None
        try:
            self._send_waiting()
        except BlockingIOError:
            self._retry = asyncio.get_running_loop().call_later(RETRY, self._send)
        except OSError:  # it has no reader
            while self._waiting:
                self._drop()

    def _send_waiting(self) -> None:
        while self._waiting:
            self._socket.sendto(self._waiting[0], self._path)
            self._waiting_bytes -= len(self._waiting.popleft())

    def _drop(self) -> None:
        self._waiting_bytes -= len(self._waiting.popleft())
        self.dropped += 1

    def close(self) -> None:
        """Sends what waits, and releases the socket: a session that ends hands on all that it held back."""
        if self._retry is not None:
            self._retry.cancel()
        self._socket.settimeout(CLOSE_WITHIN)
        with suppress(OSError):
            self._send_waiting()
        self.dropped += len(self._waiting)
        self._socket.close()


class Block(NamedTuple):
    """What was handed on at once."""

    at: int
    """Nanoseconds of CLOCK_MONOTONIC."""
    live: bool
    user: str
    session: str
    pcm: bytes


def read(datagram: bytes) -> Block:
    """The block in a tap's datagram. Raises ValueError or struct.error for any other datagram. Scripts of others
    unpack the block into these five fields."""
    at, live, _, size = HEADER.unpack_from(datagram)
    about = json.loads(datagram[HEADER.size : HEADER.size + size])
    return Block(at, bool(live), about["user"], about["session"], datagram[HEADER.size + size :])


def number_of(datagram: bytes) -> int:
    """The number of the block in a tap's datagram, from 0 on in each view of the session. Where numbers are missing,
    the reader did not take those blocks in time."""
    return int(HEADER.unpack_from(datagram)[2])
