"""Which cloud owns a user: what a claim in the directory means, and what an owner is until it has moved.

Rules
- The newest socket of a phone wins, wherever it was accepted. Two attempts of the same phone are told apart by the
  phone's own count: a claim that comes late is refused. Otherwise the last claim wins.
- Each new owner gets a greater epoch: max(old + 1, the milliseconds of the cluster's clock). It is the high part of
  the generations of its joins, so bridges and LiveKit fence a former owner whatever the clocks say.
- The clock of the cluster never goes back: it is the greatest of the directory's clock, of each epoch, and of what any
  node has seen of it. So a directory that failed over to a clock that is behind grants no epoch that is too small.
- Each new socket of the phone gets a greater epoch, even if the owner stays: another owner may have been in between
  unnoticed. A claim that is restored keeps its epoch, also if the directory has forgotten it.
- Answers to claims of one owner may come in any order: the newest attempt of a phone and the greatest epoch count.
- While the directory is away, claims are local. They are restored once it is back: a restored claim loses to a newer
  attempt of the same phone, or to a greater epoch.
- An owner whose user was taken by another one has moved, and that is final: it neither leaves rooms nor stops apps.

It does not know sessions, sockets, the directory or clocks.
"""

from collections import Counter
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, NewType

from glassbridge.core.machine import Cell, Ignored, Record
from glassbridge.core.values import Generation, UserId

Epoch = NewType("Epoch", int)
"""Of an owner of a user: greater for each newer one; 0: not known yet."""

JOINS: Final = 1 << 12
"""Generations of an epoch. More joins than that reach into the next epochs, which time has passed by then. With unix
milliseconds generations stay below 2^53 until 2039, so that JavaScript reads them exactly."""


def first_generation(epoch: Epoch) -> Generation:
    """All joins of this owner have greater generations."""
    return Generation(epoch * JOINS)


class Role(Enum):
    """The kind of a node."""

    CLOUD = "cloud"
    BRIDGE = "bridge"


class NodeState(Enum):
    """Whether a node takes new users."""

    SERVING = "serving"
    DRAINING = "draining"
    FULL = "full"

    @classmethod
    def of(cls, sessions: int, most: int, *, draining: bool) -> "NodeState":
        """Of a node that holds so many sessions."""
        return cls.DRAINING if draining else cls.FULL if sessions >= most else cls.SERVING


@dataclass(frozen=True, slots=True)
class Owner:
    """One run of one node."""

    node: str
    """For people."""
    incarnation: str
    """Differs in each run of a program: owners are compared by it."""
    address: str
    """host:port on which other nodes reach it; empty: they cannot."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A node says that it owns a user."""

    user: UserId
    owner: Owner
    session: str
    """Its id."""
    phone: str = ""
    """Which phone, as it calls itself; empty: it does not say."""
    attempt: int = 0
    """The phone's own count of its connections."""
    epoch: Epoch = Epoch(0)
    """0 of a new claim. A claim that is restored names the epoch that it had."""


@dataclass(frozen=True, slots=True)
class Released:
    """What is left of a claim that its owner gave up."""

    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Granted:
    """The claim stands, with its epoch."""

    claim: Claim
    former: Claim | None
    """The owner that lost the user by this; None: there was none, or it was the same."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Another claim stands."""

    claim: Claim


ClaimVerdict = Granted | Refused


def decide(kept: Claim | Released | None, wanted: Claim, now_ms: int) -> ClaimVerdict:
    """What becomes of a claim, by what the directory holds and the cluster's clock. The script of the real directory
    (cluster/scripts.py) does the same.

    A new claim that takes the user over keeps the id of the session: whoever takes the user next, before the former
    owner has handed over, must find that one."""
    old = Epoch(0) if kept is None else kept.epoch
    if isinstance(kept, Claim):
        if not _yields(kept, wanted):
            return Refused(kept)
        if kept.owner.incarnation == wanted.owner.incarnation and wanted.epoch:
            return Granted(replace(wanted, epoch=max(old, wanted.epoch)), None)
    epoch = wanted.epoch if wanted.epoch > old else Epoch(max(old + 1, now_ms))
    former = kept if isinstance(kept, Claim) and kept.owner.incarnation != wanted.owner.incarnation else None
    return Granted(replace(wanted, epoch=epoch, session=session_of(wanted, former)), former)


def session_of(wanted: Claim, former: Claim | None) -> str:
    """The id of the session that the directory holds after this claim."""
    return former.session if former is not None and former.session and not wanted.epoch else wanted.session


def _yields(kept: Claim, wanted: Claim) -> bool:
    if kept.phone and kept.phone == wanted.phone and kept.attempt != wanted.attempt:
        return wanted.attempt > kept.attempt
    is_new = not wanted.epoch
    return is_new or wanted.epoch > kept.epoch or wanted.owner.incarnation == kept.owner.incarnation


def resume(mine: Claim | None, given: Claim | None, granted: Granted) -> tuple[Claim, bool]:
    """The claim of a node that has the user by `mine` already, or gave the user to `given`; and whether another owner
    took `mine` meanwhile. A directory that failed over may have forgotten both: then it names an owner of before, and
    the epoch that it grants may be too small."""
    claim, former = granted.claim, granted.former
    lost = mine is not None and former is not None and not _yields(former, mine)
    least = 0 if mine is None else mine.epoch + 1 if lost else mine.epoch
    beyond = 0 if given is None else given.epoch + 1
    return replace(claim, epoch=Epoch(max(claim.epoch, least, beyond))), lost


class OwnershipState(Enum):
    """`owns` says whether the session here speaks for the user; `final` whether anything can still happen."""

    ABSENT = ("absent", False, False)
    HELD = ("held", True, False)
    LOCAL = ("local", True, False)
    MOVED = ("moved", False, True)
    RELEASED = ("released", False, True)

    def __init__(self, label: str, owns: bool, final: bool) -> None:
        self.label = label
        self.owns = owns
        self.final = final


# ---- events


@dataclass(frozen=True, slots=True)
class Held:
    """The directory granted this claim of ours."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Assumed:
    """The directory is away; this claim is ours by our own word."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Taken:
    """Another node owns the user with this epoch; may come late, more than once, and about former claims."""

    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Denied:
    """The directory did not restore our claim of this epoch: that of this owner stands."""

    epoch: Epoch
    by: Owner


@dataclass(frozen=True, slots=True)
class Ended:
    """The session has ended by itself."""


Event = Held | Assumed | Taken | Denied | Ended
EVENTS: Final = (Held, Assumed, Taken, Denied, Ended)


# ---- effects


@dataclass(frozen=True, slots=True)
class Raise:
    """The joins of this session need generations of this epoch from now on."""

    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Move:
    """Let the user go to the new owner."""


@dataclass(frozen=True, slots=True)
class Release:
    """Remove this claim from the directory, if it is still there."""

    claim: Claim


Effect = Raise | Move | Release


class Ownership:
    """The machine of one session; begins ABSENT, is used once."""

    __slots__ = ("claim", "records", "stale", "state")

    def __init__(self) -> None:
        self.state = OwnershipState.ABSENT
        self.claim: Claim | None = None
        """The newest of ours, with the greatest epoch; None in ABSENT."""
        self.records: list[Record[OwnershipState]] = []
        self.stale: Counter[str] = Counter()

    def step(self, event: Event, now: float) -> list[Effect]:
        """Decides; `now` is monotonic seconds."""
        cell = TABLE[self.state, type(event)]
        return [] if isinstance(cell, Ignored) else cell.by(self, event, now)

    def next_deadline(self) -> float | None:
        return None

    @property
    def epoch(self) -> Epoch:
        return Epoch(0) if self.claim is None else self.claim.epoch

    def _go(self, state: OwnershipState, event: Event, now: float) -> None:
        if state is not self.state:
            number = Generation(self.epoch)
            self.records.append(Record("ownership", self.state, type(event).__name__, state, now, number))
        self.state = state

    def _own(self, event: Held | Assumed, now: float) -> list[Effect]:
        mine, former = self.claim, self.epoch
        is_late = mine is not None and not _yields(mine, event.claim)
        newest = mine if mine is not None and is_late else event.claim
        self.claim = replace(newest, epoch=Epoch(max(former, event.claim.epoch)))
        if is_late or event.claim.epoch < former:
            self.stale[type(event).__name__] += 1
        else:
            self._go(OwnershipState.HELD if isinstance(event, Held) else OwnershipState.LOCAL, event, now)
        return [Raise(self.epoch)] if self.epoch > former else []

    def _lose(self, event: Taken, now: float) -> list[Effect]:
        if event.epoch <= self.epoch:
            self.stale["Taken"] += 1
            return []
        self._go(OwnershipState.MOVED, event, now)
        return [Move()]

    def _be_denied(self, event: Denied, now: float) -> list[Effect]:
        is_ours = self.claim is not None and event.by.incarnation == self.claim.owner.incarnation
        if is_ours or event.epoch != self.epoch:
            self.stale["Denied"] += 1
            return []
        self._go(OwnershipState.MOVED, event, now)
        return [Move()]

    def _end(self, event: Ended, now: float) -> list[Effect]:
        self._go(OwnershipState.RELEASED, event, now)
        return [] if self.claim is None else [Release(self.claim)]


_O = OwnershipState
_MOVED = Ignored("the user has another owner")
_OVER = Ignored("the session has ended")
_EITHER = (_O.HELD, _O.LOCAL)
TABLE: Final[dict[tuple[OwnershipState, type], Cell[OwnershipState] | Ignored]] = {
    (_O.ABSENT, Held): Cell(Ownership._own, (_O.HELD,)),
    (_O.ABSENT, Assumed): Cell(Ownership._own, (_O.LOCAL,)),
    (_O.ABSENT, Taken): Ignored("nothing was claimed so far"),
    (_O.ABSENT, Denied): Ignored("nothing was claimed so far"),
    (_O.ABSENT, Ended): Cell(Ownership._end, (_O.RELEASED,)),
    (_O.HELD, Held): Cell(Ownership._own, (_O.HELD,)),
    (_O.HELD, Assumed): Cell(Ownership._own, _EITHER),
    (_O.HELD, Taken): Cell(Ownership._lose, (_O.HELD, _O.MOVED)),
    (_O.HELD, Denied): Cell(Ownership._be_denied, (_O.HELD, _O.MOVED)),
    (_O.HELD, Ended): Cell(Ownership._end, (_O.RELEASED,)),
    (_O.LOCAL, Held): Cell(Ownership._own, _EITHER),
    (_O.LOCAL, Assumed): Cell(Ownership._own, (_O.LOCAL,)),
    (_O.LOCAL, Taken): Cell(Ownership._lose, (_O.LOCAL, _O.MOVED)),
    (_O.LOCAL, Denied): Cell(Ownership._be_denied, (_O.LOCAL, _O.MOVED)),
    (_O.LOCAL, Ended): Cell(Ownership._end, (_O.RELEASED,)),
    (_O.MOVED, Held): _MOVED,
    (_O.MOVED, Assumed): _MOVED,
    (_O.MOVED, Taken): _MOVED,
    (_O.MOVED, Denied): _MOVED,
    (_O.MOVED, Ended): _MOVED,
    (_O.RELEASED, Held): _OVER,
    (_O.RELEASED, Assumed): _OVER,
    (_O.RELEASED, Taken): _OVER,
    (_O.RELEASED, Denied): _OVER,
    (_O.RELEASED, Ended): _OVER,
}
