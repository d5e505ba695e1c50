"""Commands on standard input: `switch URL`, `drop SECONDS`, `network`, `mic on|off`, `wav FILE`, `quit`."""

import asyncio
import math
import os
import stat
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

MAX_LINE = 8192
USAGE = "switch URL, drop SECONDS, network, mic on|off, wav FILE, quit"


@dataclass(frozen=True, slots=True)
class Switch:
    url: str


@dataclass(frozen=True, slots=True)
class Drop:
    seconds: float


@dataclass(frozen=True, slots=True)
class Network:
    """The phone's address changed."""


@dataclass(frozen=True, slots=True)
class Microphone:
    on: bool


@dataclass(frozen=True, slots=True)
class Speak:
    path: Path


@dataclass(frozen=True, slots=True)
class Quit:
    pass


Command = Switch | Drop | Network | Microphone | Speak | Quit


class BadCommand(ValueError):
    """A line that is no command; the text says what would be one."""


def parse(line: str) -> Command:
    """The command of a line. Raises BadCommand."""
    word, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    match word, rest:
        case "switch", url if url:
            return Switch(url)
        case "drop", seconds:
            return Drop(_seconds(seconds))
        case "network", "":
            return Network()
        case "mic", "on" | "off":
            return Microphone(rest == "on")
        case "wav", file if file:
            return Speak(Path(file))
        case "quit", "":
            return Quit()
    raise BadCommand(f"not a command: {line.strip()[:80]!r} ({USAGE})")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 86_400:
        raise BadCommand("drop takes a number of seconds, as in: drop 5")
    return seconds


async def lines(source: TextIO) -> AsyncGenerator[str, None]:
    """The lines of a file, pipe or terminal as they come, blank ones left out; ends with it. Safe to cancel."""
    mode = os.fstat(source.fileno()).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or source.isatty()):  # cannot be waited for, and need not be
        for line in source:
            if line.strip():
                yield line
        return
    reader = asyncio.StreamReader(limit=MAX_LINE)
    blocking = os.get_blocking(source.fileno())
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(source.fileno()), "rb")
    )
    try:
        while True:
            try:
                raw = await reader.readline()
            except ValueError:  # longer than MAX_LINE, and dropped
                raw = b"(too long)"
            if not raw:
                return
            if raw.strip():
                yield raw.decode(errors="replace")
    finally:
        os.set_blocking(source.fileno(), blocking)  # a terminal shares this flag with its shell
        transport.close()
