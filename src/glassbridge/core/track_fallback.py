"""By which way a phone that publishes a track sends its audio: by the track, or numbered by its socket.

Rules
- It begins by the socket: there is no track yet. The track carries once the cloud hears silence on it, so that no word
  is lost while it subscribes, and has acknowledged what went by the socket, all but BEHIND seconds: sound of a track
  takes longer than that.
- Without the room, audio is numbered at once. What the track carried last and the cloud did not hear goes first. So
  what is said waits until the cloud has told how far it heard. It is asked SETTLED seconds after the end of the track:
  what was on its way has come by then. If nothing went by the track, nothing waits.
- While the track is written, the cloud is asked whether it hears it. A track of which nothing was heard for UNHEARD
  seconds is dead, whatever its room says: audio is numbered at once. Nothing waits: nothing is on its way any more.
- A room that is away for ALONE seconds is told to the owner. From then on the socket proves the way of a silent phone,
  too, so that the cloud can say `live`.

It does not know rooms, sockets, samples or clocks; time is an argument, monotonic seconds.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from glassbridge.core.machine import Cell, Ignored, Record
from glassbridge.core.values import Generation

BEHIND: Final = 0.2
SETTLED: Final = 0.3
ASK_EVERY: Final = 0.5
"""Seconds until the cloud is asked once more."""
ALONE: Final = 1.5
LATELY: Final = 0.3
"""Seconds, and a round trip, since the cloud heard the track, within which it hears it."""
PROVE_EVERY: Final = 0.2
"""Seconds until it is asked again whether it does."""
UNHEARD: Final = 1.2
"""Longer than the bursts of loss that a network recovers from by itself."""
WATCH_EVERY: Final = 0.5
"""Seconds until it is asked again whether it still hears a track that is written."""
SOONEST: Final = 0.05
"""The same at least."""


class FallbackState(Enum):
    """Which way carries audio."""

    WAITING = "waiting"
    """The socket, numbered; the room may be there in a moment."""
    SOCKET = "socket"
    """The same, and the owner knows."""
    TRACK = "track"
    ASKING = "asking"
    """Nothing: it is not known yet how far the cloud heard the track."""

    @property
    def label(self) -> str:
        return self.value

    @property
    def by_socket(self) -> bool:
        """What is said goes by the socket."""
        return self in (FallbackState.WAITING, FallbackState.SOCKET)


# ---- events


@dataclass(frozen=True, slots=True)
class RoomLost:
    """There is no place in the room, or the cloud does not listen there."""

    spoke: bool
    """Something went by the track lately."""


@dataclass(frozen=True, slots=True)
class TrackReady:
    """The cloud hears the track."""

    behind: float
    """Seconds of numbered audio that the cloud has not acknowledged."""


@dataclass(frozen=True, slots=True)
class HeardUpTo:
    """The cloud has told how far it heard the track."""

    unheard: float = 0.0
    """Seconds for which the track has been written, and the cloud has heard nothing of it."""

    @property
    def asks_again_in(self) -> float:
        """Seconds until the next question: an answer that decides comes as soon as there can be one."""
        return min(WATCH_EVERY, max(SOONEST, UNHEARD - self.unheard))


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline has come."""


Event = RoomLost | TrackReady | HeardUpTo | Tick
EVENTS: Final = (RoomLost, TrackReady, HeardUpTo, Tick)


# ---- effects


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the cloud how far it heard the track."""


@dataclass(frozen=True, slots=True)
class Replay:
    """Send what the cloud did not hear of the track, and then what waits."""


Effect = Ask | Replay


class TrackFallback:
    """The machine of one phone; begins WAITING."""

    def __init__(self, now: float) -> None:
        self.state = FallbackState.WAITING
        self.records: list[Record[FallbackState]] = []
        self._since = now
        """From when the track carries nothing."""
        self._due: float | None = now + ALONE

    def step(self, event: Event, now: float) -> list[Effect]:
        """Decides; `now` is monotonic seconds."""
        cell = TABLE[self.state, type(event)]
        return [] if isinstance(cell, Ignored) else cell.by(self, event, now)

    def next_deadline(self) -> float | None:
        return self._due

    def _go(self, state: FallbackState, event: Event, now: float, due: float | None = None) -> None:
        self.records.append(Record("track_fallback", self.state, type(event).__name__, state, now, Generation(0)))
        self.state, self._due = state, due

    def _fall_back(self, event: RoomLost, now: float) -> list[Effect]:
        self._since = now
        if event.spoke:
            self._go(FallbackState.ASKING, event, now, now + SETTLED)
        else:
            self._go(FallbackState.WAITING, event, now, now + ALONE)
        return []

    def _doubt(self, event: HeardUpTo, now: float) -> list[Effect]:
        if event.unheard <= UNHEARD:
            return []
        self._since = now - event.unheard
        self._go(FallbackState.WAITING, event, now, max(now, self._since + ALONE))
        return [Replay()]

    def _ask(self, _event: Tick, now: float) -> list[Effect]:
        self._due = now + ASK_EVERY
        return [Ask()]

    def _learn(self, event: HeardUpTo, now: float) -> list[Effect]:
        if now - self._since < SETTLED:
            return []
        if now - self._since < ALONE:
            self._go(FallbackState.WAITING, event, now, self._since + ALONE)
        else:
            self._go(FallbackState.SOCKET, event, now)
        return [Replay()]

    def _stay_away(self, event: Tick, now: float) -> list[Effect]:
        self._go(FallbackState.SOCKET, event, now)
        return []

    def _return(self, event: TrackReady, now: float) -> list[Effect]:
        if event.behind <= BEHIND:
            self._go(FallbackState.TRACK, event, now)
        return []


_S = FallbackState
_BY_SOCKET = Ignored("the socket carries")
_NOTHING_WAITS = Ignored("nothing waits for it")
_NO_TIMER = Ignored("no timer runs here: it was late")
TABLE: Final[dict[tuple[FallbackState, type], Cell[FallbackState] | Ignored]] = {
    (_S.WAITING, RoomLost): _BY_SOCKET,
    (_S.WAITING, TrackReady): Cell(TrackFallback._return, (_S.WAITING, _S.TRACK)),
    (_S.WAITING, HeardUpTo): _NOTHING_WAITS,
    (_S.WAITING, Tick): Cell(TrackFallback._stay_away, (_S.SOCKET,)),
    (_S.SOCKET, RoomLost): _BY_SOCKET,
    (_S.SOCKET, TrackReady): Cell(TrackFallback._return, (_S.SOCKET, _S.TRACK)),
    (_S.SOCKET, HeardUpTo): _NOTHING_WAITS,
    (_S.SOCKET, Tick): _NO_TIMER,
    (_S.TRACK, RoomLost): Cell(TrackFallback._fall_back, (_S.ASKING, _S.WAITING)),
    (_S.TRACK, TrackReady): Ignored("the track carries"),
    (_S.TRACK, HeardUpTo): Cell(TrackFallback._doubt, (_S.TRACK, _S.WAITING)),
    (_S.TRACK, Tick): _NO_TIMER,
    (_S.ASKING, RoomLost): Ignored("it is known"),
    (_S.ASKING, TrackReady): Ignored("what was not heard goes first"),
    (_S.ASKING, HeardUpTo): Cell(TrackFallback._learn, (_S.ASKING, _S.WAITING, _S.SOCKET)),
    (_S.ASKING, Tick): Cell(TrackFallback._ask, (_S.ASKING,)),
}
