"""N: networks that phones have, one scenario for each cell of lab/networks.py. `glassbridge bench network` measures, in
a network namespace of its own; here its figures are judged as those of any other scenario. Needs root."""

import asyncio
from functools import partial

from glassbridge.lab.impaired import INSIDE, OWN_NETWORK, require_available
from glassbridge.lab.needs import LabError
from glassbridge.lab.networks import CELLS, Cell
from glassbridge.lab.program import Program
from glassbridge.lab.scenario import Alone, scenario_alone
from glassbridge.lab.system import Sample

START_S, EACH_S = 60.0, 150.0
"""Seconds for all to start, and for each phone, at most."""
GRACE = 5.0
TRANSPORTS = ("data", "websocket")


async def measure(cell: Cell, how: Alone) -> list[Sample]:
    """One sample for each transport and run. Raises UserError and LabError. When cancelled, the child ends too."""
    require_available()
    transports = [word for transport in TRANSPORTS for word in ("--transport", transport)]
    options = ("--runs", str(how.runs), "--seed", str(how.seed), "--participant", how.participant, "--json")
    args = ("bench", "network", cell.name, *transports, *options)
    bench = Program("bench network", args, {INSIDE: "1"}, prefix=OWN_NETWORK)
    await bench.start()
    try:
        async with asyncio.timeout(START_S + EACH_S * how.runs * len(TRANSPORTS)):
            await bench.wait()
    except TimeoutError:
        raise LabError("the measurement takes too long") from None
    finally:
        await bench.stop(GRACE)
    samples = []
    for found in bench.events("measured"):
        figures = {name: value for name, value in found.items() if isinstance(value, int | float)}
        samples.append(Sample(f"{cell.name} by {found['transport']}", f"{cell.name}-{found['transport']}", figures))
    if not samples:
        raise LabError(f"nothing was measured: {bench.last_words}")
    return samples


for each in CELLS:
    scenario_alone(
        f"N-{each.name}",
        f"a network: {each.name}",
        story="-",
        must=each.must,
        measure=partial(measure, each),
        special=True,
    )
