"""One of our programs as a real child process, its output read line by line."""

import asyncio
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Any

from glassbridge.runtime.child import Child, lines
from glassbridge.runtime.tasks import TaskGroup

MAX_LINES = 5_000
"""Lines kept of each program; the oldest go."""
LAST_LINES = 0.5
"""Seconds in which what an ended program wrote must have been read."""

_PREFIX = "glassbridge: "


@dataclass(frozen=True, slots=True)
class Line:
    """One line that a program wrote."""

    program: str
    text: str
    log: bool
    """From standard error, where the logs go."""
    at_ns: int = 0
    """When it was read, CLOCK_MONOTONIC nanoseconds."""

    @property
    def fields(self) -> Mapping[str, Any]:
        """The object that it holds; empty where it holds none."""
        if not self.text.startswith("{"):
            return {}
        try:
            found = json.loads(self.text)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass
class Program:
    """`python -m MODULE ARGS` as a child; it dies with us. `on_line` hears what it writes."""

    name: str
    args: tuple[str, ...]
    env: dict[str, str] = field(repr=False)
    """Beside our own; a change counts from the next start."""
    on_line: Callable[[Line], None] = field(default=lambda _: None)
    module: str = "glassbridge"
    prefix: tuple[str, ...] = ()
    """What runs it: a command that ends with exec of the rest."""
    python: str = sys.executable
    """The interpreter, which decides the version."""
    lines: deque[Line] = field(default_factory=lambda: deque(maxlen=MAX_LINES))

    def __post_init__(self) -> None:
        self._child: Child | None = None
        self._readers = TaskGroup(self.name)

    async def start(self) -> None:
        """Starts it; whether it is ready is the caller's question. Can be started again once it has ended."""
        pipe = asyncio.subprocess.PIPE
        argv = [*self.prefix, self.python, "-m", self.module, *self.args]
        self._child = child = await Child.start(argv, env=os.environ | self.env, stdin=pipe, stdout=pipe, stderr=pipe)
        for stream, log in ((child.stdout, False), (child.stderr, True)):
            assert stream is not None
            self._readers.spawn(self._read(stream, log), "read")

    @property
    def pid(self) -> int:
        """Raises RuntimeError before the start."""
        return self._started.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative: the number of the signal that ended it."""
        return self._started.returncode

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.returncode is None

    @property
    def last_words(self) -> str:
        """The message with which it ended, without the program's name; else the last line of its log."""
        said = [line.text for line in self.lines if line.log and line.text]
        messages = [text.removeprefix(_PREFIX) for text in said if text.startswith(_PREFIX)]
        return (messages or said or ["it said nothing"])[-1]

    def events(self, name: str) -> list[Mapping[str, Any]]:
        """The objects that it wrote so far whose `event` is this."""
        return [fields for line in self.lines if (fields := line.fields).get("event") == name]

    def tell(self, line: str) -> None:
        """Writes a line to its standard input."""
        assert self._started.stdin is not None
        self._started.stdin.write(line.encode() + b"\n")

    def signal(self, number: int) -> None:
        """Sends a signal; ignored when it does not run."""
        if self._child is not None:
            self._child.signal(number)

    async def wait(self) -> int:
        """Returns its exit status once it has ended and all that it wrote has been read. Safe to cancel."""
        status = await self._started.wait()
        await self._readers.settle(LAST_LINES)
        return status

    async def end(self, within: float) -> None:
        """Asks it to end, and returns when it has. Raises TimeoutError after `within` seconds: it still runs then."""
        self.signal(signal.SIGTERM)
        async with asyncio.timeout(within):
            await self.wait()

    async def stop(self, grace: float) -> None:
        """Ends it, with SIGKILL after `grace` seconds; idempotent."""
        if self._child is None:
            return
        await self._child.stop(grace)
        await self._readers.settle(LAST_LINES)
        if self._child.stdin is not None:
            self._child.stdin.close()

    @property
    def _started(self) -> Child:
        if self._child is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._child

    async def _read(self, stream: asyncio.StreamReader, log: bool) -> None:
        async for text in lines(stream):
            line = Line(self.name, text, log, monotonic_ns())
            self.lines.append(line)
            self.on_line(line)
