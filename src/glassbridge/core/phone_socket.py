"""The phone's socket to its cloud: when to open one, whether it can be trusted, when to try again, when to stop.

Rules
- One socket counts, and each has a generation of its own; events of an older one are counted and dropped. So when the
  cloud reports that our newer socket superseded an older one, nothing ends.
- The first attempt goes at once, later ones wait with full jitter under a cap, counted from the start of the one
  before. A socket that stayed for SETTLED seconds makes the next attempt a first one again. It never gives up.
- An attempt lasts until the acknowledgement, and has a deadline of its own: a network that comes back is not noticed by
  a connection that was tried while it was away.
- A cloud that answers pings (it said so, or has answered one) is alive only while it does. If a ping has no answer for
  SILENCE seconds, the socket counts as dead even if messages arrive: the cloud may not hear us any more. A cloud that
  never answered a ping (the original's) is exempt.
- A socket that fell silent is kept beside the attempts to replace it: its way may only have become long. If it
  answers, or the cloud greets it again, it counts again, and the attempt is given up. When its successor is
  acknowledged, it is closed without a goodbye. For REACHES seconds the cloud may still take the attempt that was given
  up: if it reports a newer socket then, the phone comes back. Later the newer socket is another phone's.
- A stall of this process makes the socket doubtful: it must answer a ping within PROBE seconds. If the cloud answers no
  pings, a new socket is opened instead; so it is, at once, on another network.
- The round trip is measured by pings. Deadlines for answers of the network grow with it.
- The close code says whether to come back. Phones that shall come back at once spread over SPREAD seconds.

It does not know addresses, bytes, clocks or chance. It does not know the room (core/phone_place.py); core/phone_link.py
joins the two.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Final

from glassbridge.core.backoff import Backoff, Ladder
from glassbridge.core.machine import Cell, Ignored, Record
from glassbridge.core.values import Generation

LADDER: Final = Ladder(base=0.25, cap=1.0)
PATIENCE: Final = (3.5, 1.5)
"""Seconds for an attempt, in turn: time enough for a slow network; soon enough for one that is back (TCP repeats a lost
greeting after 1 and 3 s). ROUND_TRIPS come on top."""
ROUND_TRIPS: Final = 4
"""Of an attempt: TCP, TLS, the upgrade, the acknowledgement."""
PING_EVERY: Final = 1.0
SILENCE: Final = 2.5
"""Seconds that a ping may be unanswered, and a round trip more: a dead path is known 2.5 to 3.5 s after its death."""
PROBE: Final = 1.0
"""The same where the path is in doubt."""
MOST_ASKED: Final = 16
"""Pings without an answer that are remembered: of a cloud that may answer none."""
LONGEST_TRIP: Final = 3.0
"""Seconds that are believed of a round trip."""
REACHES: Final = 30.0
"""Seconds for which an attempt that was given up may still reach the cloud: TCP repeats it on a slow network."""
FORGETTING: Final = 0.8
"""Share of a longer round trip that still counts after one more was measured."""
ASLEEP: Final = 5.0
SETTLED: Final = 5.0
SPREAD: Final = 0.5


class SocketState(Enum):
    """`here` says whether the cloud has acknowledged us; `final` whether anything can still happen."""

    IDLE = ("idle", False, False)
    OPENING = ("opening", False, False)
    READY = ("ready", True, False)
    DOUBTFUL = ("doubtful", True, False)
    """Acknowledged; a probe is on its way."""
    WAITING = ("waiting", False, False)
    """Until the next attempt is due."""
    OFFLINE = ("offline", False, False)
    """The owner says that there is no network: nothing is tried."""
    ENDED = ("ended", False, True)

    def __init__(self, label: str, here: bool, final: bool) -> None:
        self.label = label
        self.here = here
        self.final = final


class ComeBack(Enum):
    """What the end of a socket asks of the phone."""

    NO = "no"
    NOW = "now"
    LATER = "later"


# ---- events


@dataclass(frozen=True, slots=True)
class Start:
    """The phone wants to be connected from now on."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The cloud has acknowledged the socket."""

    socket: Generation
    same_room: bool
    """The place in the room that the phone may hold is still the right one."""
    answers: bool = False
    """The cloud says that it answers pings; False: that remains to be seen."""


@dataclass(frozen=True, slots=True)
class SocketFailed:
    """The attempt ended without a socket."""

    socket: Generation
    final: bool
    """True: trying again does not help."""
    reason: str
    """For people; for a final one, what to do."""


@dataclass(frozen=True, slots=True)
class SocketClosed:
    """A socket that was open is gone; may come late."""

    socket: Generation
    come_back: ComeBack
    reason: str


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """The cloud said something. Owners may leave out what is no answer."""

    socket: Generation
    echo: int | None = None
    """It answers the ping of this number."""


@dataclass(frozen=True, slots=True)
class NetworkChanged:
    """Another network, or the network is back: open connections may be dead, failed ones may work now."""


@dataclass(frozen=True, slots=True)
class NetworkLost:
    """There is no network until NetworkChanged."""


@dataclass(frozen=True, slots=True)
class Woke:
    """This process has stalled."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Switch:
    """From now on another cloud is the right one."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The phone goes."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline has come."""


Event = (
    Start
    | Accepted
    | SocketFailed
    | SocketClosed
    | MessageReceived
    | NetworkChanged
    | NetworkLost
    | Woke
    | Switch
    | Stop
    | Tick
)
EVENTS: Final = Event.__args__

# ---- effects


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """Connect to the cloud that is the right one now."""

    socket: Generation


@dataclass(frozen=True, slots=True)
class CloseSocket:
    """Give up this attempt or socket."""

    socket: Generation
    goodbye: bool
    """False: the path is dead or in doubt, nothing is waited for."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Ask the cloud for a sign of life; the answer carries the number."""

    socket: Generation
    number: int


@dataclass(frozen=True, slots=True)
class Hint:
    """Tell the cloud that it is worth trying again now: the phone's network changed, or its place is a new one."""

    socket: Generation


Effect = OpenSocket | CloseSocket | Ping | Hint


class PhoneSocket:
    """The machine of one phone's socket; begins IDLE. `chance` gives numbers in [0, 1)."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self.state = SocketState.IDLE
        self.generation = Generation(0)
        """Of the attempt or socket that counts."""
        self.kept: Generation | None = None
        """The socket that fell silent and may answer yet; None: there is none."""
        self.trouble = ""
        """Why there is no socket, for people; empty while none was lost or failed. In ENDED: why it is over."""
        self.dead_since: float | None = None
        """When the path of the last socket was dead at the latest, if it ended without a close; None otherwise."""
        self.was_here = False
        """The socket that `trouble` tells of was acknowledged: it was lost, not sought in vain."""
        self.retry_at: float | None = None
        """When the next attempt is due; None unless WAITING."""
        self.records: list[Record[SocketState]] = []
        self.stale: Counter[str] = Counter()
        """What older sockets still said, by name."""
        self._chance = chance
        self._backoff = Backoff(LADDER, chance)
        self._begun_at = 0.0
        self._attempts = 0
        self._give_up_at: float | None = None
        """Until when the attempt, or the probe, must have succeeded."""
        self._since = 0.0
        self._ping_at: float | None = None
        self._pings = 0
        self._probe = 0
        """The number of the first ping that was sent after the doubt arose."""
        self._asked: deque[tuple[int, float]] = deque()
        """Pings without an answer: (number, at). The oldest one's deadline ends the socket, so they are few."""
        self._round_trip = 0.0
        self._proven_at: float | None = None
        """When that was sent which a cloud answered last."""
        self._answered_at = 0.0
        self._answers = False
        self._newest = Generation(0)
        self._rivalled_until = -inf
        """Until then the cloud may yet take an attempt that was given up for the socket that counts."""

    def lag(self, now: float) -> float:
        """Seconds since that was sent which a cloud answered last; 0 where it answers no pings."""
        return 0.0 if self._proven_at is None else now - self._proven_at

    def step(self, event: Event, now: float) -> list[Effect]:
        """Decides; `now` is monotonic seconds, on a clock that goes on in sleep."""
        if getattr(event, "socket", self.generation) not in (self.generation, self.kept):
            self.stale[type(event).__name__] += 1
            return []
        cell = TABLE[self.state, type(event)]
        effects: list[Effect] = [] if isinstance(cell, Ignored) else cell.by(self, event, now)
        if self.kept is not None and (self.state.here or self.state.final or isinstance(event, _PARTS)):
            effects.insert(0, CloseSocket(self.kept, goodbye=False))
            self.kept = None
        return effects

    def next_deadline(self) -> float | None:
        due = (self.retry_at, self._give_up_at, self._ping_at, self._silent_at)
        return min((at for at in due if at is not None), default=None)

    @property
    def _silent_at(self) -> float | None:
        """When the oldest ping without an answer makes the socket a dead one."""
        if not (self.state.here and self._answers and self._asked):
            return None
        return self._asked[0][1] + SILENCE + self._round_trip

    def _go(self, state: SocketState, event: Event, now: float, cause: str = "") -> None:
        self.records.append(
            Record("phone_socket", self.state, type(event).__name__, state, now, self.generation, cause)
        )
        self.state = state
        self.retry_at = self._give_up_at = None
        if not state.here:
            self._ping_at = None
            self._asked.clear()

    # ---- attempts

    def _open(self, event: Event, now: float, cause: str = "") -> list[Effect]:
        self.generation = self._newest = Generation(self._newest + 1)
        self._go(SocketState.OPENING, event, now, cause)
        self._begun_at = now
        self._give_up_at = now + PATIENCE[self._attempts % len(PATIENCE)] + ROUND_TRIPS * self._round_trip
        self._attempts += 1
        self._answers = False
        return [OpenSocket(self.generation)]

    def _open_first(self, event: Event, now: float, cause: str = "") -> list[Effect]:
        """An attempt that does not wait, and from which the ladder counts anew."""
        self._backoff.reset()
        self._attempts = 0
        self._backoff.next_delay()
        return self._open(event, now, cause)

    def _open_anew(self, event: Event, now: float, cause: str) -> list[Effect]:
        """In place of the socket or attempt that there is, which is in doubt."""
        return [CloseSocket(self.generation, goodbye=False), *self._open_first(event, now, cause)]

    def _start(self, event: Start, now: float) -> list[Effect]:
        return self._open_first(event, now)

    def _accepted(self, event: Accepted, now: float) -> list[Effect]:
        if event.socket == self.kept:
            return self._revive(event, now)
        self._go(SocketState.READY, event, now)
        self.trouble, self.was_here, self._rivalled_until = "", True, -inf
        self._answers = event.answers
        self._round_trip = min(self._round_trip, now - self._begun_at)  # it took one at least
        self._since = self._answered_at = now
        self._proven_at = self._begun_at if event.answers else None
        return self._ping(now)

    def _failed(self, event: SocketFailed, now: float) -> list[Effect]:
        self.trouble = event.reason
        if event.final:
            self._go(SocketState.ENDED, event, now, event.reason)
            return []
        self.was_here = False
        return self._try_later(event, now)

    def _try_later(self, event: Event, now: float) -> list[Effect]:
        due = self._begun_at + self._backoff.next_delay()
        if due <= now:
            return self._open(event, now, self.trouble)
        self._go(SocketState.WAITING, event, now, self.trouble)
        self.retry_at = due
        return []

    def _closed(self, event: SocketClosed, now: float) -> list[Effect]:
        if event.socket == self.kept:
            return self._part(event, now)
        self.dead_since = None
        self.trouble = event.reason
        if event.come_back is ComeBack.NO and now >= self._rivalled_until:
            self._go(SocketState.ENDED, event, now, event.reason)
            return []
        if event.come_back is not ComeBack.LATER:
            self._backoff.reset()
            self._go(SocketState.WAITING, event, now, event.reason)
            self.retry_at = now + SPREAD * self._chance()
            return []
        return self._lose(event, now)

    def _lose(self, event: Event, now: float) -> list[Effect]:
        """The socket is gone: at once a new one, if this one had settled."""
        if self.state.here and now - self._since >= SETTLED:
            self._backoff.reset()
            self._attempts = 0
        self._begun_at = now
        return self._try_later(event, now)

    # ---- is it alive

    def _ping(self, now: float) -> list[Effect]:
        self._pings += 1
        self._asked.append((self._pings, now))
        if len(self._asked) > MOST_ASKED:
            self._asked.popleft()
        self._ping_at = now + PING_EVERY
        return [Ping(self.generation, self._pings)]

    def _hear(self, event: MessageReceived, now: float) -> list[Effect]:
        if event.echo is None:
            return []
        self._answers = True
        self._answered_at = now
        while self._asked and self._asked[0][0] <= event.echo:
            number, at = self._asked.popleft()
            if number == event.echo:
                self._proven_at = at
                self._round_trip = min(max(now - at, FORGETTING * self._round_trip), LONGEST_TRIP)
        if self.state is SocketState.DOUBTFUL and event.echo >= self._probe:
            self._go(SocketState.READY, event, now)
        return []

    def _woke(self, event: Woke, now: float) -> list[Effect]:
        if not self._answers and event.seconds < ASLEEP:
            return []
        return self._doubt(event, now, f"stood still for {event.seconds:.1f} s")

    def _doubt(self, event: Event, now: float, cause: str) -> list[Effect]:
        if not self._answers:
            return self._open_anew(event, now, cause)
        self._go(SocketState.DOUBTFUL, event, now, cause)
        self._give_up_at = now + PROBE + self._round_trip
        self._answered_at = now
        self._asked.clear()  # a doubtful socket is judged by the probe alone
        self._probe = self._pings + 1
        return self._ping(now)

    def _tick(self, event: Tick, now: float) -> list[Effect]:
        if self._give_up_at is not None and now >= self._give_up_at:
            return self._give_up(event, now, "no answer in time")
        if self._silent_at is not None and now >= self._silent_at:
            return self._give_up(event, now, "the cloud does not answer")
        if self._ping_at is not None and now >= self._ping_at:
            return self._ping(now)
        return []

    def _give_up(self, event: Tick, now: float, why: str) -> list[Effect]:
        self.trouble = why
        dead = CloseSocket(self.generation, goodbye=False)
        if self.state is SocketState.READY:
            self.dead_since, self.kept = now, self.generation
            return self._lose(event, now)
        if self.state.here:
            self.dead_since = self._answered_at
            return [dead, *self._lose(event, now)]
        self.was_here = False
        return [dead, *self._try_later(event, now)]

    def _revive(self, event: MessageReceived | Accepted, now: float) -> list[Effect]:
        """The socket that fell silent answers: its way has become long. The attempt comes too late."""
        if event.socket != self.kept or (isinstance(event, MessageReceived) and event.echo is None):
            return []
        given_up = self.state is SocketState.OPENING
        attempt, self.generation, self.kept = self.generation, self.kept, None
        self._go(SocketState.READY, event, now, "it answers after all")
        self.trouble, self.was_here, self.dead_since = "", True, None
        self._rivalled_until = now + REACHES if self._newest > self.generation else -inf
        self._answers, self._answered_at, self._round_trip = True, now, LONGEST_TRIP
        return [*([CloseSocket(attempt, goodbye=False)] if given_up else []), *self._ping(now)]

    def _part(self, event: SocketClosed, _now: float) -> list[Effect]:
        """The socket that fell silent is gone."""
        if event.socket == self.kept:
            self.kept = None
        return []

    def _retry(self, event: Tick, now: float) -> list[Effect]:
        if self.retry_at is None or now < self.retry_at:
            return []
        return self._open(event, now)

    # ---- what the owner says

    def _restart(self, event: NetworkChanged, now: float) -> list[Effect]:
        if self.state.here:
            self.trouble = "the network changed"
        return self._open_anew(event, now, "the network changed")

    def _hasten(self, event: NetworkChanged, now: float) -> list[Effect]:
        return self._open_first(event, now, "the network changed")

    def _lose_network(self, event: NetworkLost, now: float) -> list[Effect]:
        had = self.state.here or self.state is SocketState.OPENING
        self._go(SocketState.OFFLINE, event, now)
        self.trouble = ""
        return [CloseSocket(self.generation, goodbye=False)] if had else []

    def _switch(self, event: Switch, now: float) -> list[Effect]:
        self.trouble = ""
        had = self.state.here or self.state is SocketState.OPENING
        former = [CloseSocket(self.generation, goodbye=True)] if had else []
        return [*former, *self._open_first(event, now, "switched")]

    def _stop(self, event: Stop, now: float) -> list[Effect]:
        had = self.state.here or self.state is SocketState.OPENING
        self._go(SocketState.ENDED, event, now)
        self.trouble = ""
        return [CloseSocket(self.generation, goodbye=True)] if had else []


_S = SocketState
_PARTS: Final = (NetworkChanged, NetworkLost, Switch, Stop)
"""Open connections are of no use after these."""
_NOT_STARTED = Ignored("nothing was started")
_OVER = Ignored("it is over")
_NONE_OPEN = Ignored("no socket is open: this one was given up")
_FRESH = Ignored("an attempt has a deadline of its own")
_NO_TIMER = Ignored("no timer runs here: it was late")
TABLE: Final[dict[tuple[SocketState, type], Cell[SocketState] | Ignored]] = {
    (_S.IDLE, Start): Cell(PhoneSocket._start, (_S.OPENING,)),
    (_S.IDLE, Accepted): _NOT_STARTED,
    (_S.IDLE, SocketFailed): _NOT_STARTED,
    (_S.IDLE, SocketClosed): _NOT_STARTED,
    (_S.IDLE, MessageReceived): _NOT_STARTED,
    (_S.IDLE, NetworkChanged): _NOT_STARTED,
    (_S.IDLE, NetworkLost): _NOT_STARTED,
    (_S.IDLE, Woke): _NOT_STARTED,
    (_S.IDLE, Switch): _NOT_STARTED,
    (_S.IDLE, Stop): Cell(PhoneSocket._stop, (_S.ENDED,)),
    (_S.IDLE, Tick): _NO_TIMER,
    (_S.OPENING, Start): Ignored("it is started once"),
    (_S.OPENING, Accepted): Cell(PhoneSocket._accepted, (_S.READY,)),
    (_S.OPENING, SocketFailed): Cell(PhoneSocket._failed, (_S.WAITING, _S.OPENING, _S.ENDED)),
    (_S.OPENING, SocketClosed): Cell(PhoneSocket._closed, (_S.WAITING, _S.OPENING, _S.ENDED)),
    (_S.OPENING, MessageReceived): Cell(PhoneSocket._revive, (_S.OPENING, _S.READY)),
    (_S.OPENING, NetworkChanged): Cell(PhoneSocket._restart, (_S.OPENING,)),
    (_S.OPENING, NetworkLost): Cell(PhoneSocket._lose_network, (_S.OFFLINE,)),
    (_S.OPENING, Woke): _FRESH,
    (_S.OPENING, Switch): Cell(PhoneSocket._switch, (_S.OPENING,)),
    (_S.OPENING, Stop): Cell(PhoneSocket._stop, (_S.ENDED,)),
    (_S.OPENING, Tick): Cell(PhoneSocket._tick, (_S.OPENING, _S.WAITING)),
    (_S.READY, Start): Ignored("it is started once"),
    (_S.READY, Accepted): Ignored("it is acknowledged once"),
    (_S.READY, SocketFailed): Ignored("this attempt has succeeded"),
    (_S.READY, SocketClosed): Cell(PhoneSocket._closed, (_S.WAITING, _S.OPENING, _S.ENDED)),
    (_S.READY, MessageReceived): Cell(PhoneSocket._hear, (_S.READY,)),
    (_S.READY, NetworkChanged): Cell(PhoneSocket._restart, (_S.OPENING,)),
    (_S.READY, NetworkLost): Cell(PhoneSocket._lose_network, (_S.OFFLINE,)),
    (_S.READY, Woke): Cell(PhoneSocket._woke, (_S.READY, _S.DOUBTFUL, _S.OPENING)),
    (_S.READY, Switch): Cell(PhoneSocket._switch, (_S.OPENING,)),
    (_S.READY, Stop): Cell(PhoneSocket._stop, (_S.ENDED,)),
    (_S.READY, Tick): Cell(PhoneSocket._tick, (_S.READY, _S.OPENING, _S.WAITING)),
    (_S.DOUBTFUL, Start): Ignored("it is started once"),
    (_S.DOUBTFUL, Accepted): Ignored("it is acknowledged once"),
    (_S.DOUBTFUL, SocketFailed): Ignored("this attempt has succeeded"),
    (_S.DOUBTFUL, SocketClosed): Cell(PhoneSocket._closed, (_S.WAITING, _S.OPENING, _S.ENDED)),
    (_S.DOUBTFUL, MessageReceived): Cell(PhoneSocket._hear, (_S.DOUBTFUL, _S.READY)),
    (_S.DOUBTFUL, NetworkChanged): Cell(PhoneSocket._restart, (_S.OPENING,)),
    (_S.DOUBTFUL, NetworkLost): Cell(PhoneSocket._lose_network, (_S.OFFLINE,)),
    (_S.DOUBTFUL, Woke): Cell(PhoneSocket._woke, (_S.DOUBTFUL,)),
    (_S.DOUBTFUL, Switch): Cell(PhoneSocket._switch, (_S.OPENING,)),
    (_S.DOUBTFUL, Stop): Cell(PhoneSocket._stop, (_S.ENDED,)),
    (_S.DOUBTFUL, Tick): Cell(PhoneSocket._tick, (_S.DOUBTFUL, _S.OPENING, _S.WAITING)),
    (_S.WAITING, Start): Ignored("it is started once"),
    (_S.WAITING, Accepted): Cell(PhoneSocket._revive, (_S.WAITING, _S.READY)),
    (_S.WAITING, SocketFailed): _NONE_OPEN,
    (_S.WAITING, SocketClosed): Cell(PhoneSocket._part, (_S.WAITING,)),
    (_S.WAITING, MessageReceived): Cell(PhoneSocket._revive, (_S.WAITING, _S.READY)),
    (_S.WAITING, NetworkChanged): Cell(PhoneSocket._hasten, (_S.OPENING,)),
    (_S.WAITING, NetworkLost): Cell(PhoneSocket._lose_network, (_S.OFFLINE,)),
    (_S.WAITING, Woke): Ignored("nothing is open that could have died"),
    (_S.WAITING, Switch): Cell(PhoneSocket._switch, (_S.OPENING,)),
    (_S.WAITING, Stop): Cell(PhoneSocket._stop, (_S.ENDED,)),
    (_S.WAITING, Tick): Cell(PhoneSocket._retry, (_S.WAITING, _S.OPENING)),
    (_S.OFFLINE, Start): Ignored("it is started once"),
    (_S.OFFLINE, Accepted): _NONE_OPEN,
    (_S.OFFLINE, SocketFailed): _NONE_OPEN,
    (_S.OFFLINE, SocketClosed): _NONE_OPEN,
    (_S.OFFLINE, MessageReceived): _NONE_OPEN,
    (_S.OFFLINE, NetworkChanged): Cell(PhoneSocket._hasten, (_S.OPENING,)),
    (_S.OFFLINE, NetworkLost): Ignored("it is known"),
    (_S.OFFLINE, Woke): Ignored("nothing is open that could have died"),
    (_S.OFFLINE, Switch): Ignored("without a network nothing is tried; the new cloud is the right one afterwards"),
    (_S.OFFLINE, Stop): Cell(PhoneSocket._stop, (_S.ENDED,)),
    (_S.OFFLINE, Tick): _NO_TIMER,
    (_S.ENDED, Start): _OVER,
    (_S.ENDED, Accepted): _OVER,
    (_S.ENDED, SocketFailed): _OVER,
    (_S.ENDED, SocketClosed): _OVER,
    (_S.ENDED, MessageReceived): _OVER,
    (_S.ENDED, NetworkChanged): _OVER,
    (_S.ENDED, NetworkLost): _OVER,
    (_S.ENDED, Woke): _OVER,
    (_S.ENDED, Switch): _OVER,
    (_S.ENDED, Stop): _OVER,
    (_S.ENDED, Tick): _OVER,
}
