"""Writes docs/cli.md from the commands, the table of docs/doctor.md from the catalogue of `glassbridge doctor`, the
tables of docs/phone-check.md from those of `glassbridge phone-check`, and docs/messages.md from the tables of
rejections and complaints.

`--check` only compares.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import typer.main

from glassbridge.cli.checks.catalogue import Trouble
from glassbridge.cli.main import program
from glassbridge.lab.phone_check.acts import Act
from glassbridge.lab.phone_check.promises import PROMISES
from glassbridge.runtime.complaints import Complaint
from glassbridge.wire.rejections import Rejection
from tools.marked_part import rewritten

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- troubles: written by tools/describe_commands.py -->", "<!-- end of troubles -->"
PROMISES_MARKS = "<!-- promises: written by tools/describe_commands.py -->", "<!-- end of promises -->"
REJECTION_MARKS = "<!-- rejections: written by tools/describe_commands.py -->", "<!-- end of rejections -->"
COMPLAINT_MARKS = "<!-- complaints: written by tools/describe_commands.py -->", "<!-- end of complaints -->"
MAKERS = {"numbered": "number audio", "named": "give a name", "pings": "ping", "room": "want a room"}
HEAD = """# Command line

<!-- Written by tools/describe_commands.py from the commands themselves: `make commands`. -->

Options win over variables of the environment. Every command knows `--help` (`-h`); `glassbridge --version` tells the
version. Exit status: 0 done, 1 failed while running, 2 bad usage or settings, 130 interrupted.
[settings.md](settings.md) has the variables that are no options.
"""

KINDS: Mapping[type, str] = {int: "integer", float: "number", str: "text", Path: "path"}


def commands() -> str:
    """The page of all commands."""
    root = typer.main.get_command(program)
    context = root.context_class(root, info_name="glassbridge")
    return HEAD + "".join(_command(command, context) for command, context in _walk(root, context))


def _walk(command: Any, context: Any) -> Iterator[tuple[Any, Any]]:
    """Those that do something, depth first. (The types of typer's tree have no public names.)"""
    children = getattr(command, "commands", None)
    if children is None:
        yield command, context
        return
    for name, child in sorted(children.items()):
        yield from _walk(child, child.context_class(child, parent=context, info_name=name))


def _command(command: Any, context: Any) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    text = f"\n## {context.command_path}\n\n    {usage}\n\n{_paragraphs(command.help or '')}\n"
    shown = [part for part in command.params if not part.hidden and part.name != "help"]
    rows = [_argument(part) for part in shown if part.param_type_name == "argument"]
    rows += [_option(part) for part in shown if part.param_type_name == "option"]
    if rows:
        text += "\n| option | default | variable | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    return text


def _argument(argument: Any) -> str:
    return f"| `{argument.metavar or argument.name.upper()}` | {_default(argument)} | | {_cell(argument.help or '')} |"


def _option(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    kind = "" if option.is_flag else f" {_kind(option)}"
    variables = (option.envvar,) if isinstance(option.envvar, str) else option.envvar or ()
    told = ", ".join(f"`{name}`" for name in variables)
    return f"| {names}{kind} | {_default(option)} | {told} | {_cell(option.help or '')} |"


def _kind(option: Any) -> str:
    kind = option.type_descriptor.annotation
    while parts := [part for part in get_args(kind) if part is not type(None)]:
        kind = parts[0]
    if issubclass(kind, Enum):
        return ", ".join(f"`{choice.value}`" for choice in kind)
    name = KINDS[kind]
    if option.min is not None:
        name += f", {option.min:g} or more" if option.max is None else f" from {option.min:g} to {option.max:g}"
    return name


def _default(option: Any) -> str:
    value = getattr(option.default, "value", option.default)
    if option.required:
        return "required"
    if value is None or value == "" or (option.is_flag and not value):
        return ""
    return "on" if value is True else f"`{value}`"


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def troubles() -> str:
    """One row for each."""
    rows = ["| code | | what it says | what to do |", "|---|---|---|---|"]
    for trouble in Trouble:
        state, text, advice = trouble.value
        rows.append(f"| `{trouble.name.lower()}` | {state} | {_blanks(text)} | {_blanks(advice)} |")
    return "\n".join(rows) + "\n"


def _blanks(template: str) -> str:
    """With what is filled in set apart: in capitals."""
    return _cell(re.sub(r"\{(\w+)[^}]*\}", lambda blank: blank[1].upper(), template))


def doctor_page(written: str) -> str:
    """The page with the table as it is now. Raises ValueError where it has no place for one."""
    return rewritten(written, BEGIN, END, troubles())


def promises() -> str:
    """One row for each, and one for each act."""
    rows = ["| promise | what is expected | act | of phones that | from |", "|---|---|---|---|---|"]
    for promise in PROMISES:
        act = promise.act.label if promise.act is not None else "each"
        needs = ", ".join(MAKERS[need] for need in promise.needs) or "are phones"
        page = promise.source.removeprefix("docs/")
        rows.append(f"| `{promise.id}` | {_cell(promise.text)} | {act} | {needs} | [{Path(page).name}]({page}) |")
    rows += ["", "| act | what happens to the phone |", "|---|---|"]
    rows += [f"| {act.label} | {act.about} |" for act in Act]
    return "\n".join(rows) + "\n"


def promises_page(written: str) -> str:
    """The page with the tables as they are now. Raises ValueError where it has no place for them."""
    return rewritten(written, *PROMISES_MARKS, promises())


def rejections() -> str:
    """One row for each, by its code."""
    rows = ["| code | status | what it says | what to do |", "|---|---|---|---|"]
    for one in sorted(Rejection, key=lambda found: (found.code, found.status or 0, found.name)):
        cells = (_cell(re.sub(r"\{\w+\}", "…", text)) for text in (one.cause, one.remedy))
        rows.append(f"| `{one.code}` | {one.status or 'socket'} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def complaints() -> str:
    """One row for each, by its words."""
    rows = ["| what it says | what to do |", "|---|---|"]
    for one in sorted(Complaint, key=lambda found: found.cause.lower()):
        cells = (_cell(re.sub(r"\{[^}]*\}", "…", text)) for text in (one.cause, one.remedy))
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def messages_page(written: str) -> str:
    """The page with the tables as they are now. Raises ValueError where it has no place for them."""
    return rewritten(rewritten(written, *REJECTION_MARKS, rejections()), *COMPLAINT_MARKS, complaints())


PAGES: Mapping[str, Callable[[str], str]] = {
    "cli.md": lambda _written: commands(),
    "doctor.md": doctor_page,
    "messages.md": messages_page,
    "phone-check.md": promises_page,
}


def main() -> None:
    """Ends with status 1 when they differ."""
    for name, page in PAGES.items():
        path = DOCS / name
        written = path.read_text() if path.exists() else ""
        if "--check" not in sys.argv:
            path.write_text(page(written))
        elif page(written) != written:
            raise SystemExit(f"docs/{name} is older than the commands: run `make commands`")


if __name__ == "__main__":
    main()
