"""Writes the tables of docs/settings.md: the settings from src/glassbridge/settings.py, the variables of options from
the commands. `--check` only compares. A setting without words, or a number with a fraction and no unit, is an error.
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import typer.main
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from glassbridge import settings
from glassbridge.cli.common import DEBUG_VARIABLE
from glassbridge.cli.main import program
from glassbridge.settings import PUBLIC_SECRETS, SettingKind, Settings, names_of
from tools.marked_part import rewritten

TARGET: Final = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
BEGIN, END = "<!-- settings: written by tools/describe_settings.py -->", "<!-- end of settings -->"
SECTION: Final = re.compile(r"    # --- (.+)")
KINDS: Final[Mapping[Any, str]] = {
    int: "number",
    str: "text",
    bool: "true or false",
    Path: "path",
    SecretStr: "secret",
    tuple: "comma list",
}
HEAD: Final = "| name | unit | default | meaning |\n|---|---|---|---|"
OPTIONS: Final = """## Options of commands

The option wins ([cli.md](cli.md)).

| name | default | meaning |
|---|---|---|"""
DEBUG_MEANING: Final = "Development: shows the traceback of an unexpected error."


def page(text: str) -> str:
    """The page with the tables as they are now. Raises ValueError for a setting that cannot be described."""
    return rewritten(text, BEGIN, END, "\n\n".join([*_sections(Path(settings.__file__).read_text()), _options()]))


def _sections(source: str) -> Iterator[str]:
    """One table for each `# ---` comment of the class."""
    rows: dict[str, list[str]] = {}
    for name, (section, words) in documented(source, Settings.__name__).items():
        rows.setdefault(section, []).append(row(name, Settings.model_fields[name], words))
    for section, lines in rows.items():
        yield "\n".join([f"## {section}\n", HEAD, *lines])


def documented(source: str, of: str) -> dict[str, tuple[str, str]]:
    """By field of a class: its section and its docstring. Raises ValueError where one is missing."""
    (body,) = [node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == of]
    sections = [
        (number, found[1]) for number, line in enumerate(source.splitlines(), 1) if (found := SECTION.match(line))
    ]
    told = {}
    for field, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        words = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        above = [title for number, title in sections if number < field.lineno]
        if not isinstance(words, str) or not words.strip() or not above:
            raise ValueError(f"the setting {field.target.id} has no words, or stands in no section")
        told[field.target.id] = (above[-1], words)
    return told


def row(name: str, field: FieldInfo, words: str) -> str:
    """A line of a table."""
    names = ", ".join(f"`{variable}`" for variable in names_of(name))
    return f"| {names} | {unit(name, field)} | {_default(field.default)} | {_cell(words)} |"


def unit(name: str, field: FieldInfo) -> str:
    """Unit of a number, with its range; what a text is. Raises ValueError where neither is known."""
    parts = [*_parts(field), *_parts(field.annotation)]
    kinds = [part.name for part in parts if isinstance(part, SettingKind)]
    kinds += [", ".join(f"`{choice}`" for choice in get_args(part)) for part in parts if get_origin(part) is Literal]
    kinds += [KINDS[part] for part in parts if isinstance(part, type) and part in KINDS]
    if not kinds:
        raise ValueError(f"the setting {name} needs a SettingKind: its unit")
    if SecretStr in parts and tuple in parts:
        return "secret, or a comma list"
    above, least, most = (_bound(parts, name) for name in ("gt", "ge", "le"))
    if not most:
        return kinds[0]
    return f"{kinds[0]}, {f'above {above}' if above else least} to {most}"


def _parts(told: Any) -> Iterator[Any]:
    """A type, and all that it is made of and that is said of it, at any depth."""
    yield told
    origin = get_origin(told)
    if isinstance(told, FieldInfo):
        inner = told.metadata
    else:
        inner = [] if origin in (None, Literal) else [origin, *get_args(told)]
    for part in inner:
        yield from _parts(part)


def _bound(parts: list[Any], name: str) -> str:
    found = [bound for part in parts if isinstance(bound := getattr(part, name, None), int | float)]
    return f"{found[0]:,.0f}" if found else ""


def _default(value: Any) -> str:
    if isinstance(value, tuple):
        return _default(value[0]) if value else "unset"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value in PUBLIC_SECRETS:
        return "a public development value"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int | float):
        return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
    return f"`{value}`" if value else "unset"


def _options() -> str:
    """Variables of options of the commands, where they are no settings as well."""
    settings_too = {variable for name in Settings.model_fields for variable in names_of(name)}
    options: dict[str, Any] = {}
    commands: dict[str, list[str]] = {}
    for command, path in _commands(typer.main.get_command(program), ""):
        for option in command.params:
            variables = (option.envvar,) if isinstance(option.envvar, str) else option.envvar or ()
            for variable in set(variables) - settings_too:
                options.setdefault(variable, option)
                commands.setdefault(variable, []).append(f"`{path}`")
    rows = [f"| `{DEBUG_VARIABLE}` | unset | {DEBUG_MEANING} |"]
    for name, option in options.items():
        where = f"`{option.opts[0]}` of {', '.join(sorted(commands[name]))}"
        default = getattr(option.default, "value", option.default)
        rows.append(f"| `{name}` | {_default(default)} | {where}: {_cell(option.help)} |")
    return "\n".join([OPTIONS, *sorted(rows)])


def _commands(command: Any, path: str) -> Iterator[tuple[Any, str]]:
    path = f"{path} {command.name}".strip()
    yield command, path
    for child in getattr(command, "commands", {}).values():
        yield from _commands(child, path)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    """Ends with status 1 when they differ."""
    written = TARGET.read_text()
    if "--check" not in sys.argv:
        TARGET.write_text(page(written))
    elif page(written) != written:
        raise SystemExit("docs/settings.md is older than the settings: run `make settings`")


if __name__ == "__main__":
    main()
