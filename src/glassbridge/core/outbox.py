"""The outbox of log lines for a sink that takes batches: when lines are sent, and when they are dropped.

Rules
- A batch is sent when it is full, or `every` seconds after its first line came. One batch is in flight at a time.
- A line is forgotten when the sink has acknowledged it (2xx). If a batch is too large (413) or not understood (any
  other 4xx), the next one has half as many lines, and the size grows back by itself. So only the line that the sink
  refuses is dropped, and counted. After any other answer (408, 425, 429, 5xx, a redirect), or none, the batch is sent
  again, after a wait that grows, or as long as the sink asks for.
- A refused token (401, 403) is reported once, however often it is refused; waiting lines are tried again at the pace of
  an outage, since an operator may correct the sink.
- At the end all waiting lines are sent without delay. The first failure ends that; the next process gets the rest.

It knows how many lines wait, but not the lines; it does not know threads, disks, HTTP or clocks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from glassbridge.core.backoff import Backoff, Ladder
from glassbridge.core.machine import Cell, Ignored, Record
from glassbridge.core.values import Generation

BATCH: Final = 100
EVERY: Final = 5.0
OUTAGE: Final = Ladder(base=1.0, cap=30.0)
LONGEST_REQUEST: Final = 300.0
"""Seconds that a sink may ask us to wait."""


class OutboxState(Enum):
    """`asks` says whether a batch is on its way."""

    EMPTY = ("empty", False)
    GATHERING = ("gathering", False)
    SENDING = ("sending", True)
    HELD_UP = ("held up", False)
    FLUSHING = ("flushing", True)
    CLOSED = ("closed", False)

    def __init__(self, label: str, asks: bool) -> None:
        self.label = label
        self.asks = asks


class SinkVerdict(Enum):
    """What an answer amounts to."""

    TAKEN = "taken"
    LATER = "later"
    REFUSED = "refused"
    TOO_MUCH = "too much"


def verdict(status: int | None) -> SinkVerdict:
    """Of an HTTP status; None: no answer."""
    if status is None or status in (408, 425, 429):
        return SinkVerdict.LATER
    if status in (401, 403):
        return SinkVerdict.REFUSED
    return {2: SinkVerdict.TAKEN, 4: SinkVerdict.TOO_MUCH}.get(status // 100, SinkVerdict.LATER)


# ---- events


@dataclass(frozen=True, slots=True)
class Waiting:
    """So many lines wait now, those on their way too."""

    lines: int


@dataclass(frozen=True, slots=True)
class Answered:
    """The sink's answer to the batch on its way."""

    status: int | None
    """None: there was none."""
    lines: int
    """As many as were sent."""
    wait: float | None = None
    """Seconds that the sink asks us to wait."""


@dataclass(frozen=True, slots=True)
class Close:
    """The program ends."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline has come."""


Event = Waiting | Answered | Close | Tick
EVENTS: Final = (Waiting, Answered, Close, Tick)


# ---- effects


@dataclass(frozen=True, slots=True)
class Send:
    """Sends the first lines, so many at most, and reports Answered."""

    most: int


@dataclass(frozen=True, slots=True)
class Forget:
    """The batch that was on its way is where it should be."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The one line that was on its way will never be taken."""

    status: int


@dataclass(frozen=True, slots=True)
class TellRefused:
    """Says once that the sink does not accept our token."""

    status: int


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more is sent."""


Effect = Send | Forget | GiveUp | TellRefused | Ended


class Outbox:
    """The machine; see the rules above. `chance` gives numbers in [0, 1)."""

    def __init__(
        self, chance: Callable[[], float], batch: int = BATCH, every: float = EVERY, ladder: Ladder = OUTAGE
    ) -> None:
        self.state = OutboxState.EMPTY
        self.records: list[Record[OutboxState]] = []
        self.waiting = 0
        self._batch = batch
        self._most = batch
        self._every = every
        self._backoff = Backoff(ladder, chance)
        self._backoff.not_at_once()
        self._told_refused = False
        self._deadline: float | None = None

    def step(self, event: Event, now: float) -> list[Effect]:
        """Decides; `now` in monotonic seconds."""
        cell = TABLE[self.state, type(event)]
        if isinstance(event, Waiting):
            self.waiting = event.lines
        return [] if isinstance(cell, Ignored) else cell.by(self, event, now)

    def next_deadline(self) -> float | None:
        """Monotonic seconds at which step(Tick(), now) is due."""
        return self._deadline

    def _go(self, state: OutboxState, event: Event, now: float, deadline: float | None = None) -> None:
        self.records.append(Record("outbox", self.state, type(event).__name__, state, now, Generation(0)))
        self.state = state
        self._deadline = deadline

    # ---- cells

    def _gather(self, event: Event, now: float) -> list[Effect]:
        """Waits for a full batch, or for the time to be over."""
        if self.waiting >= self._most:
            return self._send(event, now)
        if self.waiting == 0:
            self._go(OutboxState.EMPTY, event, now)
        else:
            self._go(OutboxState.GATHERING, event, now, now + self._every)
        return []

    def _fill(self, event: Event, now: float) -> list[Effect]:
        """More has come, and the time runs on."""
        if self.waiting >= self._most or self._deadline is None or now >= self._deadline:
            return self._send(event, now)
        return []

    def _send(self, event: Event, now: float) -> list[Effect]:
        self._go(OutboxState.SENDING, event, now)
        return [Send(self._most)]

    def _judge(self, event: Answered, now: float) -> list[Effect]:
        told = self._tell_refused(event)
        match verdict(event.status):
            case SinkVerdict.TAKEN:
                return [*self._taken(event), *self._gather(event, now)]
            case SinkVerdict.TOO_MUCH if event.lines > 1:
                self._most = event.lines // 2
                return self._send(event, now)
            case SinkVerdict.TOO_MUCH:
                assert event.status is not None, "no answer is not too much"
                self.waiting = max(0, self.waiting - 1)
                return [GiveUp(event.status), *self._gather(event, now)]
        delay = self._backoff.next_delay() if event.wait is None else min(event.wait, LONGEST_REQUEST)
        self._go(OutboxState.HELD_UP, event, now, now + delay)
        return told

    def _taken(self, event: Answered) -> list[Effect]:
        self._backoff.reset()
        self._backoff.not_at_once()
        self._told_refused = False
        self.waiting = max(0, self.waiting - event.lines)
        self._most = min(self._batch, self._most * 2)
        return [Forget()]

    def _tell_refused(self, event: Answered) -> list[Effect]:
        if verdict(event.status) is not SinkVerdict.REFUSED or self._told_refused or event.status is None:
            return []
        self._told_refused = True
        return [TellRefused(event.status)]

    def _flush(self, event: Event, now: float) -> list[Effect]:
        self._go(OutboxState.FLUSHING, event, now)
        return [Send(self._most)]

    def _flush_on(self, event: Event, now: float) -> list[Effect]:
        """A batch in flight is waited for."""
        self._go(OutboxState.FLUSHING, event, now)
        return []

    def _judge_last(self, event: Answered, now: float) -> list[Effect]:
        told = self._tell_refused(event)
        match verdict(event.status):
            case SinkVerdict.TAKEN:
                done = self._taken(event)
            case SinkVerdict.TOO_MUCH if event.lines > 1:
                self._most = event.lines // 2
                done = []
            case _:
                return [*told, *self._close(event, now)]
        return [*done, *(self._flush(event, now) if self.waiting else self._close(event, now))]

    def _close(self, event: Event, now: float) -> list[Effect]:
        self._go(OutboxState.CLOSED, event, now)
        return [Ended()]


_S = OutboxState
_COUNTED: Final = Ignored("only counted: a batch is on its way, or the sink is given time")
_NOTHING: Final = Ignored("nothing is on its way")
_NO_TIMER: Final = Ignored("no time is running")
_OVER: Final = Ignored("the program ends; later lines are left to the next process")
_ENDING: Final = Ignored("already ending")

_GATHERED: Final = (_S.EMPTY, _S.GATHERING, _S.SENDING)
TABLE: Final[dict[tuple[OutboxState, type[Event]], Cell[OutboxState] | Ignored]] = {
    (_S.EMPTY, Waiting): Cell(Outbox._gather, _GATHERED),
    (_S.EMPTY, Answered): _NOTHING,
    (_S.EMPTY, Close): Cell(Outbox._close, (_S.CLOSED,)),
    (_S.EMPTY, Tick): _NO_TIMER,
    (_S.GATHERING, Waiting): Cell(Outbox._fill, (_S.GATHERING, _S.SENDING)),
    (_S.GATHERING, Answered): _NOTHING,
    (_S.GATHERING, Close): Cell(Outbox._flush, (_S.FLUSHING,)),
    (_S.GATHERING, Tick): Cell(Outbox._send, (_S.SENDING,)),
    (_S.SENDING, Waiting): _COUNTED,
    (_S.SENDING, Answered): Cell(Outbox._judge, (*_GATHERED, _S.HELD_UP)),
    (_S.SENDING, Close): Cell(Outbox._flush_on, (_S.FLUSHING,)),
    (_S.SENDING, Tick): _NO_TIMER,
    (_S.HELD_UP, Waiting): _COUNTED,
    (_S.HELD_UP, Answered): _NOTHING,
    (_S.HELD_UP, Close): Cell(Outbox._flush, (_S.FLUSHING,)),
    (_S.HELD_UP, Tick): Cell(Outbox._send, (_S.SENDING,)),
    (_S.FLUSHING, Waiting): _COUNTED,
    (_S.FLUSHING, Answered): Cell(Outbox._judge_last, (_S.FLUSHING, _S.CLOSED)),
    (_S.FLUSHING, Close): _ENDING,
    (_S.FLUSHING, Tick): _NO_TIMER,
    (_S.CLOSED, Waiting): _OVER,
    (_S.CLOSED, Answered): _OVER,
    (_S.CLOSED, Close): _ENDING,
    (_S.CLOSED, Tick): _NO_TIMER,
}
