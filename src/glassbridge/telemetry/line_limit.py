"""How many log lines one peer may cause in any second: PER_SECOND of its kind, half of them of one event.

A line belongs to the user it names, or to that app of the user if it names one too; else to the address or the app that
it names (all addresses of an IPv6 network of 64 bits are one); a line of a library to that library. Together the lines
of one user, its app and its address stay about 20. Lines that name none of these are the program's own and have no
limit. RESERVED lines of the STORY come on top: a session that begins writes many lines at once, and those that say what
the phone is told must not be missing. What is beyond the limit is counted, and told in one line per peer once a second
has passed. Debug lines have no limit.
"""

import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Final

from glassbridge.core.addresses import subject_of

PER_SECOND: Final = {"user": 15, "app": 5, "address": 10}
STORY: Final = frozenset({"audio state", "place lost"})
"""Events that tell why a user is not heard."""
RESERVED: Final = 5
"""Of one peer and second, for these alone; more of them are lines like others."""
EVENTS: Final = 20
"""Of one peer that are limited apart; an older one begins anew."""
PEERS: Final = 2_000
"""Those that caused a line last; others begin anew."""
TELL_AFTER: Final = 1.0
"""Seconds from the first suppressed line to the line that tells how many there were."""


class _Window:
    """The times of the last lines of one peer, and of each of its events."""

    def __init__(self, per_second: int) -> None:
        self._per_event = (per_second + 1) // 2
        self._all: deque[float] = deque(maxlen=per_second)
        self._story: deque[float] = deque(maxlen=RESERVED)
        self._by_event: OrderedDict[str, deque[float]] = OrderedDict()

    def admit(self, event: str, now: float) -> bool:
        if event in STORY and not _is_full(self._story, now):
            self._story.append(now)
            return True
        own = self._by_event.get(event)
        if own is None:
            own = self._by_event[event] = deque(maxlen=self._per_event)
            if len(self._by_event) > EVENTS:
                self._by_event.popitem(last=False)
        if _is_full(self._all, now) or _is_full(own, now):
            return False
        self._all.append(now)
        own.append(now)
        return True


def _is_full(times: deque[float], now: float) -> bool:
    return len(times) == times.maxlen and now - times[0] < 1.0


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
        fields: Mapping[str, Any] = said if isinstance(said, Mapping) else {"peer": record.name}
        peer = peer_of(fields)
        if not peer:
            return True
        event = str(said["event"])[:64] if isinstance(said, Mapping) and "event" in said else ""
        now = self._clock()
        window = self._windows.get(peer)
        if window is None:
            window = self._windows[peer] = _Window(PER_SECOND[_kind_of(fields)])
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
    return subject_of(str(fields.get("peer") or package or "")[:300])


def _kind_of(fields: Mapping[str, Any]) -> str:
    if fields.get("user_id"):
        return "app" if fields.get("package") else "user"
    return "address"
