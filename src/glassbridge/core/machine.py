"""The parts that all machines share: cells of tables, and the record of a step. A machine is a class with

    step(event, now) -> list of effects        decides; changes state only through one place
    next_deadline() -> float | None            absolute monotonic seconds at which step(Tick(), now) is due
    records                                    what changed, for the log, the metrics, the tests

and knows nothing of asyncio, sockets or clocks. Its transitions are a total table over (state, event kind): every cell
is a transition, or says why the event is ignored there.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar


class State(Protocol):
    """A member of a machine's enum of states."""

    @property
    def label(self) -> str:
        """As logs and metrics name it."""


S = TypeVar("S", bound=State)


@dataclass(frozen=True, slots=True)
class Record(Generic[S]):
    """One change of state: the log line, the metric, the trace and the assertion are all this."""

    machine: str
    old: S
    event: str
    new: S
    at: float
    """Monotonic seconds."""
    generation: int
    cause: str = ""

    @property
    def fields(self) -> dict[str, str]:
        """What a log line says of it: old and new state, the event, and the cause."""
        return {"old": self.old.label, "on": self.event, "new": self.new.label, "cause": self.cause}


@dataclass(frozen=True, slots=True)
class Ignored:
    """A cell of a table in which the event changes nothing."""

    because: str


@dataclass(frozen=True, slots=True)
class Cell(Generic[S]):
    """A cell of a table in which `by(machine, event, now)` decides and gives the effects."""

    by: Callable[..., list[Any]]
    to: tuple[S, ...]
    """Every state in which the machine may be afterwards: the diagram is drawn from it, tests hold `by` to it."""


def total(
    legal: Mapping[tuple[S, type], Cell[S]], because: Mapping[S, str], events: tuple[type, ...]
) -> dict[tuple[S, type], Cell[S] | Ignored]:
    """The table of what is legal, and for each state one reason why everything else is ignored there."""
    return {
        (state, event): legal.get((state, event)) or Ignored(why) for state, why in because.items() for event in events
    }


def missing_cells(table: Mapping[tuple[S, type], object], states: Iterable[S], events: tuple[type, ...]) -> list[str]:
    """The cells that a table lacks; a total table gives an empty list."""
    return [f"({s.label}, {e.__name__})" for s in states for e in events if (s, e) not in table]
