"""Every command line of README and docs is one that the programs take; the quick ones really run."""

import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main

from glassbridge.cli.main import program
from tests.support.process import Program
from tests.support.walk import walk

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
GENERATED = "cli.md"
"""Written from the commands: `make check` compares it."""
TREE = typer.main.get_command(program)
CLIP = "src/glassbridge/lab/clips/clip.wav"


class Line(NamedTuple):
    """A command as a page shows it."""

    page: str
    text: str
    whole: bool
    """A line of a code block, to be typed as it stands; False: a mention, which may leave out what a command needs."""


def shown() -> Iterator[Line]:
    for path in PAGES:
        if path.name == GENERATED:
            continue
        page, fenced = str(path.relative_to(ROOT)), False
        for line in path.read_text().splitlines():
            fenced ^= line.startswith("```")
            if fenced or line.startswith("    "):
                yield from (Line(page, text, True) for text in typed(line))
            else:
                mentioned = re.findall(r"`(glassbridge [^`]*)`", line)
                yield from (Line(page, text, False) for mention in mentioned for text in alternatives(mention))


def typed(line: str) -> Iterator[str]:
    """The commands of one line of a shell, those within `$( )` too."""
    line = line.partition(" #")[0].strip().removeprefix("$ ")
    line = re.sub(r"^(export )?(\w+=\S+ )*", "", line)
    for inner in re.findall(r"\$\(([^()]*)\)", line):
        yield from typed(inner)
    line = re.sub(r"\$\([^()]*\)", "X", line).partition(" | ")[0].partition(" &")[0]
    if re.match(r"glassbridge [a-z-]", line):
        yield line


def alternatives(mention: str) -> list[str]:
    """`bench path | apps` are two."""
    first, *others = mention.split(" | ")
    return [first, *(f"{first.rpartition(' ')[0]} {other}" for other in others)]


def refused(line: Line) -> str:
    """What the program would not take; empty: it takes it."""
    words = shlex.split(re.sub(r"[\[\]]|\.\.\.", "", line.text))[1:]
    command, context = TREE, TREE.context_class(TREE, info_name="glassbridge")
    while (children := getattr(command, "commands", None)) is not None:
        if not words or words[0] in ("COMMAND", "--help", "--version"):
            return ""
        if words[0] not in children:
            return f"there is no command {words[0]!r}"
        command = children[words.pop(0)]
    values = ["1" if word.isupper() and word.isalpha() else word for word in words if word != "--help"]
    try:
        command.make_context(command.name, values, parent=context)
    except Exception as error:  # typer's usage errors have no public name
        missing = type(error).__name__ == "MissingParameter"
        return "" if missing and not line.whole else f"{type(error).__name__}: {error}"
    return ""


LINES = sorted(set(shown()))


@walk("line", LINES)
def test_each_command_is_one_that_the_program_takes(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLASSBRIDGE_TOKEN", "x.y.z")
    assert refused(line) == ""


def test_they_are_found() -> None:
    assert len(LINES) > 80
    assert {"README.md", "docs/tutorial.md", "docs/lab.md", "docs/phone.md"} <= {
        line.page for line in LINES if line.whole
    }
    assert any(line.text == "glassbridge token --user me" for line in LINES), "within $( )"
    assert any(line.text == "glassbridge bench telemetry" for line in LINES), "an alternative"


@pytest.mark.parametrize(
    "text",
    [
        "glassbridge dcotor",
        "glassbridge lab rnu F1",
        "glassbridge doctor --jsno",
        "glassbridge phone --token x --frame-ms 500",
        "glassbridge phone --token x --transport smoke",
        "glassbridge token",
        "glassbridge doctor now",
    ],
)
def test_what_it_does_not_take_is_noticed(text: str) -> None:
    assert refused(Line("", text, True))


def options(command: Any) -> Iterator[str]:
    for option in command.params:
        if getattr(option, "hidden", False):
            continue
        yield from (*option.opts, *option.secondary_opts)
    for child in getattr(command, "commands", {}).values():
        yield from options(child)


@walk("page", PAGES)
def test_each_option_that_is_mentioned_exists(page: Path) -> None:
    known = {*options(TREE), "--help"}
    mentioned = set(re.findall(r"`(--[a-z][a-z-]+)", page.read_text()))
    assert mentioned - known == set()


def test_each_option_is_on_a_page() -> None:
    page = (ROOT / "docs" / GENERATED).read_text()
    known = {name for name in options(TREE) if name.startswith("--") and not name.endswith("-completion")}
    assert len(known) > 60
    assert [option for option in sorted(known) if not re.search(rf"{option}\b", page)] == []


@walk("page", PAGES)
def test_each_target_of_make_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    mentioned = set(re.findall(r"(?:^    |`|&& )make ([a-z-]+)", page.read_text(), re.MULTILINE))
    assert mentioned - targets == set()


# ---- and they run


def run(text: str, folder: Path, status: int = 0) -> str:
    """A line of a page as a shell runs it; gives what it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", text], cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == status, f"{text}: {done.stderr}"
    return done.stdout


def on_a_page(text: str) -> str:
    """The same text, if a page shows it."""
    assert any(line.text == text for line in LINES), f"no page shows {text!r} any more"
    return text


@pytest.mark.parametrize(
    ("text", "prints"),
    [
        ("glassbridge token --user me", "eyJ"),
        ("glassbridge --version", "glassbridge "),
        ("glassbridge logs user ada@example.org", "ada@example.org"),
    ],
)
def test_the_quick_ones_run(text: str, prints: str, tmp_path: Path) -> None:
    assert prints in run(on_a_page(text), tmp_path)


def test_an_app_is_registered_as_the_page_says(tmp_path: Path) -> None:
    adds = next(line.text for line in LINES if line.page == "docs/apps.md" and "apps add" in line.text)
    assert len(run(adds, tmp_path).strip()) > 20
    assert "com.example.captions" in run("glassbridge apps list", tmp_path)


@pytest.mark.timeout(240)
async def test_the_tutorial_beside_dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lines as they stand, but for ports that are free and a LiveKit that every machine has."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    page = (ROOT / "docs" / "tutorial.md").read_text()
    phone = next(line.strip() for line in page.splitlines() if line.startswith("    glassbridge phone"))
    assert CLIP in phone
    ports = ("--port", "0", "--livekit-port", "0", "--livekit", "embedded", "--log-level", "error")
    async with Program.glassbridge("dev", *ports) as dev:
        greeting = await dev.says("  cloud    http", 60)
        monkeypatch.setenv("GLASSBRIDGE_CLOUD", greeting.split()[1])
        spoken = await asyncio.to_thread(run, phone, ROOT)
        assert "»" in spoken
        assert "me" in await asyncio.to_thread(run, on_a_page("glassbridge top") + " --once --ended", ROOT)
        assert "phone" in await asyncio.to_thread(run, on_a_page("glassbridge inspect me"), ROOT)
        exported = on_a_page("glassbridge inspect me --export session.json")
        assert "no audio, no tokens" in await asyncio.to_thread(run, exported, tmp_path)
