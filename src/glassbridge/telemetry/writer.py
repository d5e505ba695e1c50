"""Writes lines to a descriptor, from a thread of its own."""

import os
import threading
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import Final

import structlog

QUEUE_LINES: Final = 10_000


class LineWriter:
    """Takes lines without ever waiting; what a stuck reader leaves no room for is dropped, counted, and told later."""

    def __init__(self, fd: int, capacity: int = QUEUE_LINES) -> None:
        # A bare descriptor: a thread that is stuck in sys.stderr would hold its lock and abort the interpreter's end.
        self._fd = fd
        self._lines: Queue[str | None] = Queue(capacity)
        self._told = 0
        self.dropped = 0
        """Lines that were not written, so far."""
        self._thread = threading.Thread(target=self._write_all, name="log-writer", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Queues a line."""
        try:
            self._lines.put_nowait(line)
        except Full:
            self.dropped += 1

    def end(self) -> None:
        """Queued lines are written; then wait()."""
        while self._thread.is_alive():
            try:
                self._lines.put_nowait(None)
                break
            except Full:
                with suppress(Empty):
                    self._lines.get_nowait()
                    self.dropped += 1

    def wait(self, seconds: float) -> None:
        """Returns once all is written, or so many seconds are over."""
        self._thread.join(max(0.0, seconds))

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._write((line + "\n").encode(errors="replace"))
            except OSError:  # the reader is gone
                self.dropped += 1
            if self.dropped != self._told and self._lines.empty():
                lost, self._told = self.dropped - self._told, self.dropped
                structlog.get_logger(__name__).warning("log lines dropped", count=lost)

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._fd, data) :]
