"""`glassbridge lab sim --links`: a phone's audio over bad links in virtual time."""

import json as json_module
import random
from time import perf_counter

from glassbridge.cli.common import start_logging
from glassbridge.lab.uplinks.run import Tally, playground, run_seeds
from glassbridge.lab.uplinks.schedule import make

EXAMPLES = 5
"""Violations that are told in full."""


def uplinks(seeds: int, first: int | None, seed: int | None, *, processes: int, story: bool, json: bool) -> int:
    """Plays each seed; exit status."""
    start_logging("lab", "error", "auto")
    if seed is not None:
        return _one(seed, story=story)
    begin = random.randrange(10**9) if first is None else first  # noqa: S311 - not for secrets
    begun = perf_counter()
    tally = Tally()
    for so_far in run_seeds(begin, seeds, processes):
        tally = so_far
    seconds = perf_counter() - begun
    if json:
        print(json_module.dumps({"first": begin, "wall_s": round(seconds, 1), **tally.to_dict()}))
        return 1 if tally.violations else 0
    print(
        f"{tally.schedules} schedules (seeds {begin} to {begin + tally.schedules - 1}) in {seconds:.1f} s:"
        f" {len(tally.violations)} violated what must hold;"
        f" in {len(tally.given_up)} a hole was given up and filled later"
    )
    for number, texts in sorted(tally.violations.items())[:EXAMPLES]:
        print(f"  {texts[0]}" + (f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""))
        print(f"    glassbridge lab sim --links --seed {number} --story")
    return 1 if tally.violations else 0


def _one(seed: int, *, story: bool) -> int:
    with playground() as play:
        outcome = play(make(seed))
    print(outcome.schedule.about())
    if story:
        print("\n".join(outcome.story))
    for text in outcome.violations:
        print(f"violated: {text}")
    print(f"live {100 * outcome.live:.1f} %, p99 {outcome.age_s:.2f} s, {outcome.opened} sockets")
    return 1 if outcome.violations else 0
