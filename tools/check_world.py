"""Checks that programs touch clocks, chance and sockets by the World that they are given (runtime/world.py) only.

The simulation of weeks runs these modules as they are: what reads a clock of its own would live in another time there.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).parent.parent / "src" / "glassbridge"
PROGRAMS: Final = ("app", "bridge", "cloud", "phone")
NOT_YET: Final = frozenset(
    {
        "bridge/decoder.py",
        "bridge/decoders.py",
        "bridge/fetch.py",
        "bridge/lifeline.py",
        "bridge/overview.py",
        "bridge/playback.py",
        "bridge/process.py",
        "bridge/recorder_route.py",
        "bridge/supervisor.py",
        "bridge/worker.py",
        "cloud/admin_gate.py",
        "cloud/app.py",
        "cloud/apps/registry.py",
        "cloud/audio.py",
        "cloud/auth.py",
        "cloud/clock.py",
        "cloud/connection.py",
        "cloud/console/development.py",
        "cloud/handover.py",
        "cloud/issuer_keys.py",
        "cloud/live.py",
        "cloud/livekit_watch.py",
        "cloud/tap.py",
        "cloud/tokens.py",
        "cloud/transcripts.py",
        "cloud/websocket.py",
        "phone/network_watch.py",
        "phone/player.py",
        "phone/recording.py",
        "phone/report.py",
        "phone/simulator.py",
    }
)
"""Modules that do not take a World yet. The list may only shrink: one that has nothing to hide is an error here."""

MODULES: Final = {"time", "random", "secrets", "uuid"}
CALLS: Final = {
    "ClientSession",
    "TCPConnector",
    "aiohttp.ClientSession",
    "aiohttp.TCPConnector",
    "aiohttp.request",
    "asyncio.open_connection",
    "asyncio.open_unix_connection",
    "datetime.now",
    "datetime.utcnow",
    "os.urandom",
    "socket.create_connection",
    "socket.getaddrinfo",
    "socket.socket",
}
LOOPS: Final = ("get_running_loop", "get_event_loop", "loop", "_loop")


def touches(source: str) -> Iterator[tuple[int, str]]:
    """(line, what) for each touch of the world in a module's text."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, f"import {one.name}") for one in names if one.name in MODULES)
            case ast.ImportFrom(module=str(module)) if module in MODULES:
                yield node.lineno, f"from {module} import"
            case ast.Attribute(value=value, attr=attr):
                owner = _name(value)
                if attr == "time" and owner.rpartition(".")[2] in LOOPS:
                    yield node.lineno, f"{owner}.time"
            case ast.Call(func=function) if (name := ".".join(_name(function).split(".")[-2:])) in CALLS:
                yield node.lineno, name


def _name(node: ast.expr) -> str:
    """a.b().c as "a.b.c"."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            return f"{_name(value)}.{attr}"
        case ast.Call(func=function):
            return _name(function)
    return ""


def check(source: Path = SOURCE, not_yet: frozenset[str] = NOT_YET) -> list[str]:
    """What is wrong, a line each."""
    wrong = []
    for path in sorted(path for program in PROGRAMS for path in (source / program).rglob("*.py")):
        name = str(path.relative_to(source))
        found = list(touches(path.read_text()))
        if name in not_yet:
            wrong += [] if found else [f"{name} touches nothing: take it out of NOT_YET in tools/check_world.py"]
        else:
            wrong += [f"{name}:{line}: {what}: take it from the World (runtime/world.py)" for line, what in found]
    return wrong


def main() -> int:
    """Prints what is wrong; exit status."""
    wrong = check()
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
