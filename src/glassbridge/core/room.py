"""The room of one user on a bridge: which join holds the place, and which audio stream belongs to it.

Rules
- The newest join always wins. It replaces a joined room, a join in flight and a lost room alike; only a join that names
  an older generation than the current one is refused.
- At most one place is current. Events of an older place (connected, failed, lost, end of its stream, caller gave up)
  carry its number; they are counted as stale and change nothing.
- At most one stream belongs to the place: the newest. A place whose stream has ended is left. A place that no stream
  claims is left after UNCLAIMED seconds, so that a cloud that died between join and stream leaves no zombie.
- After the loss of a fenced join (one with a generation) the bridge does not rejoin: the cloud decides that
  (core/audio_link.py). The reason is told to the stream, or kept for UNCLAIMED seconds for a late stream.
- The exception: after the loss of an unfenced join the bridge rejoins by itself, for at most `rejoin` seconds, if
  LiveKit or the network failed. The stream stays open meanwhile. Clouds of the original send no generation and join
  again only once; their own bridge does the same. The bridge never rejoins for a reason that hints at a new owner
  (superseded, frozen, removed), nor after LiveKit was silent for DOUBTFUL seconds: if only this bridge was cut off,
  another one may hold the user by now, and nothing would say so. If LiveKit refuses, it is down for every bridge, so
  no other bridge took the user meanwhile.

It does not know LiveKit, gRPC, tasks or clocks. Joins, streams and requests are told apart by numbers that the owner
draws from one counter.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NewType

from glassbridge.core.backoff import Backoff, Ladder
from glassbridge.core.machine import Cell, Ignored, Record
from glassbridge.core.values import Generation, LossReason

Ticket = NewType("Ticket", int)
"""Number of a join (and of the place that it gives), of a stream, or of a request that waits for an answer."""

NOBODY: Final = Ticket(0)

UNCLAIMED: Final = 10.0
"""Seconds that a joined place, or the news of a lost one, waits for a stream."""
REJOIN: Final = 30.0
"""Seconds after the loss of an unfenced place in which it is joined again."""
DOUBTFUL: Final = 7.0
"""Seconds of silence of LiveKit after which an unfenced place is not joined again."""
DOWN: Final = frozenset({LossReason.SERVER_SHUTDOWN, LossReason.UNREACHABLE})
"""LiveKit is down for everybody."""
REJOIN_LADDER: Final = Ladder(base=0.5, cap=3.0)
SETTLED: Final = 10.0
"""Seconds that a place must last before its loss is answered at once again."""
REPAIRABLE: Final = frozenset(
    {
        LossReason.NETWORK,
        LossReason.SERVER_SHUTDOWN,
        LossReason.UNREACHABLE,
        LossReason.MEDIA_FAILED,
        LossReason.TIMED_OUT,
    }
)
"""Losses after which an unfenced place is joined again."""


class RoomState(Enum):
    """`holds_place` says whether we are in the LiveKit room, as far as we know."""

    CLOSED = ("closed", False)
    JOINING = ("joining", False)
    JOINED = ("joined", True)
    LOST = ("lost", False)
    REJOINING = ("rejoining", False)

    def __init__(self, label: str, holds_place: bool) -> None:
        self.label = label
        self.holds_place = holds_place


# ---- events


@dataclass(frozen=True, slots=True)
class Join:
    """The cloud wants us in the room."""

    ticket: Ticket
    generation: Generation


@dataclass(frozen=True, slots=True)
class Connected:
    """The join under way has its place."""

    place: Ticket


@dataclass(frozen=True, slots=True)
class Failed:
    """The join under way got none."""

    place: Ticket
    reason: LossReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The caller of the join does not wait for it any more."""

    place: Ticket


@dataclass(frozen=True, slots=True)
class Lost:
    """The place is gone."""

    place: Ticket
    reason: LossReason
    unheard: float = 0.0
    """Seconds before for which nothing came from LiveKit."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The cloud wants us out."""

    ticket: Ticket
    generation: Generation
    """Only if this is the current join; 0: whatever is there."""


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The cloud opened an audio stream."""

    ticket: Ticket
    generation: Generation
    """Only for this join; 0: whatever is there."""


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """An audio stream is over, whichever side ended it."""

    stream: Ticket


@dataclass(frozen=True, slots=True)
class HandOver:
    """The bridge is about to stop: the cloud should take the user elsewhere before that."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The bridge stops."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline has come."""


Event = Join | Connected | Failed | GaveUp | Lost | Leave | StreamOpened | StreamEnded | HandOver | Shutdown | Tick
EVENTS: Final = (Join, Connected, Failed, GaveUp, Lost, Leave, StreamOpened, StreamEnded, HandOver, Shutdown, Tick)


# ---- effects


@dataclass(frozen=True, slots=True)
class Connect:
    """Join the LiveKit room and report Connected or Failed."""

    place: Ticket


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Leave the place, or call off the join under way."""

    place: Ticket
    reason: LossReason


@dataclass(frozen=True, slots=True)
class Grant:
    """Answer the join, leave or stream with yes."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer it with no; `reason` None means that there is nothing here that it could mean."""

    ticket: Ticket
    reason: LossReason | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AnnounceLeaving:
    """Tell the stream that this place is about to be given up for good."""

    stream: Ticket


@dataclass(frozen=True, slots=True)
class MoveStream:
    """The place was joined again: the open stream belongs to it now."""

    stream: Ticket


@dataclass(frozen=True, slots=True)
class EndStream:
    """End the audio stream and say why."""

    stream: Ticket
    reason: LossReason


@dataclass(frozen=True, slots=True)
class Forget:
    """Nothing is left: the owner may drop this machine."""


Effect = Connect | Disconnect | Grant | Refuse | AnnounceLeaving | MoveStream | EndStream | Forget


class Room:
    """The machine; see the rules above. A step never waits: its effects are begun at once and report back as events."""

    def __init__(
        self, unclaimed: float = UNCLAIMED, rejoin: float = REJOIN, chance: Callable[[], float] = lambda: 1.0
    ) -> None:
        """`chance` gives numbers in [0, 1]: the part of each wait that is waited."""
        self._unclaimed = unclaimed
        self._rejoin = rejoin
        self._backoff = Backoff(REJOIN_LADDER, chance)
        self._joined_at = 0.0
        self._gives_up_at = 0.0
        """End of the budget for joining again."""
        self._silent_since = 0.0
        """When LiveKit last said anything, or refused."""
        self._loss = LossReason.NETWORK
        """Why the place that is joined again was lost."""
        self._deadline: float | None = None
        self.state = RoomState.CLOSED
        self.generation = Generation(0)
        """Of the current join; 0: none, or it is not fenced."""
        self.place = NOBODY
        self.stream = NOBODY
        self.reason: LossReason | None = None
        """Why the last place ended; None while one is held or sought."""
        self.stale = Counter[str]()
        """Events that came from a place or stream of the past, by name."""
        self.records: list[Record[RoomState]] = []

    def step(self, event: Event, now: float) -> list[Effect]:
        """Decides; `now` in monotonic seconds."""
        if self._is_stale(event):
            self.stale[type(event).__name__] += 1
            return []
        cell = TABLE[self.state, type(event)]
        return [] if isinstance(cell, Ignored) else cell.by(self, event, now)

    def next_deadline(self) -> float | None:
        """Monotonic seconds at which step(Tick(), now) is due."""
        return self._deadline

    def _is_stale(self, event: Event) -> bool:
        match event:
            case Connected(place) | GaveUp(place) | Failed(place) | Lost(place):
                return place != self.place
            case StreamEnded(stream):
                return stream != self.stream
        return False

    def _go(self, state: RoomState, event: Event, now: float, reason: LossReason | None = None) -> None:
        cause = reason.code if reason else ""
        self.records.append(
            Record("room", self.state, type(event).__name__, state, now, self.generation, cause),
        )
        self.state = state
        self.reason = reason
        waits_for_stream = state in (RoomState.JOINED, RoomState.LOST)
        self._deadline = now + self._unclaimed if waits_for_stream else None

    def _close(self, event: Event, now: float, reason: LossReason) -> list[Effect]:
        effects: list[Effect] = [Disconnect(self.place, reason)] if self.state is not RoomState.LOST else []
        self._go(RoomState.CLOSED, event, now, reason)
        self.place = self.stream = NOBODY
        self.generation = Generation(0)
        return [*effects, Forget()]

    # ---- transitions

    def _begin(self, event: Join, now: float) -> list[Effect]:
        self.place, self.generation, self.stream = event.ticket, event.generation, NOBODY
        self._go(RoomState.JOINING, event, now)
        return [Connect(event.ticket)]

    def _replace(self, event: Join, now: float) -> list[Effect]:
        if 0 < event.generation < self.generation:
            detail = f"generation {event.generation} is older than the current one, {self.generation}"
            return [Refuse(event.ticket, LossReason.REPLACED, detail)]
        effects: list[Effect] = []
        if self.stream:
            effects.append(EndStream(self.stream, self.reason or LossReason.REPLACED))
        if self.state is RoomState.JOINING:
            effects.append(Refuse(self.place, LossReason.REPLACED))
        if self.state is not RoomState.LOST:
            effects.append(Disconnect(self.place, LossReason.REPLACED))
        return effects + self._begin(event, now)

    def _connected(self, event: Connected, now: float) -> list[Effect]:
        self._go(RoomState.JOINED, event, now)
        self._joined_at = now
        return [Grant(event.place)]

    def _failed(self, event: Failed | Lost, now: float) -> list[Effect]:
        detail = event.detail if isinstance(event, Failed) else ""
        return [Refuse(self.place, event.reason, detail), *self._close(event, now, event.reason)]

    def _gave_up(self, event: GaveUp, now: float) -> list[Effect]:
        # A stream proves that the answer arrived after all.
        return self._close(event, now, LossReason.CLOSED) if not self.stream else []

    def _lost(self, event: Lost, now: float) -> list[Effect]:
        if self.stream and not self.generation and self._rejoin > 0 and event.reason in REPAIRABLE:
            return self._begin_again(event, now)
        effects: list[Effect] = [Disconnect(self.place, event.reason)]
        if self.stream:
            effects.append(EndStream(self.stream, event.reason))
        self._go(RoomState.LOST, event, now, event.reason)
        return effects

    # ---- joining again

    def _begin_again(self, event: Lost, now: float) -> list[Effect]:
        if now - self._joined_at >= SETTLED:
            self._backoff.reset()
        self._loss = event.reason
        self._gives_up_at = now + self._rejoin
        self._silent_since = now - event.unheard
        self._go(RoomState.REJOINING, event, now)
        self._deadline = now + self._backoff.next_delay()
        return [Disconnect(self.place, event.reason)]

    def _try_again(self, event: Tick, now: float) -> list[Effect]:
        if self._deadline is None or now < self._deadline:
            return []
        if now >= self._last_moment():
            return self._give_up(event, now, self._loss)
        self._deadline = self._last_moment()
        return [Connect(self.place)]

    def _last_moment(self) -> float:
        return min(self._gives_up_at, self._silent_since + DOUBTFUL)

    def _not_yet(self, event: Failed | Lost, now: float) -> list[Effect]:
        if event.reason not in REPAIRABLE:
            return self._give_up(event, now, event.reason)
        if event.reason in DOWN:
            self._silent_since = now
        self._deadline = min(now + self._backoff.next_delay(), self._last_moment())
        return [Disconnect(self.place, event.reason)]

    def _back(self, event: Connected, now: float) -> list[Effect]:
        self._connected(event, now)
        self._deadline = None
        return [MoveStream(self.stream)]

    def _give_up(self, event: Event, now: float, reason: LossReason) -> list[Effect]:
        return [EndStream(self.stream, reason), *self._close(event, now, reason)]

    def _not_here_now(self, event: StreamOpened, _now: float) -> list[Effect]:
        return [Refuse(event.ticket, self._loss)]

    def _nothing_to_leave(self, event: Leave, _now: float) -> list[Effect]:
        return [Refuse(event.ticket, None, "session not found")]

    def _leave(self, event: Leave, now: float) -> list[Effect]:
        if event.generation not in (0, self.generation):
            detail = f"generation {event.generation} is not the current one, {self.generation}"
            return [Refuse(event.ticket, LossReason.REPLACED, detail)]
        effects: list[Effect] = [Grant(event.ticket)]
        if self.state is RoomState.JOINING:
            effects.append(Refuse(self.place, LossReason.CLOSED, "left while joining"))
        if self.stream:
            effects.append(EndStream(self.stream, self.reason or LossReason.CLOSED))
        return effects + self._close(event, now, self.reason or LossReason.CLOSED)

    def _nothing_to_hear(self, event: StreamOpened, _now: float) -> list[Effect]:
        return [Refuse(event.ticket, None, "session not found: JoinRoom comes first")]

    def _open_stream(self, event: StreamOpened, _now: float) -> list[Effect]:
        if event.generation not in (0, self.generation):
            detail = f"generation {event.generation} is not the current one, {self.generation}"
            return [Refuse(event.ticket, None, detail)]
        if self.reason is not None:
            return [Refuse(event.ticket, self.reason)]
        older, self.stream = self.stream, event.ticket
        self._deadline = None
        ended: list[Effect] = [EndStream(older, LossReason.REPLACED)] if older else []
        return [*ended, Grant(event.ticket)]

    def _end_stream(self, event: StreamEnded, now: float) -> list[Effect]:
        return self._close(event, now, self.reason or LossReason.STREAM_BROKEN)

    def _hand_over(self, event: HandOver, now: float) -> list[Effect]:
        return [AnnounceLeaving(self.stream)] if self.stream else self._shut_down(event, now)

    def _shut_down(self, event: HandOver | Shutdown, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if self.state is RoomState.JOINING:
            effects.append(Refuse(self.place, LossReason.CLOSED, "the bridge is shutting down"))
        if self.stream:
            effects.append(EndStream(self.stream, self.reason or LossReason.CLOSED))
        return effects + self._close(event, now, self.reason or LossReason.CLOSED)

    def _tick(self, event: Tick, now: float) -> list[Effect]:
        if self._deadline is None or now < self._deadline:
            return []
        return self._close(event, now, self.reason or LossReason.STREAM_BROKEN)


_S = RoomState
_NOTHING_HERE = Ignored("nothing is here")
_NO_TIMER = Ignored("no deadline is set in this state")
_NO_STREAM = Ignored("no stream belongs to a place that is still sought")
_ANSWERED = Ignored("this join was answered already")

TABLE: Final[dict[tuple[RoomState, type], Cell[RoomState] | Ignored]] = {
    (_S.CLOSED, Join): Cell(Room._begin, (_S.JOINING,)),
    (_S.CLOSED, Connected): _NOTHING_HERE,
    (_S.CLOSED, Failed): _NOTHING_HERE,
    (_S.CLOSED, GaveUp): _NOTHING_HERE,
    (_S.CLOSED, Lost): _NOTHING_HERE,
    (_S.CLOSED, Leave): Cell(Room._nothing_to_leave, (_S.CLOSED,)),
    (_S.CLOSED, StreamOpened): Cell(Room._nothing_to_hear, (_S.CLOSED,)),
    (_S.CLOSED, StreamEnded): _NOTHING_HERE,
    (_S.CLOSED, HandOver): _NOTHING_HERE,
    (_S.CLOSED, Shutdown): _NOTHING_HERE,
    (_S.CLOSED, Tick): _NO_TIMER,
    (_S.JOINING, Join): Cell(Room._replace, (_S.JOINING,)),
    (_S.JOINING, Connected): Cell(Room._connected, (_S.JOINED,)),
    (_S.JOINING, Failed): Cell(Room._failed, (_S.CLOSED,)),
    (_S.JOINING, GaveUp): Cell(Room._gave_up, (_S.CLOSED,)),
    (_S.JOINING, Lost): Cell(Room._failed, (_S.CLOSED,)),
    (_S.JOINING, Leave): Cell(Room._leave, (_S.JOINING, _S.CLOSED)),
    (_S.JOINING, StreamOpened): Cell(Room._nothing_to_hear, (_S.JOINING,)),
    (_S.JOINING, StreamEnded): _NO_STREAM,
    (_S.JOINING, HandOver): Cell(Room._shut_down, (_S.CLOSED,)),
    (_S.JOINING, Shutdown): Cell(Room._shut_down, (_S.CLOSED,)),
    (_S.JOINING, Tick): _NO_TIMER,
    (_S.JOINED, Join): Cell(Room._replace, (_S.JOINING, _S.JOINED)),
    (_S.JOINED, Connected): _ANSWERED,
    (_S.JOINED, Failed): _ANSWERED,
    (_S.JOINED, GaveUp): Cell(Room._gave_up, (_S.JOINED, _S.CLOSED)),
    (_S.JOINED, Lost): Cell(Room._lost, (_S.LOST, _S.REJOINING)),
    (_S.JOINED, Leave): Cell(Room._leave, (_S.JOINED, _S.CLOSED)),
    (_S.JOINED, StreamOpened): Cell(Room._open_stream, (_S.JOINED,)),
    (_S.JOINED, StreamEnded): Cell(Room._end_stream, (_S.CLOSED,)),
    (_S.JOINED, HandOver): Cell(Room._hand_over, (_S.JOINED, _S.CLOSED)),
    (_S.JOINED, Shutdown): Cell(Room._shut_down, (_S.CLOSED,)),
    (_S.JOINED, Tick): Cell(Room._tick, (_S.JOINED, _S.CLOSED)),
    (_S.REJOINING, Join): Cell(Room._replace, (_S.JOINING,)),
    (_S.REJOINING, Connected): Cell(Room._back, (_S.JOINED,)),
    (_S.REJOINING, Failed): Cell(Room._not_yet, (_S.REJOINING, _S.CLOSED)),
    (_S.REJOINING, GaveUp): _ANSWERED,
    (_S.REJOINING, Lost): Cell(Room._not_yet, (_S.REJOINING, _S.CLOSED)),
    (_S.REJOINING, Leave): Cell(Room._leave, (_S.REJOINING, _S.CLOSED)),
    (_S.REJOINING, StreamOpened): Cell(Room._not_here_now, (_S.REJOINING,)),
    (_S.REJOINING, StreamEnded): Cell(Room._end_stream, (_S.CLOSED,)),
    (_S.REJOINING, HandOver): Cell(Room._shut_down, (_S.CLOSED,)),
    (_S.REJOINING, Shutdown): Cell(Room._shut_down, (_S.CLOSED,)),
    (_S.REJOINING, Tick): Cell(Room._try_again, (_S.REJOINING, _S.CLOSED)),
    (_S.LOST, Join): Cell(Room._replace, (_S.JOINING, _S.LOST)),
    (_S.LOST, Connected): _ANSWERED,
    (_S.LOST, Failed): _ANSWERED,
    (_S.LOST, GaveUp): Cell(Room._gave_up, (_S.LOST, _S.CLOSED)),
    (_S.LOST, Lost): Ignored("lost already; the first reason stands"),
    (_S.LOST, Leave): Cell(Room._leave, (_S.LOST, _S.CLOSED)),
    (_S.LOST, StreamOpened): Cell(Room._open_stream, (_S.LOST,)),
    (_S.LOST, StreamEnded): Cell(Room._end_stream, (_S.CLOSED,)),
    (_S.LOST, HandOver): Cell(Room._shut_down, (_S.CLOSED,)),
    (_S.LOST, Shutdown): Cell(Room._shut_down, (_S.CLOSED,)),
    (_S.LOST, Tick): Cell(Room._tick, (_S.LOST, _S.CLOSED)),
}
