"""The worker's end of the socket to its supervisor (bridge/process.py tells what is said on it)."""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress


class Lifeline:
    """Its end means that the supervisor is gone."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._file = self._socket.makefile("rb")
        self._rest = b""
        """Of a line that did not fit."""

    def listen(self) -> str:
        """The next line that the supervisor says; blocks until then. Empty: it is gone."""
        return self._file.readline().decode()

    def listen_now(self) -> str:
        """The same if it has said something already; else empty."""
        self._socket.setblocking(False)
        try:
            waits = self._file.peek(1)
        finally:
            self._socket.setblocking(True)
        return self.listen() if waits else ""

    def say(self, line: str) -> None:
        """Tells the supervisor; dropped when it is gone, or does not read. Never waits once watch() runs."""
        with suppress(OSError):
            self._rest = self._rest[self._socket.send(self._rest) :] if self._rest else b""
            if not self._rest:
                data = line.encode() + b"\n"
                self._rest = data[self._socket.send(data) :]

    def answer(self, numbers: str = "") -> None:
        """To a ping."""
        self.say(f"pong {resident_mb():.1f} {numbers}".rstrip())

    async def watch(self, gone: Callable[[], None], numbers: Callable[[], str]) -> None:
        """Answers each ping, with `numbers`; calls `gone` when the supervisor is. Safe to cancel."""
        self._socket.setblocking(False)
        with suppress(ConnectionError):
            while await asyncio.get_running_loop().sock_recv(self._socket, 64):
                self.answer(numbers())
        gone()


def resident_mb() -> float:
    """Memory of this process, in MB."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
