"""Do captions come in time, and if not, how late? What people are told about one recognition.

Rules
- Captions are slow while partial transcripts come less often than each USUAL seconds, and after an answer that came
  over LATE seconds after the last word that it holds.
- They are in time again when nothing of it was so for CALM seconds.
- People are told when it begins, when it ends, and in between when it is twice as bad or half as bad as they know.

It does not know recognisers, audio or time.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from glassbridge.core.machine import Cell, Ignored, Record
from glassbridge.core.values import Generation

USUAL: Final = 0.5
LATE: Final = 2.5
CALM: Final = 5.0
FINALS_ONLY: Final = 4.0
"""Seconds that a caption is behind, on average, where there is one for each sentence only."""


class SlownessState(Enum):
    """Of the captions of one recognition."""

    IN_TIME = "in time"
    SLOW = "slow"

    def __init__(self, label: str) -> None:
        self.label = label


@dataclass(frozen=True, slots=True)
class Answered:
    """A transcript came so many seconds after the last word that it holds."""

    late: float


@dataclass(frozen=True, slots=True)
class Paced:
    """Partial transcripts come each so many seconds from now on; None: only final ones come."""

    interval: float | None


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline has come."""


Event = Answered | Paced | Tick
EVENTS: Final = (Answered, Paced, Tick)


@dataclass(frozen=True, slots=True)
class Slow:
    """Captions are about so many seconds late."""

    seconds: float
    finals_only: bool


@dataclass(frozen=True, slots=True)
class InTime:
    """They come in time again."""


Effect = Slow | InTime


class Slowness:
    """The machine; begins IN_TIME."""

    def __init__(self) -> None:
        self.state = SlownessState.IN_TIME
        self.records: list[Record[SlownessState]] = []
        self._interval: float | None = USUAL
        self._late = 0.0
        self._told = 0.0
        self._due: float | None = None

    def step(self, event: Event, now: float) -> list[Effect]:
        """Decides; `now` is monotonic seconds."""
        cell = TABLE[self.state, type(event)]
        return [] if isinstance(cell, Ignored) else cell.by(self, event, now)

    def next_deadline(self) -> float | None:
        return self._due

    @property
    def _seldom(self) -> bool:
        return self._interval is None or self._interval > USUAL

    def _go(self, state: SlownessState, event: Event, now: float) -> None:
        self.records.append(Record("slowness", self.state, type(event).__name__, state, now, Generation(0)))
        self.state = state

    def _note(self, event: Answered | Paced, now: float) -> bool:
        """Whether it is a sign that captions are slow."""
        if isinstance(event, Paced):
            self._interval = event.interval
            return self._seldom
        self._late = event.late
        return event.late > LATE

    def _judge(self, event: Answered | Paced, now: float) -> list[Effect]:
        if not self._note(event, now):
            return []
        self._go(SlownessState.SLOW, event, now)
        return self._tell(now)

    def _go_on(self, event: Answered | Paced, now: float) -> list[Effect]:
        if not self._note(event, now):
            if not self._seldom and self._due is None:
                self._due = now + CALM
            return []
        seconds = self._seconds
        return self._tell(now) if seconds >= 2 * self._told or seconds <= self._told / 2 else self._wait(now)

    @property
    def _seconds(self) -> float:
        interval = FINALS_ONLY if self._interval is None else self._interval if self._seldom else 0.0
        return max(interval, self._late)

    def _tell(self, now: float) -> list[Effect]:
        self._told = self._seconds
        return [Slow(round(self._told, 1), self._interval is None), *self._wait(now)]

    def _wait(self, now: float) -> list[Effect]:
        self._due = None if self._seldom else now + CALM
        return []

    def _calm(self, event: Tick, now: float) -> list[Effect]:
        if self._due is None or now < self._due:
            return []
        self._due = None
        self._go(SlownessState.IN_TIME, event, now)
        return [InTime()]


_S = SlownessState
TABLE: Final[dict[tuple[SlownessState, type], Cell[SlownessState] | Ignored]] = {
    (_S.IN_TIME, Answered): Cell(Slowness._judge, (_S.IN_TIME, _S.SLOW)),
    (_S.IN_TIME, Paced): Cell(Slowness._judge, (_S.IN_TIME, _S.SLOW)),
    (_S.IN_TIME, Tick): Ignored("no timer runs here: it was late"),
    (_S.SLOW, Answered): Cell(Slowness._go_on, (_S.SLOW,)),
    (_S.SLOW, Paced): Cell(Slowness._go_on, (_S.SLOW,)),
    (_S.SLOW, Tick): Cell(Slowness._calm, (_S.SLOW, _S.IN_TIME)),
}
