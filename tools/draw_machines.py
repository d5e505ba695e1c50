"""Writes docs/machines.md from the tables of the machines in src/glassbridge/core (`--check` only compares).

A machine is a module of core with a total TABLE over (state, event) and the tuple EVENTS; a new one is found by itself.
"""

import inspect
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import ModuleType

from glassbridge import core
from glassbridge.core.machine import Cell, Ignored

TARGET = Path(__file__).resolve().parent.parent / "docs" / "machines.md"
HEAD = """\
# The machines

What decides in glassbridge, drawn from the tables in `src/glassbridge/core` by `tools/draw_machines.py`: do not edit
(`make machines` writes it anew, `make check` compares). Each machine is a plain function of (state, event, now) and
knows nothing of sockets, tasks or clocks; the shell beside it turns the world into events and effects into deeds. An
arrow names the events that may lead that way. Events that change no state are not drawn: the table under each picture
has every cell, those included in which an event is ignored, with the reason."""


def machines() -> Iterator[ModuleType]:
    """Every module of core that holds a machine, by name."""
    for found in pkgutil.iter_modules(core.__path__):
        module = import_module(f"{core.__name__}.{found.name}")
        if hasattr(module, "TABLE") and hasattr(module, "EVENTS"):
            yield module


def words(state: Enum) -> str:
    """AWAITING_AUDIO is `awaiting audio` for people."""
    return state.name.lower().replace("_", " ")


def page() -> str:
    """The whole file."""
    return "\n\n".join([HEAD, *(section(module) for module in machines())]) + "\n"


def section(module: ModuleType) -> str:
    """One machine: its rules, the picture, the table, what it hears and what it wants done."""
    name = module.__name__.rpartition(".")[2]
    states = list(type(next(iter(module.TABLE))[0]))
    return "\n\n".join(
        [
            f"## {name.replace('_', ' ').capitalize()}\n\n`core/{name}.py`",
            rules(module),
            diagram(module, states),
            table(module, states),
            "**Events**\n\n" + glossary(module.EVENTS),
            "**Effects**\n\n" + glossary(module.Effect.__args__),
        ]
    )


def rules(module: ModuleType) -> str:
    """The module's docstring; its lists need an empty line before them in Markdown."""
    lines = inspect.cleandoc(module.__doc__ or "").splitlines()
    return "\n".join("**Rules**\n" if line == "Rules" else line for line in lines)


def diagram(module: ModuleType, states: list[Enum]) -> str:
    """A Mermaid picture: one arrow for each pair of states, with all its events; the first state is the beginning."""
    arrows: dict[tuple[Enum, Enum], list[str]] = {}
    for old in states:
        for event in module.EVENTS:
            cell = module.TABLE[old, event]
            for new in cell.to if isinstance(cell, Cell) else ():
                if new is not old:
                    arrows.setdefault((old, new), []).append(event.__name__)
    lines = [f"{state.name.lower()}: {words(state)}" for state in states]
    lines.append(f"[*] --> {states[0].name.lower()}")
    lines += [f"{old.name.lower()} --> {new.name.lower()}: {', '.join(names)}" for (old, new), names in arrows.items()]
    lines += [f"{state.name.lower()} --> [*]" for state in states if not any(old is state for old, _ in arrows)]
    return "\n".join(["```mermaid", "stateDiagram-v2", *(f"    {line}" for line in lines), "```"])


def table(module: ModuleType, states: list[Enum]) -> str:
    """Every cell: what is decided there and where it may lead, or the number of the reason to ignore the event."""
    reasons: list[str] = []

    def shown(state: Enum, cell: Cell[Enum] | Ignored) -> str:
        if isinstance(cell, Ignored):
            if cell.because not in reasons:
                reasons.append(cell.because)
            return f"ignored ({reasons.index(cell.because) + 1})"
        deed = cell.by.__name__.strip("_").replace("_", " ")
        places = " or ".join("stays" if new is state else f"**{words(new)}**" for new in cell.to)
        return f"{deed}: {places}"

    rows = [
        ["", *(words(state) for state in states)],
        ["---"] * (len(states) + 1),
        *([event.__name__, *(shown(state, module.TABLE[state, event]) for state in states)] for event in module.EVENTS),
    ]
    drawn = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    ignored = "\n".join(f"{number}. {because}" for number, because in enumerate(reasons, 1))
    return f"{drawn}\n\nIgnored, because:\n\n{ignored}"


def glossary(kinds: Iterable[type]) -> str:
    """Each kind with its docstring."""
    return "\n".join(f"- `{kind.__name__}`: {' '.join(inspect.cleandoc(kind.__doc__ or '').split())}" for kind in kinds)


def main() -> None:
    """Writes or, with --check, compares; ends with status 1 when they differ."""
    drawn = page()
    if "--check" not in sys.argv:
        TARGET.write_text(drawn)
    elif not TARGET.exists() or TARGET.read_text() != drawn:
        raise SystemExit(f"docs/{TARGET.name} is older than the tables in core; run `make machines`")


if __name__ == "__main__":
    main()
