"""Connections of a listener: which are taken, and how long one may keep the server waiting.

Rules
- At most `connections` at a time, and at most `per_address` of one address; one address gets at most half of all.
- When there is no room, the connection that has waited longest for a header is closed, or an idle one: of the same
  address if that is full. So peers that send nothing keep no other peer out. A connection is refused only if all
  others that it competes with are at work.
- A connection that became a signed-in WebSocket counts no longer against its address: all phones of an office may come
  from one. Sessions bound those.
- A connection that waits has one deadline. It is set when the wait begins; bytes that trickle in do not move it.
- A connection that never signed in is closed `sign_in_time` after its last answer, others after `idle_time`.

The machine knows no sockets: it is told of events and asked what has expired.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Generic, TypeVar

from glassbridge.core.addresses import subject_of

C = TypeVar("C", bound=Hashable)

RESERVED: Final = 256
"""Descriptors that connections never take: files, bridges, recognisers, logs need them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Times in seconds."""

    connections: int = 12_000
    """At a time; 10,000 sockets fit."""
    per_address: int = 2_048
    """Connections of one address that are no signed-in sockets. A full cloud has 2,000 sessions: all its phones may
    come back at once through one address (NAT, a laboratory on loopback)."""
    header_time: float = 5.0
    """From the begin of a connection, or the first byte of a further request, to the end of the request's header."""
    body_time: float = 30.0
    """For a request's body to come, and for an answer to be taken."""
    sign_in_time: float = 5.0
    """For a peer that has not authenticated."""
    idle_time: float = 75.0
    """Between two requests of a connection that has signed in."""

    def fitted(self, descriptors: int) -> "ConnectionLimits":
        """The same for a process that may have so many descriptors: the rest keeps its own."""
        connections = max(2, min(self.connections, descriptors - RESERVED))
        return ConnectionLimits(
            connections=connections,
            per_address=max(1, min(self.per_address, connections // 2)),
            header_time=self.header_time,
            body_time=self.body_time,
            sign_in_time=self.sign_in_time,
            idle_time=self.idle_time,
        )


class ConnectionRefusal(Enum):
    """Why a connection is not taken; the value is a label of a metric."""

    FULL = "full"
    ADDRESS_FULL = "address_full"


class Wait(Enum):
    """What a connection is waited for; the value is a label of a metric."""

    HEADER = "header"
    """The rest of a request's header."""
    SIGN_IN = "sign_in"
    """A further request of a peer that never signed in."""
    NEXT_REQUEST = "idle"
    """A further request of a peer that has signed in."""
    ANSWER = "answer"
    """That the peer takes the rest of an answer."""


@dataclass(slots=True)
class _Subject:
    """What one address has."""

    count: int = 0
    waiting: OrderedDict[Any, None] = field(default_factory=OrderedDict)
    """Connections that may have to make room, the one that has waited longest first."""


@dataclass(slots=True)
class _State:
    subject: str
    """Against which it counts; empty: against none."""
    wait: Wait | None = None
    signed_in: bool = False


_MAKE_ROOM: Final = (Wait.HEADER, Wait.SIGN_IN, Wait.NEXT_REQUEST)
"""Waits that end when there is no room, in this order."""


class Connections(Generic[C]):
    """All of one listener; `now` is monotonic seconds. An empty address is counted in all only."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._states: dict[C, _State] = {}
        self._subjects: dict[str, _Subject] = {}
        self._times = {
            Wait.HEADER: limits.header_time,
            Wait.SIGN_IN: limits.sign_in_time,
            Wait.NEXT_REQUEST: limits.idle_time,
            Wait.ANSWER: limits.body_time,
        }
        self._deadlines: dict[Wait, OrderedDict[C, float]] = {wait: OrderedDict() for wait in Wait}
        """All waits of one kind are equally long, so each is in order of its deadlines."""

    def __len__(self) -> int:
        return len(self._states)

    @property
    def waiting(self) -> int:
        """Connections that have a deadline."""
        return sum(map(len, self._deadlines.values()))

    def open(self, connection: C, address: str, now: float) -> tuple[ConnectionRefusal | None, C | None]:
        """A new connection, of which a request is waited for: why it is refused (None: it is taken), and the connection
        that has to make room for it (None: none). That one is forgotten here."""
        subject = subject_of(address) if address else ""
        refusal, other = None, None
        if subject and self._count_of(subject) >= self.limits.per_address:
            refusal, other = ConnectionRefusal.ADDRESS_FULL, self._longest_of(subject)
        elif len(self._states) >= self.limits.connections:
            refusal, other = ConnectionRefusal.FULL, self._longest_of_all()
        if refusal is not None and other is None:
            return refusal, None
        if other is not None:
            self.close(other)
        self._states[connection] = _State(subject)
        self._count(subject, 1)
        self.wait(connection, Wait.HEADER, now)
        return None, other

    def charge(self, connection: C, address: str) -> ConnectionRefusal | None:
        """Counts a connection of a proxy against the client whose request it brought. None: there is room for it."""
        state, subject = self._states.get(connection), subject_of(address)
        if state is None or state.subject == subject:
            return None
        if self._count_of(subject) >= self.limits.per_address:
            return ConnectionRefusal.ADDRESS_FULL
        self._move(connection, state, subject)
        return None

    def sign_in(self, connection: C) -> None:
        """The peer has authenticated."""
        if (state := self._states.get(connection)) is not None:
            state.signed_in = True

    def release(self, connection: C) -> None:
        """It is a signed-in WebSocket from now on."""
        if (state := self._states.get(connection)) is not None:
            self._move(connection, state, "")

    def wait_for_request(self, connection: C, now: float) -> None:
        """An answer was taken whole."""
        if (state := self._states.get(connection)) is not None:
            self.wait(connection, Wait.NEXT_REQUEST if state.signed_in else Wait.SIGN_IN, now)

    def wait(self, connection: C, wait: Wait | None, now: float) -> None:
        """It is waited for this from now on; None: for nothing."""
        state = self._states.get(connection)
        if state is None:
            return
        self._forget_wait(connection, state)
        state.wait = wait
        if wait is None:
            return
        self._deadlines[wait][connection] = now + self._times[wait]
        if state.subject and wait in _MAKE_ROOM:
            self._subjects[state.subject].waiting[connection] = None

    def close(self, connection: C) -> None:
        """It is gone."""
        state = self._states.pop(connection, None)
        if state is not None:
            self._forget_wait(connection, state)
            self._count(state.subject, -1)

    def next_deadline(self) -> float | None:
        """When expire() has something to give."""
        return min((next(iter(found.values())) for found in self._deadlines.values() if found), default=None)

    def expire(self, now: float, at_most: int) -> list[tuple[C, Wait]]:
        """Connections whose time is over; each is given once, and not more than so many in one go."""
        over: list[tuple[C, Wait]] = []
        for wait, found in self._deadlines.items():
            while found and len(over) < at_most and (first := next(iter(found.items())))[1] <= now:
                self._forget_wait(first[0], self._states[first[0]])
                over.append((first[0], wait))
        return over

    def _longest_of(self, subject: str) -> C | None:
        return next(iter(self._subjects[subject].waiting), None)

    def _longest_of_all(self) -> C | None:
        return next((next(iter(self._deadlines[wait])) for wait in _MAKE_ROOM if self._deadlines[wait]), None)

    def _forget_wait(self, connection: C, state: _State) -> None:
        if state.wait is not None:
            self._deadlines[state.wait].pop(connection, None)
            state.wait = None
        if state.subject:
            self._subjects[state.subject].waiting.pop(connection, None)

    def _move(self, connection: C, state: _State, subject: str) -> None:
        """Counts it against another subject; it is at work."""
        if state.subject:
            self._subjects[state.subject].waiting.pop(connection, None)
        self._count(state.subject, -1)
        self._count(subject, 1)
        state.subject = subject

    def _count_of(self, subject: str) -> int:
        found = self._subjects.get(subject)
        return 0 if found is None else found.count

    def _count(self, subject: str, change: int) -> None:
        if subject:
            found = self._subjects.setdefault(subject, _Subject())
            found.count += change
            if not found.count:
                del self._subjects[subject]
