"""`glassbridge lab sim`: the whole system in virtual time, under faults that a seed makes."""

import json as json_module
import random
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from glassbridge.lab.sim.runner import Tally

EXAMPLES = 5
"""Violations that are told in full; each has a command that replays it."""


def sim(
    seeds: Annotated[int, typer.Option(min=1, help="Schedules of faults to play.")] = 1_000,
    first: Annotated[int | None, typer.Option(min=0, help="First seed. Left out: a random one, printed.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Play only this one.")] = None,
    story: Annotated[bool, typer.Option("--story", help="With --seed: what happened, in order of time.")] = False,
    shrink: Annotated[bool, typer.Option("--shrink", help="With --seed: the least that violates the same.")] = False,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Processes that share the work.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="The figures as one JSON object.")] = False,
    apps: Annotated[
        bool, typer.Option("--apps", help="Weeks of apps whose users move: the cloud's and the SDK's own classes.")
    ] = False,
    links: Annotated[
        bool, typer.Option("--links", help="A phone's audio over links that lose, delay, reorder and carry little.")
    ] = False,
    days: Annotated[float, typer.Option(min=0.01, help="With --apps: how long each seed lasts.")] = 7.0,
    users: Annotated[int, typer.Option(min=1, max=200, help="With --apps: each has three apps.")] = 20,
    hours: Annotated[
        float, typer.Option(min=0.01, max=16.0, help="With --apps: each user speaks so long a day.")
    ] = 1.0,
    excess: Annotated[
        bool, typer.Option("--excess", help="With --apps: one user and one app send more than their share.")
    ] = False,
) -> None:
    """Play schedules of faults on the real machines in virtual time. Exit status 0 if nothing was violated."""
    if apps:
        from glassbridge.cli.weeks import weeks

        raise typer.Exit(
            weeks(seeds, first, seed, days=days, users=users, hours=hours, excess=excess, story=story, json=json)
        )
    if links:
        from glassbridge.cli.uplinks import uplinks

        raise typer.Exit(uplinks(seeds, first, seed, processes=processes, story=story, json=json))
    if seed is not None:
        raise typer.Exit(_one(seed, story=story, smaller=shrink))
    from glassbridge.lab.sim.runner import run_seeds

    begin = random.randrange(10**9) if first is None else first  # noqa: S311 - not for secrets
    begun = perf_counter()
    progress = _Progress(seeds, begin)
    tally = run_seeds(begin, seeds, processes, progress.show)
    progress.done()
    seconds = perf_counter() - begun
    if json:
        print(json_module.dumps({"first": begin, "wall_s": round(seconds, 1), **tally.to_dict()}))
    else:
        _report(tally, begin, seconds)
    raise typer.Exit(1 if tally.violations else 0)


def _one(seed: int, *, story: bool, smaller: bool) -> int:
    from glassbridge.lab.sim.runner import run
    from glassbridge.lab.sim.schedule import make
    from glassbridge.lab.sim.shrink import shrink

    outcome = run(make(seed))
    if smaller and outcome.violations:
        least = shrink(outcome.schedule, outcome.violations[0].checker)
        print(json_module.dumps(least.to_dict()))
        outcome = run(least)
    if story:
        for line in outcome.story():
            print(line)
    for text in outcome.violations:
        print(f"violated: {text}")
    if not outcome.violations:
        print(f"seed {seed}: {len(outcome.schedule.faults)} faults, nothing violated (history {outcome.digest:016x})")
    return 1 if outcome.violations else 0


def _report(tally: "Tally", first: int, seconds: float) -> None:
    rate = tally.schedules / max(seconds, 1e-9)
    hours = tally.virtual_s / 3600
    print(
        f"{tally.schedules} schedules (seeds {first} to {first + tally.schedules - 1}), {tally.faults} faults,"
        f" {hours:.1f} hours of virtual time in {seconds:.1f} s ({rate:.1f} a second), histories {tally.digest:016x}"
    )
    for socket, values in sorted(tally.back.items()):
        ordered = sorted(values)
        p50, p95, p99 = (ordered[int(len(ordered) * share)] for share in (0.5, 0.95, 0.99))
        print(
            f"audio back after healing, phone's socket {socket}: p50 {p50:.2f} s, p95 {p95:.2f} s, p99 {p99:.2f} s,"
            f" at most {ordered[-1]:.2f} s (n = {len(ordered)})"
        )
    if not tally.violations:
        print("nothing was violated")
        return
    print(f"{len(tally.violations)} schedules violated what must hold:")
    for seed, texts in sorted(tally.violations.items())[:EXAMPLES]:
        print(f"  {texts[0]}" + (f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""))
        print(f"    glassbridge lab sim --seed {seed} --story")


class _Progress:
    """One line on a terminal; nothing elsewhere."""

    def __init__(self, seeds: int, first: int) -> None:
        self._seeds = seeds
        self._first = first
        self._terminal = sys.stderr.isatty()

    def show(self, tally: "Tally") -> None:
        if self._terminal:
            text = f"{tally.schedules} of {self._seeds} from seed {self._first}, {len(tally.violations)} violated"
            print(f"\r\033[K{text}", file=sys.stderr, end="", flush=True)

    def done(self) -> None:
        if self._terminal:
            print("\r\033[K", file=sys.stderr, end="", flush=True)
