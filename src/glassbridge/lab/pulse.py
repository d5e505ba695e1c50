"""How long this machine stood still: a thread that should wake each 20 ms, and how late it was. Figures of a time in
which others took the processor say little about us; this says when that was."""

import threading
from collections import deque
from time import monotonic_ns
from typing import Self

BEAT = 0.02
KEPT = 10 * 60 * 50
"""Beats: ten minutes."""


class Pulse:
    """Use as a context."""

    def __init__(self) -> None:
        self._late: deque[tuple[int, int]] = deque(maxlen=KEPT)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def stalled(self, begin_ns: int, end_ns: int) -> float:
        """Seconds of the longest time between these moments in which the thread should have run and did not."""
        return max((late for at, late in tuple(self._late) if begin_ns <= at <= end_ns), default=0) / 1e9

    def _beat(self) -> None:
        before = monotonic_ns()
        while not self._ended.wait(BEAT):
            now = monotonic_ns()
            self._late.append((now, now - before - int(BEAT * 1e9)))
            before = now
