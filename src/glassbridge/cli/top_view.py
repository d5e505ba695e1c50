"""Draws what `glassbridge top` shows: a head line, and one row for each session, those in trouble first."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from glassbridge.cli.lanes import LIGHTS
from glassbridge.core.flight import COLUMNS

ORDER: Final = ("bad", "wait", "part", "ok", "off")
"""Of lights, from the top."""
WORDS: Final = {"bad": "dead", "wait": "connecting", "part": "degraded", "ok": "live", "off": "away"}
HEAD_LINES: Final = 4
"""Head, empty line, names of the columns, and the line for those that do not fit."""
WIDE: Final = 110
"""Columns of a terminal on which everything fits."""


def view(
    told: dict[str, Any], health: dict[str, Any], cloud: str, width: int, height: int | None, trouble: str = ""
) -> RenderableType:
    """`told` and `health` as the cloud answers; `height` None: all rows."""
    rows = sorted(told["sessions"], key=lambda row: (ORDER.index(row["light"]), row["user"]))
    fits = len(rows) if height is None else max(1, height - HEAD_LINES)
    parts: list[RenderableType] = [
        _head(rows, health, cloud),
        Text(trouble or _silent(told.get("nodes", ())), style="bold red"),
    ]
    if not rows:
        parts.append(Text("no sessions: phones connect to /glasses-ws", style="bright_black"))
    else:
        parts.append(_table(rows[:fits], told["now_ms"], wide=width >= WIDE))
    if len(rows) > fits:
        parts.append(Text(f"and {len(rows) - fits} more", style="bright_black"))
    return Group(*parts)


def _silent(nodes: Iterable[dict[str, Any]]) -> str:
    """Of several clouds, those that did not answer the one that was asked."""
    silent = [node["node"] for node in nodes if not node["answered"]]
    return f"no answer from {', '.join(silent)}: sessions there are missing here" if silent else ""


def _head(rows: list[dict[str, Any]], health: dict[str, Any], cloud: str) -> Text:
    counts = Counter(row["light"] for row in rows)
    bridges = health.get("bridges", {})
    head = Text(f"{cloud}  ", style="bold")
    well = health.get("status") == "ok"
    head.append(f"{health.get('status', 'silent')}  ", style="green" if well else "bold red")
    head.append(
        f"bridges {bridges.get('live', '?')}/{bridges.get('total', '?')}  sessions {len(rows)}", style="default"
    )
    for light in ORDER:
        if counts[light]:
            head.append(f"  {counts[light]} {WORDS[light]}", style=LIGHTS[light])
    if deaf := sum(row["hop"] == "recogniser" for row in rows):
        head.append(f"  {deaf} without captions", style=LIGHTS["part"])
    return head


def _table(rows: list[dict[str, Any]], now_ms: int, *, wide: bool) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bright_black")
    for name in ("", "user", "state", "for", "dead hop and why", "way", "in/s", "fed ms/s", "faults"):
        table.add_column(
            name, no_wrap=True, justify="right" if name in ("for", "in/s", "fed ms/s", "faults") else "left"
        )
    if wide:
        table.add_column("bridge", no_wrap=True)
        table.add_column("apps", no_wrap=True)
    for row in rows:
        colour = LIGHTS[row["light"]]
        hop = f"{row['hop']}: " if row["hop"] else ""
        cells = [
            Text("●", style=colour),
            Text(row["user"]),
            Text(row["state"], style=colour),
            Text(_for(now_ms - row["since_ms"])),
            Text(f"{hop}{row['text'] or row['code']}", style=colour, overflow="ellipsis"),
            Text(row["transport"] or "-"),
            Text(_sum(row, "cloud_in", "socket_in")),
            Text(_sum(row, "recogniser_fed")),
            Text(str(row["gaps"])),
        ]
        if wide:
            cells += [Text(_short(row["bridge"])), Text(", ".join(sorted(row["apps"])) or "-", overflow="ellipsis")]
        table.add_row(*cells)
    return table


def _sum(row: dict[str, Any], *columns: str) -> str:
    """Of what is known of the last second."""
    last = dict(zip(COLUMNS, row["last"], strict=False))
    known = [last[name] for name in columns if last.get(name) is not None]
    return str(sum(known)) if known else "-"


def _for(milliseconds: int) -> str:
    seconds = max(0, milliseconds // 1000)
    if seconds < 60:
        return f"{seconds}s"
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes}m{seconds:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def _short(bridge: str | None) -> str:
    return "-" if bridge is None else bridge.removeprefix("unix:").rsplit("/", 1)[-1]
