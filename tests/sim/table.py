"""`python -m tests.sim.table`: each mutation, and how many seeds it takes to find it."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from time import perf_counter
from typing import Any

import pytest

from glassbridge.lab.sim import runner, schedule
from glassbridge.lab.weeks import ledger
from glassbridge.lab.weeks.week import Outcome, play
from tests.lab.weeks import test_mutations as weeks
from tests.sim import log_sink, supervision, test_log_sink, test_mutations, test_supervision

MOST = 2_000
"""Seeds."""

Defect = Callable[[pytest.MonkeyPatch], None]
Run = Callable[[int], Any]
"""Plays a seed; the outcome."""


def rows() -> Iterator[tuple[str, Defect, Any, Run]]:
    """(world, defect, checker, run)"""
    yield from (("sim", defect, checker, _schedule) for defect, checker, _ in test_mutations.MUTATIONS)
    yield from (("supervision", defect, checker, supervision.run) for defect, checker in test_supervision.MUTATIONS)
    yield from (("log sink", defect, checker, log_sink.run) for defect, checker in test_log_sink.MUTATIONS)
    for mutations, excess in ((weeks.QUICK, False), (weeks.RARE, False), (weeks.EXCESS, True)):
        for defect, checker, _ in mutations:
            yield "apps", defect, checker, partial(_minutes, until=checker, excess=excess)


def _schedule(seed: int) -> runner.Outcome:
    return runner.run(schedule.make(seed))


def _minutes(seed: int, *, until: ledger.Checker, excess: bool) -> Outcome:
    return play(weeks.plan(seed, excess=excess), until=until)


def main(names: list[str]) -> int:
    """All, or those whose name has one of these words; exit status."""
    missed = 0
    for world, defect, checker, run in rows():
        if names and not any(name in f"{world}/{defect.__name__}" for name in names):
            continue
        begun = perf_counter()
        with pytest.MonkeyPatch.context() as patch:
            defect(patch)
            found = next((seed + 1 for seed in count() if seed >= MOST or run(seed).violates(checker)), MOST + 1)
        missed += found > MOST
        seeds = str(found) if found <= MOST else f"not within {MOST}"
        print(
            f"| {world} | {defect.__name__} | {checker.name.lower()} | {seeds} | {perf_counter() - begun:.1f} s |",
            flush=True,
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
