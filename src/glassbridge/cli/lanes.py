"""Draws a session's timeline for the terminal: one lane for each hop, dead hops in red, and what was done below."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from glassbridge.core.flight import LANES

LABEL: Final = 12
"""Columns of the terminal for the name of a lane."""
BARS: Final = " ▁▂▃▄▅▆▇█"
UNKNOWN: Final = "·"
DEAD: Final = "x"
LIGHTS: Final = {"ok": "green", "part": "yellow", "wait": "yellow", "bad": "red", "off": "bright_black"}
QUIET: Final = frozenset({"voice", "microphone"})
"""Kinds of events that are told only when all are asked for."""
HIDDEN: Final = frozenset({"seq", "at_ms", "kind", "generation", "room_age_ms", "socket_age_ms", "socket", "trace_id"})


def show(timeline: dict[str, Any], console: Console, *, every_event: bool = False) -> None:
    """Prints it all."""
    console.print(Group(*_parts(timeline, console.width, every_event)))


def _parts(timeline: dict[str, Any], width: int, every_event: bool) -> Iterable[RenderableType]:
    yield from _head(timeline, width)
    yield Text()
    yield from lanes(timeline, width)
    yield Text()
    yield _gaps(timeline["gaps"]) if timeline["gaps"] else Text("no hop was dead", style="green")
    yield Text()
    yield _events(timeline["events"], every_event)
    if timeline["events_dropped"]:
        yield Text(f"{timeline['events_dropped']} older events were too many to keep", style="yellow")


def _head(timeline: dict[str, Any], width: int) -> Iterable[Text]:
    row = timeline["session"]
    text = Text(f"{row['user']}  session {row['id']}  ")
    text.append(row["state"], style=f"bold {LIGHTS[row['light']]}")
    if row["text"]:
        text.append(f" ({row['text']})")
    text.append(f" since {clock(row['since_ms'])}")
    bridge = f"by {row['bridge']}" if row["bridge"] else ""
    if bridge and text.cell_len + 2 + len(bridge) <= width:
        yield text.append(f"  {bridge}")
        return
    yield text
    if bridge:
        yield Text(bridge)


# ---- lanes


def lanes(timeline: dict[str, Any], width: int) -> Iterable[Text]:
    """A line for each lane, and the time below."""
    counts = dict(zip(timeline["columns"], timeline["seconds"], strict=True))
    start, seconds = timeline["start_ms"], len(timeline["seconds"][0])
    if not seconds:
        yield Text("nothing was counted yet")
        return
    each = -(-seconds // max(1, width - LABEL - 1))
    for name, columns in LANES.items():
        gaps = [gap for gap in timeline["gaps"] if gap["lane"] == name]
        summed = [_sum(*values) for values in zip(*(counts[column] for column in columns), strict=True)]
        buckets = [_sum(*summed[at : at + each]) for at in range(0, seconds, each)]
        most = max((count for count in buckets if count), default=1)
        line = Text(f"{name:<{LABEL}}")
        for number, count in enumerate(buckets):
            begin = start + number * each * 1000
            dead = _dead(gaps, begin, begin + each * 1000, timeline["now_ms"])
            line.append(DEAD if dead else _bar(count, most), style="red" if dead else "green")
        yield line
    begin, end = clock(start), clock(start + seconds * 1000)
    beside = -(-seconds // each) - len(begin)
    axis = f"{f'{each} s/column':<{LABEL}}{begin}{end if beside > len(end) else '':>{max(0, beside)}}"
    yield Text(axis[:width], style="bright_black")


def _sum(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _bar(count: int | None, most: int) -> str:
    if count is None:
        return UNKNOWN
    return BARS[0] if count == 0 else BARS[max(1, round(count / most * (len(BARS) - 1)))]


def _dead(gaps: Sequence[dict[str, Any]], begin: int, end: int, now: int) -> bool:
    return any(gap["from_ms"] < end and (gap["to_ms"] or now) > begin for gap in gaps)


# ---- below


def _gaps(gaps: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bright_black")
    for title in ("from", "dead hop", "for"):
        table.add_column(title, no_wrap=True)
    table.add_column("why, and what healed it", overflow="fold")
    for gap in gaps:
        lasted = "still" if gap["to_ms"] is None else span(gap["to_ms"] - gap["from_ms"])
        why = f"{gap['text']} ({gap['code']})" if gap["text"] else gap["code"]
        if gap["named_by"] == "counters":
            why += ", as the counts show"
        hop = Text(gap["hop"] or "unknown", style="red")
        table.add_row(clock(gap["from_ms"]), hop, lasted, Text(f"{why}\n{_healing(gap)}"))
    return table


def _healing(gap: dict[str, Any]) -> str:
    """The seconds without audio, the way around the dead hop, and the cure."""
    parts = [f"no audio for {span(gap['silent_ms'])}" if gap["silent_ms"] else "no audio was missed"]
    if gap["around"]:
        parts.append("it came by the socket meanwhile")
    match gap["healed_by"]:
        case None:
            pass
        case "by itself":
            parts.append("healed by itself")
        case "ended":
            parts.append("the session ended")
        case str(action):
            parts.append(action if action.startswith("then ") else f"healed by {action}")
    return "; ".join(parts)


def _events(events: Sequence[dict[str, Any]], every: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bright_black", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for event in events:
        if every or event["kind"] not in QUIET:
            fields = (
                f"{name}={value}" for name, value in event.items() if name not in HIDDEN and value not in (None, "")
            )
            table.add_row(clock(event["at_ms"], fine=True), event["kind"], Text(" ".join(fields)))
    return table


def clock(at_ms: int, *, fine: bool = False) -> str:
    """Unix milliseconds as local time of day."""
    at = datetime.fromtimestamp(at_ms / 1000).astimezone()
    return f"{at:%H:%M:%S}.{at_ms % 1000:03}" if fine else f"{at:%H:%M:%S}"


def span(ms: int) -> str:
    """A duration for people."""
    return f"{ms} ms" if ms < 1_000 else f"{ms / 1000:.1f} s" if ms < 120_000 else f"{ms // 60_000} min"


def show_room(room: dict[str, Any], console: Console) -> None:
    """What a bridge's supervisor knows of one place in a room."""
    alive = "alive" if room["alive"] else "dead"
    console.print(
        f"\nbridge worker {room['worker']} (pid {room['pid']}, {alive}), generation {room['generation']}", markup=False
    )
    counts = dict(zip(room["columns"], room["seconds"], strict=True))
    for name, column in counts.items():
        shown = column[-(console.width - LABEL - 1) :]
        most = max((count for count in shown if count), default=1)
        console.print(Text(f"{name:<{LABEL}}" + "".join(_bar(count, most) for count in shown)))
    console.print(_events(room["events"], every=True))
