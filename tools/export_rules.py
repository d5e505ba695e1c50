"""Writes what a phone in another language decides by, from our own phone's modules: docs/protocol/machines.json for
everybody, and js/phone/src/rules.js for the JavaScript phone, which reads its tables and numbers there.

Exported: the states of each machine, the cell of each (state, event), the constants of its module, the tables of the
wire. `--check` only compares.
"""

import ast
import inspect
import json
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

from glassbridge.core import (
    audio_routes,
    phone_link,
    phone_place,
    phone_socket,
    route_reports,
    sending,
    sending_levels,
    sockets_beside,
)
from glassbridge.core.diagnosis import MUTED
from glassbridge.core.machine import Cell
from glassbridge.core.values import SAMPLE_RATE, LossReason
from glassbridge.phone import (
    beside,
    by_track,
    capture,
    coding,
    insisting,
    lanes,
    missing,
    pacing,
    plain,
    resending,
    sender,
    track_tail,
)
from glassbridge.wire import audio_frames
from glassbridge.wire import phone as wire
from glassbridge.wire.close_codes import CloseCode

ROOT = Path(__file__).resolve().parent.parent
FOR_ALL = ROOT / "docs" / "protocol" / "machines.json"
FOR_JAVASCRIPT = ROOT / "js" / "phone" / "src" / "rules.js"
NOT_EDITED = "Written by tools/export_rules.py from src/glassbridge: `make machines`."
MACHINES = (phone_socket, phone_place)
CONSTANTS = (
    phone_link, sending, sending_levels, sockets_beside, route_reports, audio_routes, capture, coding, sender, lanes,
    resending, plain, missing, pacing, beside, insisting, by_track, track_tail, audio_frames,
)  # fmt: skip
"""Modules of which only the constants are exported."""


def camel(name: str) -> str:
    """`_lose_network` is `loseNetwork`."""
    first, *rest = name.strip("_").split("_")
    return first + "".join(word.title() for word in rest)


def jsonable(value: Any) -> Any:
    """A constant as JSON has it. Raises TypeError where it is none."""
    match value:
        case bool() | int() | float() | str():
            return value
        case Enum():
            return value.value
        case tuple() | list():
            return [jsonable(item) for item in value]
        case frozenset():
            return sorted(jsonable(item) for item in value)
        case Mapping():
            return {str(jsonable(key)): jsonable(item) for key, item in value.items()}
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {camel(field.name): jsonable(getattr(value, field.name)) for field in fields(value)}
    raise TypeError(f"no constant: {value!r}")


def constants(module: ModuleType) -> dict[str, Any]:
    """The public names in capitals that this module itself binds to numbers, words and tables of them."""
    found = {}
    for node in ast.parse(inspect.getsource(module)).body:
        match node:
            case ast.Assign(targets=targets):
                names = [one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name)):
                names = [name]
            case _:
                names = []
        for name in names:
            if name.isupper() and not name.startswith("_") and name not in ("TABLE", "EVENTS"):
                try:
                    found[name] = jsonable(getattr(module, name))
                except TypeError:
                    continue
    return found


def label(state: Enum) -> str:
    """The name of a state on the wire and in logs."""
    named: str = getattr(state, "label", state.value)
    return named


def machine(module: ModuleType) -> dict[str, Any]:
    """One machine: states, the first of which is where it begins, and every cell of its table."""
    states = list(type(next(iter(module.TABLE))[0]))
    table: dict[str, dict[str, Any]] = {label(state): {} for state in states}
    for (state, event), cell in module.TABLE.items():
        table[label(state)][event.__name__] = (
            {"do": camel(cell.by.__name__), "to": [label(to) for to in cell.to]}
            if isinstance(cell, Cell)
            else {"ignored": cell.because}
        )
    flags = ("here", "final")
    return {
        "states": {label(s): {flag: getattr(s, flag) for flag in flags if hasattr(s, flag)} for s in states},
        "table": table,
        "constants": constants(module),
    }


def rules() -> dict[str, Any]:
    """Everything."""
    short = {module: module.__name__.rpartition(".")[2] for module in (*MACHINES, *CONSTANTS)}
    return {
        "machines": {short[module]: machine(module) for module in MACHINES},
        "constants": {short[module]: constants(module) for module in CONSTANTS},
        "wire": {
            "sampleRate": SAMPLE_RATE,
            "closeCodes": {str(int(code)): [code.meaning, code.come_back.value] for code in CloseCode},
            "rejoins": jsonable(wire.PHONE_REJOINS),
            "restartsCapture": jsonable(wire.PHONE_RESTARTS_CAPTURE),
            "muted": MUTED,
            "lossReasons": {reason.code: reason.text for reason in LossReason},
        },
    }


def javascript(whole: Mapping[str, Any]) -> str:
    """A module of the same, in which a cell is the name of the method that decides; ignored cells are left out."""
    short = dict(whole)
    short["machines"] = {
        name: {
            "states": one["states"],
            "table": {
                state: {event: cell["do"] for event, cell in row.items() if "do" in cell}
                for state, row in one["table"].items()
            },
            "constants": one["constants"],
        }
        for name, one in whole["machines"].items()
    }
    return f"// {NOT_EDITED}\nexport const RULES = {json.dumps(short, indent=2)};\n"


def main() -> int:
    """Returns the exit status."""
    whole = rules()
    files = {
        FOR_ALL: json.dumps({"description": NOT_EDITED, **whole}, indent=2) + "\n",
        FOR_JAVASCRIPT: javascript(whole),
    }
    if "--check" in sys.argv[1:]:
        stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what the machines of the phone say: run `make machines`")
        return 1 if stale else 0
    for path, text in files.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
