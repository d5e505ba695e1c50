"""How many log lines one peer may cause: PER_SECOND in any second, half of them of one event.

A line belongs to the user it names, apart for each of the user's apps; else to the address or the app that it names; a
line of a library to that library. Lines that name none of these are the program's own and have no limit. What is beyond
the limit is counted, and told in one line per peer once a second has passed. Debug lines have no limit.
"""

import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Final

PER_SECOND: Final = 20
PEERS: Final = 2_000
"""Those that caused a line last; others begin anew."""
TELL_AFTER: Final = 1.0
"""Seconds from the first suppressed line to the line that tells how many there were."""


class _Window:
    """The times of the last lines of one peer, and of each of its events."""

    def __init__(self) -> None:
        self._all: deque[float] = deque(maxlen=PER_SECOND)
        self._by_event: OrderedDict[str, deque[float]] = OrderedDict()

    def admit(self, event: str, now: float) -> bool:
        own = self._by_event.get(event)
        if own is None:
            own = self._by_event[event] = deque(maxlen=PER_SECOND // 2)
            if len(self._by_event) > PER_SECOND:
                self._by_event.popitem(last=False)
        if any(len(times) == times.maxlen and now - times[0] < 1.0 for times in (self._all, own)):
            return False
        self._all.append(now)
        own.append(now)
        return True


class LineLimit:
    """One for a process; not thread-safe: the logging handler holds its lock. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._windows: OrderedDict[str, _Window] = OrderedDict()
        self._suppressed: Counter[str] = Counter()
        self._since = 0.0

    def admits(self, record: logging.LogRecord) -> bool:
        """Whether the line is to be written."""
        if record.levelno < logging.INFO:
            return True
        said: Any = record.msg
        peer = peer_of(said) if isinstance(said, Mapping) else record.name
        if not peer:
            return True
        event = str(said["event"])[:64] if isinstance(said, Mapping) and "event" in said else ""
        now = self._clock()
        window = self._windows.get(peer)
        if window is None:
            window = self._windows[peer] = _Window()
            if len(self._windows) > PEERS:
                self._windows.popitem(last=False)
        if window.admit(event, now):
            return True
        if not self._suppressed:
            self._since = now
        self._suppressed[peer if peer in self._suppressed or len(self._suppressed) < PEERS else "others"] += 1
        return False

    def due(self, *, all_of_it: bool = False) -> Mapping[str, int]:
        """How many lines of whom were suppressed, when it is time to tell; each is told once."""
        if not self._suppressed or (not all_of_it and self._clock() - self._since < TELL_AFTER):
            return {}
        told, self._suppressed = self._suppressed, Counter()
        return told


def peer_of(fields: Mapping[str, Any]) -> str:
    """By whom a line was caused; empty when it does not say."""
    user, package = fields.get("user_id"), fields.get("package")
    if user:
        return f"{user}/{package}"[:600] if package else str(user)[:300]
    return str(fields.get("peer") or package or "")[:300]
