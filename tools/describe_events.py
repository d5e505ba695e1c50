"""Writes the table of log events in docs/observability.md from the source (`--check` only compares).

Where, how loud and with which fields is read from the calls; what an event means is kept from the table that is there.
A new one is left empty: fill it in, `--check` does not take it so.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tools.marked_part import marked, rewritten

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "glassbridge"
TARGET = ROOT / "docs" / "observability.md"
NOT_SHIPPED = {"app", "lab", "phone"}
"""Packages whose lines a deployment of cloud and bridge does not ship."""
STORY = SOURCE / "cloud" / "story.py"
"""Tells the log and the flight recorder in one."""
OF_A_RECORD = {"old", "on", "new", "cause"}
"""What a change of a machine's state says (`core/machine.Record.fields`)."""
LEVELS = ("debug", "info", "warning", "error", "exception")
BEGIN, END = "<!-- events: written by tools/describe_events.py -->", "<!-- end of events -->"
_ROW = re.compile(r"^\| `(.+?)` \|.*\| (.*?) \|$", re.MULTILINE)


@dataclass
class Event:
    """One name, in all places where it is logged."""

    rooms: set[str] = field(default_factory=set)
    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)


@cache
def events() -> dict[str, Event]:
    """All event names of the shipped packages. Raises ValueError for a name that is not written where it is logged."""
    found: dict[str, Event] = {}
    for room in sorted({path.name for path in SOURCE.iterdir() if path.is_dir()} - NOT_SHIPPED):
        for path in sorted((SOURCE / room).rglob("*.py")):
            for call in ast.walk(ast.parse(path.read_text())):
                for name, level, fields in _logged(call, tells=path == STORY):
                    event = found.setdefault(name, Event())
                    event.rooms.add(room)
                    event.levels.add(level)
                    event.fields |= fields
    return found


def _logged(node: ast.AST, *, tells: bool) -> Iterator[tuple[str, str, set[str]]]:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
        return
    method = node.func.attr
    if method not in LEVELS and not (tells and method == "_tell"):
        return
    name = node.args[0]
    texts = [name.body, name.orelse] if isinstance(name, ast.IfExp) else [name]
    level = {"exception": "error", "_tell": "info"}.get(method, method)
    fields = {keyword.arg for keyword in node.keywords if keyword.arg and keyword.arg != "exc_info"}
    if any(ast.unparse(keyword.value) == "record.fields" for keyword in node.keywords):
        fields |= OF_A_RECORD
    for text in texts:
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            yield text.value, level, fields
        elif not tells:
            raise ValueError(f"line {text.lineno}: the name of an event is not written there: {ast.unparse(node)}")


def table(meanings: dict[str, str]) -> str:
    """The table, with these meanings."""
    rows = ["| event | from | level | fields of its own | what it means |", "|---|---|---|---|---|"]
    for name, event in sorted(events().items(), key=lambda item: (sorted(item[1].rooms), item[0].casefold())):
        cells = (sorted(event.rooms), sorted(event.levels, key=LEVELS.index), sorted(event.fields))
        rooms, levels, fields = (", ".join(cell) for cell in cells)
        rows.append(f"| `{name}` | {rooms} | {levels} | {fields or '-'} | {meanings.get(name, '')} |")
    return "\n".join(rows)


def described(text: str) -> str:
    """The document with the table anew."""
    meanings = dict(_ROW.findall(marked(text, BEGIN, END)))
    return rewritten(text, BEGIN, END, table(meanings))


def without_meaning(text: str) -> list[str]:
    """Events of the document that it does not explain."""
    return [name for name, meaning in _ROW.findall(marked(text, BEGIN, END)) if not meaning.strip()]


def main() -> int:
    text = TARGET.read_text()
    fresh = described(text)
    if "--check" in sys.argv:
        if fresh != text:
            print("docs/observability.md lacks log events, or has old ones: run make events")
        for name in (unexplained := without_meaning(text)):
            print(f"docs/observability.md does not say what {name!r} means")
        return int(fresh != text or bool(unexplained))
    TARGET.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
