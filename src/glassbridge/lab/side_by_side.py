"""Phones on bad networks, several side by side: a process for each share of them, with a whole system of its own, in a
network namespace of its own. Ports, addresses, devices and folders cannot collide."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from glassbridge.lab.impaired import OWN_NETWORK, require_available
from glassbridge.lab.needs import LabError
from glassbridge.lab.network_judge import Result
from glassbridge.lab.networks import Cell
from glassbridge.lab.program import Line, Program

START_S, EACH_S = 60.0, 150.0
"""Seconds for all to start, and for each phone, at most."""
GRACE = 5.0


async def measure_shares(
    words: Sequence[str], cells: Sequence[Cell], phones: int, jobs: int, on_line: Callable[[Line, Result | None], None]
) -> list[Result]:
    """What `glassbridge bench network WORDS` measures, by cell and transport. `phones`: how many speak in all.
    `on_line` hears what the processes write, and the result that it is. Raises UserError and LabError. Nothing is left
    when it is cancelled."""
    require_available()
    jobs, known = min(jobs, phones), {cell.name: cell for cell in cells}
    results: list[Result] = []

    def hear(line: Line) -> None:
        found: Mapping[str, object] = line.fields
        result = Result.from_json(found, known) if not line.log and found.get("event") == "measured" else None
        if result is not None:
            results.append(result)
        on_line(line, result)

    shares = [
        Program(
            f"share {which}", ("bench", "network", *words, "--share", f"{which}/{jobs}"), {}, hear, prefix=OWN_NETWORK
        )
        for which in range(jobs)
    ]
    try:
        async with asyncio.timeout(START_S + EACH_S * -(-phones // jobs)):
            await asyncio.gather(*(share.start() for share in shares))
            statuses = await asyncio.gather(*(share.wait() for share in shares))
    except TimeoutError:
        raise LabError("the measurement takes too long") from None
    finally:
        await asyncio.gather(*(share.stop(GRACE) for share in shares))
    for share, status in zip(shares, statuses, strict=True):
        if status:
            raise LabError(f"not everything was measured: {share.last_words}")
    order = list(known)
    return sorted(results, key=lambda result: (order.index(result.cell.name), result.transport))
