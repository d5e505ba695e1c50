"""The session of one user: which socket speaks for the user, and how long the session is kept without a phone.

Rules
- The newest socket speaks. An older one is told so and closed; its late events (above all its close) change nothing.
- When the socket closes, the session waits `grace` seconds for the phone to come back, counted from the close. In
  that time everything stays as it is, so that a blip costs nothing.
- Another cloud may take the user, with the session's things. Then this session has moved, which is final: its phone is
  closed, and nothing else is ended that the new owner uses.
- It ends once: when it has moved, when grace is over, or when it is ended on request. An ended session takes no
  socket back: one that comes in the same moment is refused here and opens a new session (`Refuse`).

It does not know sessions' possessions, sockets or clocks. Sockets have numbers from their owner, greater for each newer
one.
"""

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import Final, NewType

from glassbridge.core.machine import Cell, Ignored, Record
from glassbridge.core.values import Generation

SocketNumber = NewType("SocketNumber", int)

GRACE: Final = 60.0
"""Seconds that a session outlives its socket."""


class SessionState(Enum):
    """`final` says whether anything can still happen."""

    ABSENT = ("absent", False)
    ACTIVE = ("active", False)
    GRACE = ("grace", False)
    ENDED = ("ended", True)
    MOVED = ("moved", True)

    def __init__(self, label: str, final: bool) -> None:
        self.label = label
        self.final = final


# ---- events


@dataclass(frozen=True, slots=True)
class SocketOpened:
    """A socket of the user was accepted."""

    socket: SocketNumber


@dataclass(frozen=True, slots=True)
class SocketClosed:
    """A socket of the user is gone; may come late, and for any socket."""

    socket: SocketNumber


@dataclass(frozen=True, slots=True)
class End:
    """The session is to end now: signed out, or the program stops."""

    cause: str


@dataclass(frozen=True, slots=True)
class Taken:
    """Another cloud owns the user now."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline has come."""


Event = SocketOpened | SocketClosed | End | Taken | Tick
EVENTS: Final = (SocketOpened, SocketClosed, End, Taken, Tick)


# ---- effects


@dataclass(frozen=True, slots=True)
class Adopt:
    """This socket speaks for the user now."""

    socket: SocketNumber
    resumed: bool
    """True when the session lived already."""


@dataclass(frozen=True, slots=True)
class Supersede:
    """Close this socket: a newer one took over."""

    socket: SocketNumber


@dataclass(frozen=True, slots=True)
class Release:
    """No socket speaks for the user: hold everything as it is."""


@dataclass(frozen=True, slots=True)
class Dispose:
    """Everything of the session goes; `socket` is the one to close, None when there is none."""

    cause: str
    socket: SocketNumber | None


@dataclass(frozen=True, slots=True)
class Move:
    """The session ends here, but neither rooms nor apps end; `socket` is the one to close, None when there is none."""

    socket: SocketNumber | None


@dataclass(frozen=True, slots=True)
class Refuse:
    """This socket came after the end: its owner takes it to a new session."""

    socket: SocketNumber


Effect = Adopt | Supersede | Release | Dispose | Move | Refuse


class Session:
    """The machine of one user's session; begins ABSENT, is used once."""

    __slots__ = ("_grace", "_grace_ends", "records", "socket", "stale", "state")

    def __init__(self, grace: float = GRACE) -> None:
        self.state = SessionState.ABSENT
        self.socket: SocketNumber | None = None
        """The socket that speaks; None in every state but ACTIVE."""
        self.records: list[Record[SessionState]] = []
        self.stale: Counter[str] = Counter()
        """Late events of superseded sockets, by name."""
        self._grace = grace
        self._grace_ends: float | None = None

    def step(self, event: Event, now: float) -> list[Effect]:
        """Decides; `now` is monotonic seconds."""
        cell = TABLE[self.state, type(event)]
        return [] if isinstance(cell, Ignored) else cell.by(self, event, now)

    def next_deadline(self) -> float | None:
        return self._grace_ends

    def _go(self, state: SessionState, event: Event, now: float, cause: str = "") -> None:
        number = Generation(self.socket or 0)
        self.records.append(Record("session", self.state, type(event).__name__, state, now, number, cause))
        self.state = state
        self._grace_ends = now + self._grace if state is SessionState.GRACE else None

    def _begin(self, event: SocketOpened, now: float) -> list[Effect]:
        self.socket = event.socket
        self._go(SessionState.ACTIVE, event, now)
        return [Adopt(event.socket, resumed=False)]

    def _supersede(self, event: SocketOpened, now: float) -> list[Effect]:
        older = self.socket
        if older is None or event.socket <= older:
            self.stale["SocketOpened"] += 1
            return [Supersede(event.socket)]
        self.socket = event.socket
        self._go(SessionState.ACTIVE, event, now, "superseded")
        return [Supersede(older), Adopt(event.socket, resumed=True)]

    def _close(self, event: SocketClosed, now: float) -> list[Effect]:
        if event.socket != self.socket:
            self.stale["SocketClosed"] += 1
            return []
        self._go(SessionState.GRACE, event, now)
        self.socket = None
        return [Release()]

    def _return(self, event: SocketOpened, now: float) -> list[Effect]:
        if self._expired(now):  # the timer is late, not the phone early
            return [*self._expire(event, now), Refuse(event.socket)]
        self.socket = event.socket
        self._go(SessionState.ACTIVE, event, now)
        return [Adopt(event.socket, resumed=True)]

    def _tick(self, event: Tick, now: float) -> list[Effect]:
        return self._expire(event, now) if self._expired(now) else []

    def _expired(self, now: float) -> bool:
        return self._grace_ends is not None and now >= self._grace_ends

    def _expire(self, event: Event, now: float) -> list[Effect]:
        self._go(SessionState.ENDED, event, now, "grace is over")
        return [Dispose("grace is over", None)]

    def _end(self, event: End, now: float) -> list[Effect]:
        self._go(SessionState.ENDED, event, now, event.cause)
        socket, self.socket = self.socket, None
        return [Dispose(event.cause, socket)]

    def _move(self, event: Taken, now: float) -> list[Effect]:
        self._go(SessionState.MOVED, event, now)
        socket, self.socket = self.socket, None
        return [Move(socket)]

    def _refuse(self, event: SocketOpened, _now: float) -> list[Effect]:
        return [Refuse(event.socket)]

    def _stale(self, event: Event, _now: float) -> list[Effect]:
        self.stale[type(event).__name__] += 1
        return []


_S = SessionState
_NO_TIMER = Ignored("no timer runs here: it was late")
TABLE: Final[dict[tuple[SessionState, type], Cell[SessionState] | Ignored]] = {
    (_S.ABSENT, SocketOpened): Cell(Session._begin, (_S.ACTIVE,)),
    (_S.ABSENT, SocketClosed): Ignored("no socket was ever adopted"),
    (_S.ABSENT, End): Cell(Session._end, (_S.ENDED,)),
    (_S.ABSENT, Taken): Cell(Session._move, (_S.MOVED,)),
    (_S.ABSENT, Tick): _NO_TIMER,
    (_S.ACTIVE, SocketOpened): Cell(Session._supersede, (_S.ACTIVE,)),
    (_S.ACTIVE, SocketClosed): Cell(Session._close, (_S.ACTIVE, _S.GRACE)),
    (_S.ACTIVE, End): Cell(Session._end, (_S.ENDED,)),
    (_S.ACTIVE, Taken): Cell(Session._move, (_S.MOVED,)),
    (_S.ACTIVE, Tick): _NO_TIMER,
    (_S.GRACE, SocketOpened): Cell(Session._return, (_S.ACTIVE, _S.ENDED)),
    (_S.GRACE, SocketClosed): Cell(Session._stale, (_S.GRACE,)),
    (_S.GRACE, End): Cell(Session._end, (_S.ENDED,)),
    (_S.GRACE, Taken): Cell(Session._move, (_S.MOVED,)),
    (_S.GRACE, Tick): Cell(Session._tick, (_S.GRACE, _S.ENDED)),
    (_S.ENDED, SocketOpened): Cell(Session._refuse, (_S.ENDED,)),
    (_S.ENDED, SocketClosed): Ignored("its socket was closed with the session"),
    (_S.ENDED, End): Ignored("it ends once"),
    (_S.ENDED, Taken): Ignored("it has ended before"),
    (_S.ENDED, Tick): _NO_TIMER,
    (_S.MOVED, SocketOpened): Cell(Session._refuse, (_S.MOVED,)),
    (_S.MOVED, SocketClosed): Ignored("its socket was closed with the session"),
    (_S.MOVED, End): Ignored("it has moved before"),
    (_S.MOVED, Taken): Ignored("it moves once"),
    (_S.MOVED, Tick): _NO_TIMER,
}
