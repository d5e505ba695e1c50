"""How many log lines one peer may cause: RATES of its kind, half of them of one event.

A line belongs to the user it names, or to that app of the user if it names one too; else to the address or the app that
it names (all addresses of an IPv6 network of 64 bits are one); a line of a library to that library. Lines that name
nobody are the program's own and have no limit.

A session that begins, breaks and comes back at once writes some forty lines within three seconds, and each is needed to
tell its story: so much passes in one burst. A flood is held to about 20 lines a second over five seconds. STORY lines
have a bucket of their own, which chatter cannot empty. Lines beyond the limit are counted, and told in one line for
each peer once a second has passed. Debug lines have no limit.
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Final

from glassbridge.core.addresses import subject_of
from glassbridge.core.allowance import Allowances, Bucket, Rate

RATES: Final = {"user": Rate(8, burst=30), "app": Rate(3, burst=10), "address": Rate(8, burst=15)}
STORY: Final = frozenset({"audio state", "place lost", "phone socket closed", "session"})
"""Events that tell why a user is not heard."""
STORY_RATE: Final = Rate(3, burst=10)
"""Of one peer, for these alone; more of them are lines like others."""
EVENTS: Final = 20
"""Of one peer that are limited apart, those that were logged last; another one begins anew."""
PEERS: Final = 2_000
"""Those that caused a line last; others begin anew."""
TELL_AFTER: Final = 1.0
"""Seconds from the first suppressed line to the line that tells how many there were."""


class _Peer:
    """What one peer may still cause, in all and of each event."""

    def __init__(self, rate: Rate, now: float) -> None:
        self._all = Bucket(rate, now)
        self._story = Bucket(STORY_RATE, now)
        self._by_event = Allowances(Rate(rate.per_second / 2, rate.burst / 2), EVENTS)

    def admit(self, event: str, now: float) -> bool:
        if event in STORY and self._story.take(now):
            return True
        own = self._by_event.of(event, now)
        return own.level(now) >= 1 and self._all.take(now) and own.take(now)


class LineLimit:
    """One for a process; not thread-safe: the logging handler holds its lock. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._peers: OrderedDict[str, _Peer] = OrderedDict()
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
        causing = self._peers.get(peer)
        if causing is None:
            causing = self._peers[peer] = _Peer(RATES[_kind_of(fields)], now)
            if len(self._peers) > PEERS:
                self._peers.popitem(last=False)
        else:
            self._peers.move_to_end(peer)
        if causing.admit(event, now):
            return True
        if not self._suppressed:
            self._since = now
        self._suppressed[peer if peer in self._suppressed or len(self._suppressed) < PEERS else "others"] += 1
        return False

    def due(self, *, all_of_it: bool = False) -> Mapping[str, int]:
        """How many lines were suppressed, by peer, when it is time to tell; each is told once."""
        if not self._suppressed or (not all_of_it and self._clock() - self._since < TELL_AFTER):
            return {}
        told, self._suppressed = self._suppressed, Counter()
        return told


def peer_of(fields: Mapping[str, Any]) -> str:
    """The peer that caused a line; empty if it does not say."""
    user, package = fields.get("user_id"), fields.get("package")
    if user:
        return f"{user}/{package}"[:600] if package else str(user)[:300]
    return subject_of(str(fields.get("peer") or package or "")[:300])


def _kind_of(fields: Mapping[str, Any]) -> str:
    if fields.get("user_id"):
        return "app" if fields.get("package") else "user"
    return "address"
