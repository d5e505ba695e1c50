"""Reads what the clouds hand on to their listeners (cloud/tap.py), in a thread that nothing else holds up."""

import os
import selectors
import socket
import threading
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from glassbridge.cloud import tap
from glassbridge.lab.judge import Block
from glassbridge.lab.stamps import stamps_in


class Taps:
    """One socket in the folder for each of these backends; use as a context."""

    def __init__(self, folder: Path, backends: Iterable[str]) -> None:
        self.paths = {backend: folder / f"tap-{backend}" for backend in backends}
        self._blocks: defaultdict[str, list[Block]] = defaultdict(list)
        self._rests: defaultdict[tuple[str, str, bool], bytes] = defaultdict(bytes)
        """What each listener has got of a frame that its next block completes."""
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = os.pipe()
        self._thread = threading.Thread(target=self._read, name="taps", daemon=True)

    def __enter__(self) -> Self:
        for backend, path in self.paths.items():
            reader = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            reader.bind(str(path))
            self._selector.register(reader, selectors.EVENT_READ, backend)
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._woken)
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        os.close(self._wake)
        self._selector.close()

    def blocks(self, user: str, since_ns: int = 0) -> list[Block]:
        """What the sessions of this user handed on from that moment on."""
        with self._lock:
            found = self._blocks[user]
            at = len(found)
            while at and found[at - 1].at_ns >= since_ns:
                at -= 1
            return found[at:]

    def _read(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if not isinstance(key.fileobj, socket.socket):
                    return
                got = tap.read(key.fileobj.recv(1 << 20))
                listener = (key.data, got.session, got.live)
                stamps, strange, self._rests[listener] = stamps_in(self._rests[listener] + got.pcm)
                block = Block(key.data, got.session, got.live, got.at, tuple(stamps), strange)
                with self._lock:
                    self._blocks[got.user].append(block)
