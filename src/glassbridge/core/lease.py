"""The lease of one cloud in the directory: may its claims be trusted, and when is the lease renewed?

Rules
- The lease lasts LEASE seconds from the moment at which its renewal was asked for, and is renewed every RENEW_EVERY.
- A request that fails makes the lease doubtful: from then on claims are local, so that no phone waits for a directory
  that does not answer. It is renewed at once, but not twice within RENEW_EVERY: a directory may answer renewals, and
  fail with one claim again and again.
- TRUSTED seconds without a renewal: the directory is away. Other nodes may take this node for dead from LEASE on.
- Once the directory answers again, or another server answers in its place, all claims are reconciled: they may have
  been taken by others, or forgotten.
- An answer that took longer than TRUSTED proves nothing: this process stalled. It asks again.

It does not know the directory, claims or clocks. Renewals are numbered; only the answer to the newest one counts.
"""

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import Final

from glassbridge.core.machine import Cell, Ignored, Record
from glassbridge.core.values import Generation

LEASE: Final = 5.0
"""Seconds after which other nodes consider this one dead."""
TRUSTED: Final = LEASE * 2 / 3
"""Seconds for which this node itself trusts a renewal."""
RENEW_EVERY: Final = 1.0
RENEW_TIME: Final = 0.8
"""Seconds that a renewal may take."""


class LeaseState(Enum):
    """`trusted` says whether claims are made in the directory; `final` whether anything can still happen."""

    ABSENT = ("absent", False, False)
    HELD = ("held", True, False)
    DOUBTFUL = ("doubtful", False, False)
    AWAY = ("away", False, False)
    WITHDRAWN = ("withdrawn", False, True)

    def __init__(self, label: str, trusted: bool, final: bool) -> None:
        self.label = label
        self.trusted = trusted
        self.final = final


# ---- events


@dataclass(frozen=True, slots=True)
class Renewed:
    """The directory answered this renewal."""

    number: int
    server: str
    """Which run of which server; another one may have forgotten something."""


@dataclass(frozen=True, slots=True)
class NotRenewed:
    """This renewal failed, or was not answered in time."""

    number: int


@dataclass(frozen=True, slots=True)
class ClaimFailed:
    """A claim failed, or was not answered in time."""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The node stops."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline has come."""


Event = Renewed | NotRenewed | ClaimFailed | Withdraw | Tick
EVENTS: Final = (Renewed, NotRenewed, ClaimFailed, Withdraw, Tick)


# ---- effects


@dataclass(frozen=True, slots=True)
class Renew:
    """Ask the directory; Renewed or NotRenewed comes back with this number, however it ends."""

    number: int


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Claim everything that is held here anew."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Tell the directory that this node is gone."""


Effect = Renew | Reconcile | Drop


class Lease:
    """The machine of one node; begins ABSENT at `now` (monotonic seconds), when its first renewal is due."""

    def __init__(self, now: float) -> None:
        self.state = LeaseState.ABSENT
        self.records: list[Record[LeaseState]] = []
        self.stale: Counter[str] = Counter()
        """Answers to former renewals, by name."""
        self._renewed_at = now
        """When the last renewal that succeeded was asked for; before any, the beginning."""
        self._asked_at = now
        self._next_at = now
        self._hurried_until = now
        """Until then no renewal comes before its time."""
        self._number = 0
        self._server: str | None = None

    def step(self, event: Event, now: float) -> list[Effect]:
        """Decides; `now` is monotonic seconds."""
        cell = TABLE[self.state, type(event)]
        return [] if isinstance(cell, Ignored) else cell.by(self, event, now)

    def next_deadline(self) -> float | None:
        match self.state:
            case LeaseState.WITHDRAWN:
                return None
            case LeaseState.AWAY:
                return self._next_at
            case _:
                return min(self._next_at, self._renewed_at + TRUSTED)

    def is_trusted(self, now: float) -> bool:
        """Whether a claim goes to the directory; the state alone is outdated after a stall of this process."""
        return self.state.trusted and now < self._renewed_at + TRUSTED

    def _go(self, state: LeaseState, event: Event, now: float, cause: str = "") -> None:
        if state is not self.state:
            number = Generation(self._number)
            self.records.append(Record("lease", self.state, type(event).__name__, state, now, number, cause))
        self.state = state

    def _renew(self, now: float) -> Renew:
        self._number += 1
        self._asked_at, self._next_at = now, now + RENEW_EVERY
        return Renew(self._number)

    def _hold(self, event: Renewed, now: float) -> list[Effect]:
        if event.number != self._number:
            self.stale["Renewed"] += 1
            return []
        if now >= self._asked_at + TRUSTED:
            return [self._renew(now)]
        was_trusted = self.is_trusted(now) and event.server == self._server
        self._renewed_at, self._server = self._asked_at, event.server
        self._go(LeaseState.HELD, event, now)
        return [] if was_trusted else [Reconcile()]

    def _doubt(self, event: NotRenewed, now: float) -> list[Effect]:
        if event.number != self._number:
            self.stale["NotRenewed"] += 1
            return []
        self._go(LeaseState.DOUBTFUL, event, now, "not renewed")
        return []

    def _doubt_at_once(self, event: ClaimFailed, now: float) -> list[Effect]:
        self._go(LeaseState.DOUBTFUL, event, now, "claim failed")
        if now < self._hurried_until:
            return []
        self._hurried_until = now + RENEW_EVERY
        return [self._renew(now)]

    def _tick(self, event: Tick, now: float) -> list[Effect]:
        if self.state is not LeaseState.AWAY and now >= self._renewed_at + TRUSTED:
            self._go(LeaseState.AWAY, event, now, "no answer")
        return [self._renew(now)] if now >= self._next_at else []

    def _withdraw(self, event: Withdraw, now: float) -> list[Effect]:
        self._go(LeaseState.WITHDRAWN, event, now)
        return [Drop()]


_L = LeaseState
_COUNTED = Ignored("claims are local already")
_OVER = Ignored("the node has stopped")
TABLE: Final[dict[tuple[LeaseState, type], Cell[LeaseState] | Ignored]] = {
    (_L.ABSENT, Renewed): Cell(Lease._hold, (_L.ABSENT, _L.HELD)),
    (_L.ABSENT, NotRenewed): Ignored("nothing was trusted so far"),
    (_L.ABSENT, ClaimFailed): _COUNTED,
    (_L.ABSENT, Withdraw): Cell(Lease._withdraw, (_L.WITHDRAWN,)),
    (_L.ABSENT, Tick): Cell(Lease._tick, (_L.ABSENT, _L.AWAY)),
    (_L.HELD, Renewed): Cell(Lease._hold, (_L.HELD,)),
    (_L.HELD, NotRenewed): Cell(Lease._doubt, (_L.HELD, _L.DOUBTFUL)),
    (_L.HELD, ClaimFailed): Cell(Lease._doubt_at_once, (_L.DOUBTFUL,)),
    (_L.HELD, Withdraw): Cell(Lease._withdraw, (_L.WITHDRAWN,)),
    (_L.HELD, Tick): Cell(Lease._tick, (_L.HELD, _L.AWAY)),
    (_L.DOUBTFUL, Renewed): Cell(Lease._hold, (_L.DOUBTFUL, _L.HELD)),
    (_L.DOUBTFUL, NotRenewed): Ignored("it is doubtful already, and the next renewal has its time"),
    (_L.DOUBTFUL, ClaimFailed): _COUNTED,
    (_L.DOUBTFUL, Withdraw): Cell(Lease._withdraw, (_L.WITHDRAWN,)),
    (_L.DOUBTFUL, Tick): Cell(Lease._tick, (_L.DOUBTFUL, _L.AWAY)),
    (_L.AWAY, Renewed): Cell(Lease._hold, (_L.AWAY, _L.HELD)),
    (_L.AWAY, NotRenewed): Ignored("it is away already, and the next renewal has its time"),
    (_L.AWAY, ClaimFailed): _COUNTED,
    (_L.AWAY, Withdraw): Cell(Lease._withdraw, (_L.WITHDRAWN,)),
    (_L.AWAY, Tick): Cell(Lease._tick, (_L.AWAY,)),
    (_L.WITHDRAWN, Renewed): _OVER,
    (_L.WITHDRAWN, NotRenewed): _OVER,
    (_L.WITHDRAWN, ClaimFailed): _OVER,
    (_L.WITHDRAWN, Withdraw): _OVER,
    (_L.WITHDRAWN, Tick): _OVER,
}
