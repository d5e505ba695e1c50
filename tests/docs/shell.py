"""What README and docs tell a reader to type: the commands of their shell blocks, as they stand there."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [
    path
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "js" / "phone").glob("*.md")])
    if path.name not in ("cli.md", "CHANGELOG.md")
]
"""cli.md is written from the commands; the changelog tells what was."""
SHELLS = ("sh", "bash", "console")
_ASSIGNMENTS = re.compile(r"^(?:export )?(?:\w+=(?:\"[^\"]*\"|\$\([^)]*\)|\S)*\s*)+")


class Block(NamedTuple):
    """Lines that belong together: fenced, with a language, or indented, without one."""

    page: str
    language: str
    lines: tuple[str, ...]


class Typed(NamedTuple):
    """One command."""

    page: str
    text: str


def blocks(path: Path) -> Iterator[Block]:
    page, language, fenced, former = str(path.relative_to(ROOT)), "", False, ""
    lines: list[str] = []

    def whole() -> Iterator[Block]:
        if any(line.strip() for line in lines):
            yield Block(page, language, tuple(line for line in lines if line.strip()))
        lines.clear()

    for line in path.read_text().splitlines():
        if line.startswith("```"):
            yield from whole()
            fenced = not fenced
            language = line[3:].strip() if fenced else ""
        elif fenced or (line.startswith("    ") and (lines or not former.strip())):
            lines.append(line.strip())
        elif line.strip():
            yield from whole()
        former = line
    yield from whole()


def commands(block: Block) -> Iterator[Typed]:
    """Where a line begins with `$ `, those are the commands, and the others what they print. A line that only sets
    variables is none."""
    prompted = [line.removeprefix("$ ") for line in block.lines if line.startswith("$ ")]
    whole = "\n".join(prompted or block.lines).replace("\\\n", " ").splitlines()
    for line in whole:
        text = line.partition(" #")[0].removesuffix("&").strip()
        if not text.startswith("#") and _ASSIGNMENTS.sub("", text):
            yield Typed(block.page, text)


def program(text: str) -> str:
    """The first word that is no assignment; empty: there is none."""
    rest = _ASSIGNMENTS.sub("", text.removeprefix("$ ").partition(" #")[0].strip())
    return rest.split()[0] if rest else ""
