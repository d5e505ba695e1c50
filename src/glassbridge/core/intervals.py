"""A stretch of positions in which each has exactly one label, kept as runs."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

L = TypeVar("L", bound=Hashable)


class Run(NamedTuple, Generic[L]):
    """The positions [start, stop), all of one label."""

    start: int
    stop: int
    label: L


class Runs(Generic[L]):
    """A partition of [start, stop) by construction: it grows at either end, and labels inside it can change.

    `totals` counts positions by label, those that were forgotten included.
    """

    __slots__ = ("_labels", "_starts", "kept_from", "start", "stop", "totals")

    def __init__(self, start: int) -> None:
        self.start = start
        """First position; does not move when runs are forgotten."""
        self.stop = start
        self.kept_from = start
        """Runs are kept from here on."""
        self.totals: Counter[L] = Counter()
        self._starts: list[int] = []
        self._labels: list[L] = []

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[Run[L]]:
        return (self._run(index) for index in range(len(self._starts)))

    def __reversed__(self) -> Iterator[Run[L]]:
        return (self._run(index) for index in reversed(range(len(self._starts))))

    def _run(self, index: int) -> Run[L]:
        stop = self._starts[index + 1] if index + 1 < len(self._starts) else self.stop
        return Run(self._starts[index], stop, self._labels[index])

    def append(self, stop: int, label: L) -> None:
        """[self.stop, stop) becomes part of the partition; nothing when empty."""
        if stop <= self.stop:
            return
        if not self._labels or self._labels[-1] != label:
            self._starts.append(self.stop)
            self._labels.append(label)
        self.totals[label] += stop - self.stop
        self.stop = stop

    def prepend(self, start: int, label: L) -> None:
        """[start, self.start) becomes part of the partition; only while nothing was forgotten (ValueError)."""
        if self.kept_from != self.start:
            raise ValueError("what was forgotten cannot grow")
        if start >= self.start:
            return
        self.totals[label] += self.start - start
        if self._labels and self._labels[0] == label:
            self._starts[0] = start
        else:
            self._starts.insert(0, start)
            self._labels.insert(0, label)
        self.start = self.kept_from = start

    def within(self, start: int, stop: int) -> list[Run[L]]:
        """The kept runs inside [start, stop), cut to it."""
        index = max(0, bisect_right(self._starts, start) - 1)
        found = []
        while index < len(self._starts) and self._starts[index] < stop:
            run = self._run(index)
            if max(run.start, start) < min(run.stop, stop):
                found.append(Run(max(run.start, start), min(run.stop, stop), run.label))
            index += 1
        return found

    def relabel(self, start: int, stop: int, label: L) -> None:
        """Positions of [start, stop), which must lie in one kept run, get another label (ValueError otherwise)."""
        index = bisect_right(self._starts, start) - 1
        if index < 0 or not start < stop <= self._run(index).stop:
            raise ValueError(f"[{start}, {stop}) is not within one run")
        run = self._run(index)
        if run.label == label:
            return
        self.totals[run.label] -= stop - start
        self.totals[label] += stop - start
        low, high = index, index + 1
        parts = [(start, label)]
        if run.start < start:
            parts.insert(0, (run.start, run.label))
        elif low and self._labels[low - 1] == label:
            parts.clear()  # the run before takes it in
        if stop < run.stop:
            parts.append((stop, run.label))
        elif high < len(self._labels) and self._labels[high] == label:
            high += 1  # and takes in the run after
        self._starts[low:high] = [at for at, _ in parts]
        self._labels[low:high] = [kept for _, kept in parts]

    def forget(self, before: int) -> None:
        """Drops the runs before a position; their totals stay."""
        before = min(before, self.stop)
        if before <= self.kept_from:
            return
        self.kept_from = before
        gone = bisect_right(self._starts, before) - 1 if before < self.stop else len(self._starts)
        del self._starts[:gone], self._labels[:gone]
        if self._starts:
            self._starts[0] = before
