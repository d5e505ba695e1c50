"""Writes the table of all metrics into docs/observability.md; with --check only compares."""

import sys
from pathlib import Path

from glassbridge.telemetry.metrics import TABLE
from glassbridge.telemetry.numbers import ALL, Histogram, Metric
from tools.marked_part import rewritten

TARGET = Path(__file__).parent.parent / "docs" / "observability.md"
BEGIN = "<!-- metrics: written by tools/describe_metrics.py -->"
END = "<!-- end of metrics -->"


def table() -> str:
    """One row for each metric, in the order of the source."""
    rows = ["| metric | kind | from | labels | |", "|---|---|---|---|---|", *map(_row, TABLE)]
    return "\n".join(rows) + "\n"


def _row(metric: Metric) -> str:
    programs = "all" if metric.programs == ALL else ", ".join(sorted(program.value for program in metric.programs))
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
    kind = metric.kind
    if isinstance(metric, Histogram):
        kind += f", {metric.bounds[0]:g} to {metric.bounds[-1]:g} s"
    return f"| `{metric.name}` | {kind} | {programs} | {labels} | {metric.text} |"


def page(text: str) -> str:
    """The page with the table as it is now. Raises ValueError where it has no place for one."""
    return rewritten(text, BEGIN, END, table())


def main() -> None:
    """Ends with status 1 when they differ."""
    written = TARGET.read_text()
    if "--check" not in sys.argv:
        TARGET.write_text(page(written))
    elif page(written) != written:
        raise SystemExit("docs/observability.md is out of date: run make events")


if __name__ == "__main__":
    main()
