"""`glassbridge lab sim --links`: a phone's audio over bad links in virtual time."""

import json as json_module
import random
import sys
from time import perf_counter

from glassbridge.cli.common import start_logging
from glassbridge.lab.uplinks.run import Tally, playground, run_seeds
from glassbridge.lab.uplinks.schedule import make


def uplinks(seeds: int, first: int | None, seed: int | None, *, processes: int, story: bool, json: bool) -> int:
    """Plays each seed; exit status."""
    start_logging("lab", "error", "auto")
    if seed is not None:
        return _one(seed, story=story)
    begin = random.randrange(10**9) if first is None else first  # noqa: S311 - not for secrets
    begun = perf_counter()
    tally, told = Tally(), set[int]()
    print(f"seeds from {begin}", file=sys.stderr, flush=True)
    for so_far in run_seeds(begin, seeds, processes):
        tally = so_far
        for number in sorted(tally.violations.keys() - told):  # at once: who ends it early keeps the seeds
            told.add(number)
            _tell(number, tally.violations[number])
    seconds = perf_counter() - begun
    if json:
        print(json_module.dumps({"first": begin, "wall_s": round(seconds, 1), **tally.to_dict()}))
        return 1 if tally.violations else 0
    print(
        f"{tally.schedules} schedules (seeds {begin} to {begin + tally.schedules - 1}) in {seconds:.1f} s:"
        f" {len(tally.violations)} violated what must hold;"
        f" in {len(tally.given_up)} a hole was given up and filled later"
    )
    return 1 if tally.violations else 0


def _tell(seed: int, texts: list[str]) -> None:
    more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
    print(
        f"violated: {texts[0]}{more}\n  glassbridge lab sim --links --seed {seed} --story", file=sys.stderr, flush=True
    )


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
