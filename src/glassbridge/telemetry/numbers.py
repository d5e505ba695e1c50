"""The metrics of a process: plain numbers, cheap enough for each frame, read at a scrape.

A number is written on the event loop only. A snapshot of them travels as JSON between processes.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from typing import Final

Labels = tuple[str, ...]
Value = float | list[float]
"""Of a histogram: how many were in each bucket, beyond the last one, and their sum."""
Snapshot = dict[str, list[tuple[Labels, Value]]]
"""By the name of the metric."""
Part = tuple[Labels, Snapshot]
"""Labels that all numbers of a snapshot get beside their own, and the snapshot."""
Reading = float | Mapping[Labels, float]


class Program(Enum):
    """Whose metrics."""

    CLOUD = "cloud"
    SUPERVISOR = "supervisor"
    WORKER = "worker"


ALL: Final = frozenset(Program)
CLOUD: Final = frozenset({Program.CLOUD})
SUPERVISOR: Final = frozenset({Program.SUPERVISOR})
WORKER: Final = frozenset({Program.WORKER})


class Metric:
    """Its help text, and the programs that have it."""

    kind: str

    def __init__(self, name: str, text: str, programs: frozenset[Program], labels: Labels = ()) -> None:
        self.name = name
        self.text = text
        self.programs = programs
        self.labels = labels

    def values(self) -> list[tuple[Labels, Value]]:
        """What it is now, by labels."""
        raise NotImplementedError


class Cell:
    """One number of a counter. `cell.count += 1` is all that a frame costs."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0.0


class Counter(Metric):
    """Only grows. Numbers of `known` labels are 0 from the start, so that a first one is seen as a step."""

    kind = "counter"

    def __init__(
        self, name: str, text: str, programs: frozenset[Program], labels: Labels = (), known: Iterable[Labels] = ()
    ) -> None:
        super().__init__(name, text, programs, labels)
        self._cells: dict[Labels, Cell] = {}
        self._readers: list[Callable[[], Reading]] = []
        for found in known if labels else ((),):
            self.cell(*found)

    def cell(self, *labels: str) -> Cell:
        """The number of these labels, for callers that count often."""
        found = self._cells.get(labels)
        if found is None:
            assert len(labels) == len(self.labels), f"{self.name} has the labels {self.labels}"
            found = self._cells[labels] = Cell()
        return found

    def add(self, *labels: str, by: float = 1) -> None:
        """Counts."""
        self.cell(*labels).count += by

    def read_by(self, reader: Callable[[], Reading]) -> Callable[[], None]:
        """Adds the readings of `reader` to it, for things that are counted elsewhere. Call the returned function, once
        or more often, to end that."""
        self._readers.append(reader)

        def forget() -> None:
            with suppress(ValueError):
                self._readers.remove(reader)

        return forget

    def values(self) -> list[tuple[Labels, Value]]:
        found: dict[Labels, float] = {labels: cell.count for labels, cell in self._cells.items()}
        _add_readings(found, self._readers)
        return list(found.items())


class Gauge(Metric):
    """Goes up and down: it is not counted, its owners are asked. Several owners in one process add up."""

    kind = "gauge"

    def __init__(
        self,
        name: str,
        text: str,
        programs: frozenset[Program],
        labels: Labels = (),
        together: Callable[[float, float], float] = float.__add__,
    ) -> None:
        super().__init__(name, text, programs, labels)
        self._together = together
        self._readers: list[Callable[[], Reading]] = []

    def read_by(self, reader: Callable[[], Reading]) -> Callable[[], None]:
        """Asks `reader` from now on; call what is returned when its owner ends, idempotent."""
        self._readers.append(reader)

        def forget() -> None:
            if reader in self._readers:
                self._readers.remove(reader)

        return forget

    def values(self) -> list[tuple[Labels, Value]]:
        found: dict[Labels, float] = {}
        _add_readings(found, self._readers, self._together)
        return list(found.items())


class Histogram(Metric):
    """How often each size was seen; `bounds` are the buckets' upper ends."""

    kind = "histogram"

    def __init__(
        self,
        name: str,
        text: str,
        programs: frozenset[Program],
        bounds: Sequence[float],
        labels: Labels = (),
        known: Iterable[Labels] = (),
    ) -> None:
        super().__init__(name, text, programs, labels)
        self.bounds = tuple(bounds)
        self._series: dict[Labels, list[float]] = {}
        for found in known if labels else ((),):
            self._of(found)

    def _of(self, labels: Labels) -> list[float]:
        found = self._series.get(labels)
        if found is None:
            assert len(labels) == len(self.labels), f"{self.name} has the labels {self.labels}"
            found = self._series[labels] = [0.0] * (len(self.bounds) + 2)
        return found

    def observer(self, *labels: str) -> Callable[[float], None]:
        """Takes one observation of these labels, for callers that observe often."""
        series, bounds = self._of(labels), self.bounds

        def observe(value: float) -> None:
            series[bisect_left(bounds, value)] += 1
            series[-1] += value

        return observe

    def observe(self, value: float, *labels: str) -> None:
        """One observation."""
        self.observer(*labels)(value)

    def values(self) -> list[tuple[Labels, Value]]:
        return [(labels, list(series)) for labels, series in self._series.items()]


def _add_readings(
    found: dict[Labels, float],
    readers: Iterable[Callable[[], Reading]],
    together: Callable[[float, float], float] = float.__add__,
) -> None:
    for reader in readers:
        reading = reader()
        for labels, value in (reading if isinstance(reading, Mapping) else {(): reading}).items():
            found[labels] = together(found[labels], float(value)) if labels in found else float(value)


# ---- snapshots


def added(one: Snapshot, other: Snapshot) -> Snapshot:
    """Both together, number by number."""
    total = {name: dict(values) for name, values in one.items()}
    for name, values in other.items():
        known = total.setdefault(name, {})
        for labels, value in values:
            known[labels] = _sum(known[labels], value) if labels in known else value
    return {name: list(values.items()) for name, values in total.items()}


def _sum(one: Value, other: Value) -> Value:
    if isinstance(one, list) and isinstance(other, list):
        return [a + b for a, b in zip(one, other, strict=True)]
    assert not isinstance(one, list)
    assert not isinstance(other, list)
    return one + other
