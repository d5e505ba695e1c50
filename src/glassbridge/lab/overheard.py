"""What clouds hand on to those who listen, and when; read in a thread of its own."""

import selectors
import socket
import threading
from pathlib import Path
from typing import NamedTuple, Self

from glassbridge.cloud import tap
from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE

MAX_BLOCK = 1 << 20


class Share(NamedTuple):
    """Of some speech, in shares of its length."""

    live: float
    late: float
    lost: float


class Overheard:
    """`with Overheard(path) as heard`: `path` is the tap of a cloud (cloud/tap.py)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._blocks: list[tuple[int, tap.Block]] = []
        """With the number of each (tap.number_of)."""
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._read, name="overheard", daemon=True)

    def __enter__(self) -> Self:
        self._reader = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._reader.bind(str(self._path))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._woken.close()
        self._thread.join()
        self._reader.close()
        self._wake.close()

    def of(self, user: str) -> list[tuple[int, bytes]]:
        """(handed on at, samples) in that order, of what those get who want everything."""
        return [(block.at, block.pcm) for _, block in self._of(user, live=False)]

    def missed(self, user: str) -> int:
        """Blocks before the newest of it that this reader did not get: others have heard them."""
        blocks = self._of(user, live=False)
        return sum({block.session: number + 1 for number, block in blocks}.values()) - len(blocks)

    def session_of(self, user: str) -> str:
        """The newest session of which something was heard; empty: none."""
        return next((block.session for _, block in reversed(self._blocks) if block.user == user), "")

    def share(self, user: str, seconds: float) -> Share:
        """The fate of so many seconds of speech."""
        spoken = seconds * SAMPLE_RATE * BYTES_PER_SAMPLE
        fresh, everything = (
            min(1.0, sum(len(block.pcm) for _, block in self._of(user, live=kind)) / spoken) for kind in (True, False)
        )
        return Share(min(fresh, everything), max(0.0, everything - fresh), 1.0 - everything)

    def _of(self, user: str, *, live: bool) -> list[tuple[int, tap.Block]]:
        return [known for known in list(self._blocks) if known[1].user == user and known[1].live is live]

    def _read(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._reader, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._wake:
                        return
                    datagram = self._reader.recv(MAX_BLOCK)
                    self._blocks.append((tap.number_of(datagram), tap.read(datagram)))
