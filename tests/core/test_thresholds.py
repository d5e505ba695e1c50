"""docs/thresholds.md: each pair of times that judge the same thing, as the code has them."""

import re
from importlib import import_module
from operator import eq, gt, lt
from pathlib import Path

import pytest

TABLE = Path(__file__).parents[2] / "docs" / "thresholds.md"
ROW = re.compile(r"\| `(\w+)\.(\w+)` ([\d.]+) \| `(\w+)\.(\w+)` ([\d.]+) \| ([<>=]) \| (.+) \|")
RELATIONS = {"<": lt, ">": gt, "=": eq}


def rows() -> list[tuple[str, ...]]:
    return [match.groups() for line in TABLE.read_text().splitlines() if (match := ROW.fullmatch(line))]


def value(module: str, name: str) -> float:
    return float(getattr(import_module(f"glassbridge.core.{module}"), name))


def test_every_row_is_read() -> None:
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("| `")]
    assert len(lines) == len(rows()) >= 30


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row[1]}-{row[4]}")
def test_a_pair_is_as_the_table_has_it(row: tuple[str, ...]) -> None:
    module, name, figure, other_module, other_name, other_figure, relation, why = row
    assert value(module, name) == float(figure)
    assert value(other_module, other_name) == float(other_figure)
    assert RELATIONS[relation](float(figure), float(other_figure)), why
