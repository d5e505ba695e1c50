"""N: networks that phones have, one scenario for each cell of lab/networks.py. `glassbridge bench network` measures, in
network namespaces of its own; here its figures are judged as those of any other scenario. Needs root."""

from functools import partial

from glassbridge.lab.networks import CELLS, Cell
from glassbridge.lab.scenario import Alone, scenario_alone
from glassbridge.lab.side_by_side import measure_shares
from glassbridge.lab.system import Sample

TRANSPORTS = ("data", "websocket")


async def measure(cell: Cell, how: Alone) -> list[Sample]:
    """One sample for each transport and run. Raises UserError and LabError."""
    by = (*TRANSPORTS, "track") if cell.by_track else TRANSPORTS
    transports = [word for transport in by for word in ("--transport", transport)]
    options = ("--runs", str(how.runs), "--seed", str(how.seed), "--participant", how.participant)
    words = (cell.name, *transports, *options)
    results = await measure_shares(words, [cell], len(by) * how.runs, how.jobs, lambda _line, _result: None)
    return [
        Sample(f"{cell.name} by {found.transport}", f"{cell.name}-{found.transport}", dict(found.figures))
        for found in results
    ]


for each in CELLS:
    scenario_alone(
        f"N-{each.name}",
        f"a network: {each.name}",
        story="-",
        must=each.must,
        measure=partial(measure, each),
        special=True,
    )
