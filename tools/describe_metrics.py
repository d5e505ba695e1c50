"""Writes the table of all metrics into docs/observability.md; with --check only compares."""

import sys
from pathlib import Path

from glassbridge.telemetry.metrics import TABLE
from glassbridge.telemetry.numbers import ALL, Histogram, Metric

TARGET = Path(__file__).parent.parent / "docs" / "observability.md"
BEGIN = "<!-- metrics: written by tools/describe_metrics.py -->\n"
END = "<!-- end of metrics -->\n"


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
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{TARGET} lacks {BEGIN.strip()} or {END.strip()}")
    return f"{head}{begin}\n{table()}\n{end}{tail}"


def main() -> None:
    """Ends with status 1 when they differ."""
    written = TARGET.read_text()
    if "--check" not in sys.argv:
        TARGET.write_text(page(written))
    elif page(written) != written:
        raise SystemExit("docs/observability.md is older than telemetry/metrics.py: run tools/describe_metrics.py")


if __name__ == "__main__":
    main()
