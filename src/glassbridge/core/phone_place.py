"""The phone's place in its LiveKit room: when to take one, when to leave it, when to take a fresh one.

Rules
- One place at a time, each with a generation of its own: the next one is taken only when the one before has been left.
  Two places of one phone would fight for its identity.
- A place is sought only while the cloud has acknowledged the phone. When the socket is lost the place is kept: the
  cloud keeps its own for a while too.
- A fresh join with a fresh token is the only repair. It is made at the first suspicion: the place was lost, the network
  changed, this process stalled for FROZEN seconds, the cloud names the phone as the dead hop, or it still hears
  nothing UNHEARD seconds after it said so without naming another. The first one goes at once, later ones wait with
  full jitter under a cap; audio that stayed for SETTLED seconds makes the next one a first one again.
- A new place has UNHEARD seconds to be heard (more on a slow link), whatever the cloud says: its report may still be of
  the former place. The same holds if the way became long, as the socket shows: audio in flight will still arrive.
- While the link is narrow, joins wait NARROW_WAIT seconds and no place is renewed: audio goes by the socket, and a
  join would take the link from it.
- If another participant took the place under the same identity, the phone does not take it back at once. The cloud has
  CONTESTED seconds to say that a newer phone is here: then the socket is closed, and no place is wanted.

It does not know the socket (core/phone_socket.py), tokens, LiveKit, clocks or chance.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from glassbridge.core.backoff import Backoff, Ladder
from glassbridge.core.machine import Cell, Ignored, Record
from glassbridge.core.values import AudioState, Generation, LossReason

LADDER: Final = Ladder(base=0.25, cap=2.0)
PATIENCE: Final = (6.0, 3.0, 10.0)
"""Seconds for a join, in turn (see core/phone_socket.py); the last one for a crowd that all come back at once."""
UNHEARD: Final = 3.0
"""Seconds that a new place has to be heard; twice as long as its join took where that is more: the way for audio is
built after the join, on the same link."""
FROZEN: Final = 5.0
NARROW_WAIT: Final = 20.0
CONTESTED: Final = 0.5
SETTLED: Final = 5.0


class PlaceState(Enum):
    OUT = "out"
    """No place, and none is sought."""
    JOINING = "joining"
    HELD = "held"
    LEAVING = "leaving"
    WAITING = "waiting"
    """Until the next join is due."""

    @property
    def label(self) -> str:
        return self.value


class Blame(Enum):
    """Where audio dies, as far as the cloud has found out."""

    UNKNOWN = "unknown"
    PHONE = "phone"
    ELSEWHERE = "elsewhere"


# ---- events


@dataclass(frozen=True, slots=True)
class Wanted:
    """The cloud has acknowledged the phone."""

    same: bool
    """A place that is held or sought is still the right one."""
    late: bool = False
    """The socket had fallen silent and answers: its way has become long, and so has that of what the place sends."""


@dataclass(frozen=True, slots=True)
class Away:
    """The socket is gone; another one is on its way."""


@dataclass(frozen=True, slots=True)
class Unwanted:
    """No place is wanted until Wanted."""

    goodbye: bool
    """False: the network is gone, and the message would not arrive."""


@dataclass(frozen=True, slots=True)
class PlaceJoined:
    """The phone is in the room."""

    place: Generation


@dataclass(frozen=True, slots=True)
class PlaceFailed:
    """The join ended without a place."""

    place: Generation
    reason: str
    """For people."""


@dataclass(frozen=True, slots=True)
class PlaceLost:
    """The place is gone, and everything that belonged to it."""

    place: Generation
    reason: LossReason


@dataclass(frozen=True, slots=True)
class PlaceLeft:
    """What Leave asked for is done."""

    place: Generation


@dataclass(frozen=True, slots=True)
class Doubted:
    """Something has happened that a place does not survive, though no event may tell so for a while."""

    cause: str


@dataclass(frozen=True, slots=True)
class AudioTold:
    """What the cloud says about the phone's audio."""

    socket: Generation
    """By which it came."""
    state: AudioState
    blame: Blame = Blame.UNKNOWN
    reason: str = ""
    """For people."""
    retry_at: float | None = None
    """When the cloud tries again; None where it did not say."""
    code: str = ""
    """The reason for programs."""


@dataclass(frozen=True, slots=True)
class Narrowed:
    """The link carries little more than the audio on the socket; `narrow` False: it carries more again."""

    narrow: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline has come."""


Event = (
    Wanted | Away | Unwanted | PlaceJoined | PlaceFailed | PlaceLost | PlaceLeft | Doubted | AudioTold | Narrowed | Tick
)
EVENTS: Final = Event.__args__

# ---- effects


@dataclass(frozen=True, slots=True)
class Join:
    """Take a place in the room, with a fresh token of the cloud that is the right one now."""

    place: Generation


@dataclass(frozen=True, slots=True)
class Leave:
    """Give up this join or place; PlaceLeft answers."""

    place: Generation
    goodbye: bool
    """False: the path is dead or in doubt, the server's answer is not waited for."""


Effect = Join | Leave


class PhonePlace:
    """The machine of one phone's place; begins OUT. `chance` gives numbers in [0, 1)."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self.state = PlaceState.OUT
        self.generation = Generation(0)
        """Of the newest join or place."""
        self.trouble = ""
        """Why there is no place, for people; empty while none was lost or failed."""
        self.records: list[Record[PlaceState]] = []
        self.stale: Counter[str] = Counter()
        """What former places still said, by name."""
        self.held_since = 0.0
        """HELD: when it was joined."""
        self._judged_from = 0.0
        """HELD: from when on the cloud may have heard it."""
        self._backoff = Backoff(LADDER, chance)
        self._attempts = 0
        self._wanted = False
        self._told: AudioTold | None = None
        self._due_at: float | None = None
        """JOINING: until when it must have succeeded. WAITING: when the next one begins. HELD: when it is renewed."""
        self._next_at = 0.0
        """LEAVING: before this no new join begins."""
        self._unheard_after = UNHEARD
        self._narrow = False
        self._begun_at = 0.0
        self._well_since: float | None = None
        """Since when the place is held and, where the cloud says so, audio is heard."""

    def step(self, event: Event, now: float) -> list[Effect]:
        """Decides; `now` is monotonic seconds."""
        if getattr(event, "place", self.generation) != self.generation:
            self.stale[type(event).__name__] += 1
            return []
        cell = TABLE[self.state, type(event)]
        return [] if isinstance(cell, Ignored) else cell.by(self, event, now)

    def next_deadline(self) -> float | None:
        return self._due_at

    def _go(self, state: PlaceState, event: Event, now: float, cause: str = "") -> None:
        self.records.append(Record("phone_place", self.state, type(event).__name__, state, now, self.generation, cause))
        self.state = state
        self._due_at = self._well_since = None

    # ---- joins

    def _join(self, event: Event, now: float, cause: str = "") -> list[Effect]:
        self.generation = Generation(self.generation + 1)
        self._go(PlaceState.JOINING, event, now, cause)
        self._begun_at = now
        self._due_at = now + PATIENCE[self._attempts % len(PATIENCE)]
        self._attempts += 1
        return [Join(self.generation)]

    def _join_at(self, due: float, event: Event, now: float, cause: str = "") -> list[Effect]:
        if not self._wanted:
            self._go(PlaceState.OUT, event, now, cause)
            return []
        if self._narrow:
            due = max(due, now + NARROW_WAIT)
        if due <= now:
            return self._join(event, now, cause)
        self._go(PlaceState.WAITING, event, now, cause)
        self._due_at = due
        return []

    def _reset(self) -> None:
        """What went wrong before says nothing any more; the next join counts as the first."""
        self._backoff.reset()
        self._backoff.next_delay()
        self._attempts = 0

    def _want(self, event: Wanted, now: float) -> list[Effect]:
        self._wanted = True
        self._reset()
        return self._join(event, now, "wanted")

    def _want_still(self, event: Wanted, now: float) -> list[Effect]:
        self._wanted = True
        if event.same:
            self._judged_from = now if event.late else self._judged_from
            return []
        self._reset()
        return self._leave(event, now, goodbye=True, cause="another session")

    def _want_next(self, _event: Wanted, now: float) -> list[Effect]:
        self._wanted = True
        self._reset()
        self._next_at = now
        return []

    def _joined(self, event: PlaceJoined, now: float) -> list[Effect]:
        self._go(PlaceState.HELD, event, now)
        self.held_since = self._judged_from = now
        self._unheard_after = max(UNHEARD, 2 * (now - self._begun_at))
        self.trouble = ""
        self._judge(now)
        return []

    def _failed(self, event: PlaceFailed, now: float) -> list[Effect]:
        self.trouble = event.reason
        return self._join_at(self._begun_at + self._backoff.next_delay(), event, now, event.reason)

    def _expire(self, event: Tick, now: float) -> list[Effect]:
        """The join took too long. The next attempt waits as if this one had failed, counted from its beginning."""
        if not self._is_due(now):
            return []
        self.trouble = "no answer in time"
        following = self._begun_at + self._backoff.next_delay()
        return self._leave(event, now, goodbye=True, cause=self.trouble, following=following)

    def _lost(self, event: PlaceLost, now: float) -> list[Effect]:
        self.trouble = event.reason.text
        self._settle(now)
        delay = self._backoff.next_delay()
        if event.reason is LossReason.SUPERSEDED:
            delay = max(delay, CONTESTED)
        return self._join_at(now + delay, event, now, event.reason.code)

    def _retry(self, event: Tick, now: float) -> list[Effect]:
        return self._join(event, now) if self._is_due(now) else []

    def _is_due(self, now: float) -> bool:
        return self._due_at is not None and now >= self._due_at

    # ---- leaving

    def _leave(
        self, event: Event, now: float, *, goodbye: bool, cause: str = "", following: float | None = None
    ) -> list[Effect]:
        """The next join begins when this place has been left, and not before `following`."""
        self._go(PlaceState.LEAVING, event, now, cause)
        self._next_at = now if following is None else following
        return [Leave(self.generation, goodbye)]

    def _left(self, event: PlaceLeft, now: float) -> list[Effect]:
        return self._join_at(self._next_at, event, now)

    def _unwant(self, event: Unwanted, now: float) -> list[Effect]:
        self._forget()
        return self._leave(event, now, goodbye=event.goodbye)

    def _rest(self, event: Away | Unwanted, now: float) -> list[Effect]:
        self._forget()
        self._go(PlaceState.OUT, event, now)
        return []

    def _away(self, _event: Away | Unwanted, _now: float) -> list[Effect]:
        self._forget()
        return []

    def _forget(self) -> None:
        """No place is wanted, and the cloud's word about audio does not count any more."""
        self._wanted, self._told = False, None
        if self.state is PlaceState.HELD:
            self._due_at = None

    # ---- suspicion

    def _learn(self, event: AudioTold, _now: float) -> list[Effect]:
        self._told = event
        return []

    def _told_held(self, event: AudioTold, now: float) -> list[Effect]:
        self._told = event
        if event.blame is Blame.PHONE and now >= self._judged_from + self._unheard_after:
            # Also while audio goes by the socket: nothing else brings it back to the room.
            return self._renew(event, now, event.reason)
        self._judge(now)
        return []

    def _judge(self, now: float) -> None:
        """After a join, or news of the cloud: whether all is well, or how long the cloud may go on hearing nothing."""
        told = self._told
        blamed = told is not None and told.blame is Blame.PHONE
        if told is None or (told.state is AudioState.LIVE and not blamed):
            self._due_at = None
            if self._well_since is None:
                self._well_since = now
            return
        self._settle(now)
        ours = told.state is AudioState.INTERRUPTED and told.blame is not Blame.ELSEWHERE
        since = self._judged_from if blamed else now
        self._due_at = since + self._unheard_after if ours or blamed else None

    def _settle(self, now: float) -> None:
        if self._well_since is not None and now - self._well_since >= SETTLED:
            self._backoff.reset()
            self._attempts = 0
        self._well_since = None

    def _narrowed(self, event: Narrowed, _now: float) -> list[Effect]:
        self._narrow = event.narrow
        return []

    def _renew(self, event: Event, now: float, cause: str) -> list[Effect]:
        self._settle(now)
        if self._narrow:
            self._due_at = None
            return []
        following = now + self._backoff.next_delay()
        return self._leave(event, now, goodbye=False, cause=cause, following=following)

    def _unheard(self, event: Tick, now: float) -> list[Effect]:
        return self._renew(event, now, "still unheard") if self._is_due(now) else []

    def _doubt(self, event: Doubted, now: float) -> list[Effect]:
        """The place, or the join under way, is presumed dead; the cause is known, so there is no wait."""
        self._reset()
        return self._leave(event, now, goodbye=False, cause=event.cause)

    def _hasten(self, event: Doubted, now: float) -> list[Effect]:
        self._reset()
        return self._join(event, now, event.cause)

    def _hasten_next(self, _event: Doubted, now: float) -> list[Effect]:
        self._reset()
        self._next_at = now
        return []


_P = PlaceState
_NONE = Ignored("there is no place")
_NO_TIMER = Ignored("no timer runs here: it was late")
_DECIDED = Ignored("this join has ended")
_GOING = Ignored("it is being left already")
TABLE: Final[dict[tuple[PlaceState, type], Cell[PlaceState] | Ignored]] = {
    (_P.OUT, Wanted): Cell(PhonePlace._want, (_P.JOINING,)),
    (_P.OUT, Away): _NONE,
    (_P.OUT, Unwanted): _NONE,
    (_P.OUT, PlaceJoined): _NONE,
    (_P.OUT, PlaceFailed): _NONE,
    (_P.OUT, PlaceLost): _NONE,
    (_P.OUT, PlaceLeft): _NONE,
    (_P.OUT, Doubted): _NONE,
    (_P.OUT, AudioTold): Ignored("no place is wanted"),
    (_P.OUT, Narrowed): Cell(PhonePlace._narrowed, (_P.OUT,)),
    (_P.OUT, Tick): _NO_TIMER,
    (_P.JOINING, Wanted): Cell(PhonePlace._want_still, (_P.JOINING, _P.LEAVING)),
    (_P.JOINING, Away): Cell(PhonePlace._away, (_P.JOINING,)),
    (_P.JOINING, Unwanted): Cell(PhonePlace._unwant, (_P.LEAVING,)),
    (_P.JOINING, PlaceJoined): Cell(PhonePlace._joined, (_P.HELD,)),
    (_P.JOINING, PlaceFailed): Cell(PhonePlace._failed, (_P.WAITING, _P.JOINING, _P.OUT)),
    (_P.JOINING, PlaceLost): Ignored("nothing is held yet: the join itself fails"),
    (_P.JOINING, PlaceLeft): Ignored("it was not asked to leave"),
    (_P.JOINING, Doubted): Cell(PhonePlace._doubt, (_P.LEAVING,)),
    (_P.JOINING, AudioTold): Cell(PhonePlace._learn, (_P.JOINING,)),
    (_P.JOINING, Narrowed): Cell(PhonePlace._narrowed, (_P.JOINING,)),
    (_P.JOINING, Tick): Cell(PhonePlace._expire, (_P.JOINING, _P.LEAVING)),
    (_P.HELD, Wanted): Cell(PhonePlace._want_still, (_P.HELD, _P.LEAVING)),
    (_P.HELD, Away): Cell(PhonePlace._away, (_P.HELD,)),
    (_P.HELD, Unwanted): Cell(PhonePlace._unwant, (_P.LEAVING,)),
    (_P.HELD, PlaceJoined): _DECIDED,
    (_P.HELD, PlaceFailed): _DECIDED,
    (_P.HELD, PlaceLost): Cell(PhonePlace._lost, (_P.JOINING, _P.WAITING, _P.OUT)),
    (_P.HELD, PlaceLeft): Ignored("it was not asked to leave"),
    (_P.HELD, Doubted): Cell(PhonePlace._doubt, (_P.LEAVING,)),
    (_P.HELD, AudioTold): Cell(PhonePlace._told_held, (_P.HELD, _P.LEAVING)),
    (_P.HELD, Narrowed): Cell(PhonePlace._narrowed, (_P.HELD,)),
    (_P.HELD, Tick): Cell(PhonePlace._unheard, (_P.HELD, _P.LEAVING)),
    (_P.LEAVING, Wanted): Cell(PhonePlace._want_next, (_P.LEAVING,)),
    (_P.LEAVING, Away): Cell(PhonePlace._away, (_P.LEAVING,)),
    (_P.LEAVING, Unwanted): Cell(PhonePlace._away, (_P.LEAVING,)),
    (_P.LEAVING, PlaceJoined): _GOING,
    (_P.LEAVING, PlaceFailed): _GOING,
    (_P.LEAVING, PlaceLost): _GOING,
    (_P.LEAVING, PlaceLeft): Cell(PhonePlace._left, (_P.JOINING, _P.WAITING, _P.OUT)),
    (_P.LEAVING, Doubted): Cell(PhonePlace._hasten_next, (_P.LEAVING,)),
    (_P.LEAVING, AudioTold): Cell(PhonePlace._learn, (_P.LEAVING,)),
    (_P.LEAVING, Narrowed): Cell(PhonePlace._narrowed, (_P.LEAVING,)),
    (_P.LEAVING, Tick): _NO_TIMER,
    (_P.WAITING, Wanted): Cell(PhonePlace._want, (_P.JOINING,)),
    (_P.WAITING, Away): Cell(PhonePlace._rest, (_P.OUT,)),
    (_P.WAITING, Unwanted): Cell(PhonePlace._rest, (_P.OUT,)),
    (_P.WAITING, PlaceJoined): _DECIDED,
    (_P.WAITING, PlaceFailed): _DECIDED,
    (_P.WAITING, PlaceLost): _DECIDED,
    (_P.WAITING, PlaceLeft): _DECIDED,
    (_P.WAITING, Doubted): Cell(PhonePlace._hasten, (_P.JOINING,)),
    (_P.WAITING, AudioTold): Cell(PhonePlace._learn, (_P.WAITING,)),
    (_P.WAITING, Narrowed): Cell(PhonePlace._narrowed, (_P.WAITING,)),
    (_P.WAITING, Tick): Cell(PhonePlace._retry, (_P.WAITING, _P.JOINING)),
}
