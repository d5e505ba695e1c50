"""docs/simulation.md says how soon defects are found: each that it lists is there, in that simulation."""

import re
from pathlib import Path

from tests.sim import table

PAGE = Path(__file__).parents[2] / "docs" / "simulation.md"


def test_each_listed_defect_is_there() -> None:
    listed = PAGE.read_text().partition("## How soon defects are found")[2]
    known = {(world, defect.__name__) for world, defect, *_ in table.rows()}
    found = set(re.findall(r"^\| ([a-z ]+) \| `(\w+)` \|", listed, re.MULTILINE))
    assert found <= known
    assert len(found) > 20
