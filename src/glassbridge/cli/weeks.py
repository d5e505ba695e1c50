"""`glassbridge lab sim --apps`: weeks of apps whose users move between clouds, in virtual time."""

import json as json_module
from collections import Counter

from glassbridge.lab.weeks.chaos import DAY, Plan
from glassbridge.lab.weeks.week import Outcome, play

SEEDS = 1
"""The default: a week takes minutes."""
TOLD = 10
"""Violations of one seed that are told."""


def weeks(
    seeds: int,
    first: int | None,
    seed: int | None,
    *,
    days: float,
    users: int,
    hours: float,
    excess: bool,
    story: bool,
    json: bool,
) -> int:
    """Plays each seed; exit status."""
    begin = seed if seed is not None else first or 0
    many = 1 if seed is not None else seeds
    wrong = 0
    for number in range(begin, begin + many):
        plan = Plan(seed=number, days=days, users=users, speaks=hours, excess=excess)
        outcome = play(plan, print if story else None)
        wrong += bool(outcome.violations)
        print(json_module.dumps(_figures(outcome)) if json else _lines(outcome), flush=True)
    return 1 if wrong else 0


def _figures(outcome: Outcome) -> dict[str, object]:
    return {
        "seed": outcome.plan.seed,
        "balanced": outcome.plan.balanced,
        "virtual_days": round(outcome.virtual_s / DAY, 2),
        "wall_s": round(outcome.wall_s, 1),
        "worst_deaf_s": round(outcome.worst, 1),
        "worst_deaf_of": outcome.worst_of,
        "deaf_s": dict(sorted(outcome.spells.items())),
        "counts": dict(sorted(outcome.counts.items())),
        "objects_each_night": outcome.kept,
        "digest": outcome.digest,
        "violations": [str(violation) for violation in outcome.violations],
    }


def _lines(outcome: Outcome) -> str:
    counts: Counter[str] = outcome.counts
    days = outcome.virtual_s / DAY
    restarts = counts["terminated"] + counts["killed"] + counts["powerless"]
    lines = [
        f"seed {outcome.plan.seed} ({'balancer' if outcome.plan.balanced else 'clouds by name'}): {days:.1f} days in"
        f" {outcome.wall_s:.0f} s ({days / outcome.wall_s:.3f} days a second)",
        f"  {counts['said']} sentences, {counts['heard']} heard by apps, {counts['session']} sessions;"
        f" {counts['moves']} moves, {counts['roams']} changes of network, {restarts} restarts, {counts['cut']} links"
        f" cut, {counts['frozen']} processes frozen",
        f"  longest deafness of an app: {outcome.worst:.1f} s ({outcome.worst_of})",
        f"  {len(outcome.violations)} violations" if outcome.violations else "  nothing was violated",
        *(f"    {violation}" for violation in outcome.violations[:TOLD]),
    ]
    return "\n".join(lines)
