"""Which of two recognisers is believed: the hosted one, or the offline one that stands by?

Rules
- The hosted one is believed while it is available and in time. When it is away, refuses, breaks or is over LATE seconds
  late, the offline one takes over at once, beginning with the audio that has no final transcript yet.
- A stream has PATIENCE seconds to open: captions may be late by that much.
- A stream that the hosted one ends for its own good (too long, heard nothing, restarts) is opened anew, and the offline
  one takes over only when that fails.
- Then the hosted one is tried again, under a growing, jittered wait; a key that is refused is never tried again.
- It is believed again when it has held for HELD seconds beside the offline one, at the next pause: where both have
  ended an utterance at the same moment. No user is cut short for it.

It does not know audio, sockets or time. Streams of the hosted one are numbered; events of an older one change nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from glassbridge.core.backoff import Backoff
from glassbridge.core.machine import Cell, Ignored, Record
from glassbridge.core.recogniser import LATER, SOON, Reason, Reopening
from glassbridge.core.values import Generation

PATIENCE: Final = 1.0
LATE: Final = 3.0
HELD: Final = 30.0
_OWN_GOOD: Final = (Reason.SILENCE, Reason.CAP, Reason.RESTART)


class StandbyState(Enum):
    """`offline` says whether the offline recogniser is believed."""

    OPENING = ("opening", False)
    HOSTED = ("hosted", False)
    ALONE = ("alone", True)
    RETRYING = ("retrying", True)
    PROBATION = ("probation", True)
    ABANDONED = ("abandoned", True)

    def __init__(self, label: str, offline: bool) -> None:
        self.label = label
        self.offline = offline


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream of the hosted one is there."""

    stream: int


@dataclass(frozen=True, slots=True)
class Lost:
    """It has ended, or could not be had."""

    stream: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Late:
    """It is too late."""

    stream: int


@dataclass(frozen=True, slots=True)
class Agreed:
    """Both have finally understood everything up to the same pause."""

    stream: int


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline has come."""


Event = Opened | Lost | Late | Agreed | Tick
EVENTS: Final = (Opened, Lost, Late, Agreed, Tick)


@dataclass(frozen=True, slots=True)
class Open:
    """Open a stream of the hosted one; Opened or Lost comes back."""

    stream: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Close it, or what is being opened."""

    stream: int


@dataclass(frozen=True, slots=True)
class Believe:
    """The hosted one is believed from what waits on."""

    stream: int


@dataclass(frozen=True, slots=True)
class TakeOver:
    """The offline one is believed, from what is not finally understood."""

    cause: str


@dataclass(frozen=True, slots=True)
class Accompany:
    """The hosted one hears what comes from now on; nothing of it is said."""

    stream: int


@dataclass(frozen=True, slots=True)
class Return:
    """The hosted one is believed from this pause on."""

    stream: int


Effect = Open | Drop | Believe | TakeOver | Accompany | Return


class Standby:
    """The machine of one stream. `trusted`: the hosted one did well lately, and is waited for."""

    def __init__(self, chance: Callable[[], float], *, trusted: bool) -> None:
        self.state = StandbyState.OPENING if trusted else StandbyState.ALONE
        self.stream = 0
        self.records: list[Record[StandbyState]] = []
        self._waits = {Reopening.SOON: Backoff(SOON, chance), Reopening.LATER: Backoff(LATER, chance)}
        self._due: float | None = None
        self._held_since = 0.0

    def begin(self, now: float) -> list[Effect]:
        """The first step."""
        if self.state is StandbyState.OPENING:
            return self._open(now)
        self._due = now
        return [TakeOver("it failed lately")]

    def step(self, event: Event, now: float) -> list[Effect]:
        """Decides; `now` is monotonic seconds."""
        cell = TABLE[self.state, type(event)]
        stale = getattr(event, "stream", self.stream) != self.stream
        return [] if stale or isinstance(cell, Ignored) else cell.by(self, event, now)

    def next_deadline(self) -> float | None:
        return self._due

    def _go(self, state: StandbyState, event: Event, now: float, cause: str = "") -> None:
        number = Generation(self.stream)
        self.records.append(Record("standby", self.state, type(event).__name__, state, now, number, cause))
        self.state = state
        self._due = None

    def _open(self, now: float) -> list[Effect]:
        self.stream += 1
        self._due = now + PATIENCE
        return [Open(self.stream)]

    def _believe(self, event: Opened, now: float) -> list[Effect]:
        self._go(StandbyState.HOSTED, event, now)
        return [Believe(self.stream)]

    def _wait_no_longer(self, event: Tick, now: float) -> list[Effect]:
        if self._due is None or now < self._due:
            return []
        self._go(StandbyState.RETRYING, event, now, "not opened in time")
        return [TakeOver("it does not answer")]

    def _lose(self, event: Lost, now: float) -> list[Effect]:
        if self.state is StandbyState.HOSTED and event.reason in _OWN_GOOD:
            self._go(StandbyState.OPENING, event, now, event.reason.code)
            return self._open(now)
        took_over = self.state.offline
        again = event.reason.again
        self._go(
            StandbyState.ABANDONED if again is Reopening.NEVER else StandbyState.ALONE, event, now, event.reason.code
        )
        if again is not Reopening.NEVER:
            wait = self._waits.get(again, self._waits[Reopening.SOON])
            wait.not_at_once()
            self._due = now + wait.next_delay()
        return [] if took_over else [TakeOver(event.reason.text)]

    def _give_up(self, event: Late, now: float) -> list[Effect]:
        took_over = self.state.offline
        self._go(StandbyState.ALONE, event, now, "late")
        wait = self._waits[Reopening.SOON]
        wait.not_at_once()
        self._due = now + wait.next_delay()
        return [Drop(self.stream), *([] if took_over else [TakeOver(f"it is over {LATE:.0f} s late")])]

    def _retry(self, event: Tick, now: float) -> list[Effect]:
        if self._due is None or now < self._due:
            return []
        self._go(StandbyState.RETRYING, event, now)
        opened = self._open(now)
        self._due = None
        return opened

    def _accompany(self, event: Opened, now: float) -> list[Effect]:
        self._go(StandbyState.PROBATION, event, now)
        self._held_since = now
        return [Accompany(self.stream)]

    def _come_back(self, event: Agreed, now: float) -> list[Effect]:
        if now < self._held_since + HELD:
            return []
        self._go(StandbyState.HOSTED, event, now)
        for wait in self._waits.values():
            wait.reset()
        return [Return(self.stream)]


_S = StandbyState
_NO_STREAM = Ignored("there is no stream here: it was late")
_NOT_BESIDE = Ignored("the hosted one does not run beside the offline one")
_NEVER = Ignored("an operator has to correct something")
_CELLS: Final[dict[tuple[StandbyState, type], Cell[StandbyState]]] = {
    (_S.OPENING, Opened): Cell(Standby._believe, (_S.HOSTED,)),
    (_S.OPENING, Lost): Cell(Standby._lose, (_S.ALONE, _S.ABANDONED)),
    (_S.OPENING, Tick): Cell(Standby._wait_no_longer, (_S.OPENING, _S.RETRYING)),
    (_S.HOSTED, Lost): Cell(Standby._lose, (_S.OPENING, _S.ALONE, _S.ABANDONED)),
    (_S.HOSTED, Late): Cell(Standby._give_up, (_S.ALONE,)),
    (_S.ALONE, Tick): Cell(Standby._retry, (_S.ALONE, _S.RETRYING)),
    (_S.RETRYING, Opened): Cell(Standby._accompany, (_S.PROBATION,)),
    (_S.RETRYING, Lost): Cell(Standby._lose, (_S.ALONE, _S.ABANDONED)),
    (_S.PROBATION, Lost): Cell(Standby._lose, (_S.ALONE, _S.ABANDONED)),
    (_S.PROBATION, Late): Cell(Standby._give_up, (_S.ALONE,)),
    (_S.PROBATION, Agreed): Cell(Standby._come_back, (_S.PROBATION, _S.HOSTED)),
}
_IGNORED: Final = {
    Opened: _NO_STREAM, Lost: _NO_STREAM, Late: _NO_STREAM, Agreed: _NOT_BESIDE,
    Tick: Ignored("no timer runs here: it was late"),
}  # fmt: skip
TABLE: Final[dict[tuple[StandbyState, type], Cell[StandbyState] | Ignored]] = {
    (state, event): _NEVER if state is _S.ABANDONED else _CELLS.get((state, event), _IGNORED[event])
    for state in StandbyState
    for event in EVENTS
}
