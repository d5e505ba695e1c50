"""What a supervisor knows of its workers in numbers: they tell it with each answer to a ping, so that the death of one
loses nothing but its last second, and what a dead one has counted stays counted."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from time import monotonic
from typing import Final

from glassbridge.bridge.process import WorkerProcess
from glassbridge.telemetry import metrics
from glassbridge.telemetry.numbers import Gauge, Part, Program, Snapshot, added

LABELS: Final = ("worker",)
"""Number of the worker; empty for what the supervisor tells of itself."""


class Overview:
    """Of all workers, by number; the supervisor reports each new process."""

    def __init__(self, workers: int, fresh: float) -> None:
        """A worker that answered `fresh` seconds ago or later is up."""
        self._fresh = fresh
        self._serving: dict[int, WorkerProcess | None] = dict.fromkeys(range(workers))
        self._leaving: dict[int, list[WorkerProcess]] = defaultdict(list)
        """Those that see their streams off, or are dead and still to be added to the past."""
        self._past: dict[int, Snapshot] = defaultdict(dict)
        self._ends: dict[int, Counter[str]] = defaultdict(Counter)

    def serves(self, number: int, worker: WorkerProcess) -> None:
        """This process is the worker now."""
        self._serving[number] = worker

    def ended(self, number: int, cause: str) -> None:
        """It serves no more: `died`, `frozen` or `replaced`."""
        self._ends[number][cause] += 1
        worker, self._serving[number] = self._serving[number], None
        if worker is not None:
            self._leaving[number].append(worker)

    def parts(self) -> Iterator[Part]:
        """For a scrape."""
        yield ("",), metrics.snapshot(Program.SUPERVISOR)
        for number in self._serving:
            yield (str(number),), self._of(number)

    def _of(self, number: int) -> Snapshot:
        found = self._past[number]
        for former in list(self._leaving[number]):
            found = added(found, _counted(former.numbers))
            if former.exit_status is not None:
                self._past[number] = added(self._past[number], _counted(former.numbers))
                self._leaving[number].remove(former)
        about: Snapshot = {metrics.WORKER_ENDS.name: [((cause,), n) for cause, n in self._ends[number].items()]}
        worker = self._serving[number]
        if worker is None:
            return found | about | {metrics.WORKER_UP.name: [((), 0.0)]}
        age = monotonic() - worker.answered_at
        about[metrics.WORKER_UP.name] = [((), float(age <= self._fresh))]
        about[metrics.WORKER_ANSWER_AGE.name] = [((), age)]
        return worker.numbers | added(found, _counted(worker.numbers)) | about


def _counted(numbers: Snapshot) -> Snapshot:
    """The lasting facts of a process that has ended."""
    return {name: values for name, values in numbers.items() if not isinstance(metrics.BY_NAME.get(name), Gauge)}
