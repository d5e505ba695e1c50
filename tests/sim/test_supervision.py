"""Supervision of worker processes in virtual time; and that its checkers find each defect that it once had."""

from collections.abc import Callable

import pytest

from glassbridge.bridge import process
from glassbridge.bridge.process import WorkerPool, WorkerProcess
from glassbridge.runtime.child import lines
from tests.sim.supervision import Checker, run

Patch = pytest.MonkeyPatch
SEEDS = 60


def test_no_fault_costs_more_than_its_worker() -> None:
    outcomes = [run(seed) for seed in range(SEEDS)]
    assert [violation for outcome in outcomes for violation in outcome.violations] == []
    assert sum(len(outcome.faults) for outcome in outcomes) > 3 * SEEDS
    assert sum(outcome.forks for outcome in outcomes) > 5 * SEEDS


def test_the_same_seed_is_the_same_history() -> None:
    assert [run(seed) for seed in range(5)] == [run(seed) for seed in range(5)]


def supervisor_that_a_failed_fork_ends(patch: Patch) -> None:
    """What the system refuses ends the bridge, with all workers that are well."""
    take = WorkerPool.take

    async def take_or_end(self: WorkerPool) -> WorkerProcess:
        try:
            return await take(self)
        except OSError as error:
            raise RuntimeError(str(error)) from error

    patch.setattr(WorkerPool, "take", take_or_end)


def lifeline_that_one_line_breaks(patch: Patch) -> None:
    """A line that cannot be read ends the reading; the worker is well, and is taken for frozen."""

    async def read(self: WorkerProcess) -> int:
        async for line in lines(self._reader):
            self._sign.set()
            word, _, rest = line.strip().partition(" ")
            self._take(word, rest)
        status = await self._child.wait()
        self._finish()
        return status

    patch.setattr(WorkerProcess, "read", read)


def spare_that_nobody_asks(patch: Patch) -> None:
    """A spare process that froze is found when it has not served for half a minute."""

    async def answers(_self: WorkerProcess, _seconds: float) -> bool:
        return True

    async def taken(self: WorkerPool, spare: WorkerProcess) -> bool:
        await spare.over.wait()
        return self._spare is not spare

    patch.setattr(WorkerProcess, "answers", answers)
    patch.setattr(WorkerPool, "_taken", taken)
    patch.setattr(process, "WARM_START_TIMEOUT", process.START_TIMEOUT)


MUTATIONS: list[tuple[Callable[[Patch], None], Checker]] = [
    (supervisor_that_a_failed_fork_ends, Checker.STAYS),
    (lifeline_that_one_line_breaks, Checker.SPARED),
    (spare_that_nobody_asks, Checker.SERVED),
]


@pytest.mark.parametrize(("defect", "checker"), MUTATIONS, ids=lambda value: getattr(value, "__name__", "in"))
def test_defect_is_found(defect: Callable[[Patch], None], checker: Checker, monkeypatch: Patch) -> None:
    defect(monkeypatch)
    assert any(run(seed).violates(checker) for seed in range(SEEDS))
