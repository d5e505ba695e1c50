"""Programs as real processes: started, read, signalled, and gone when the test is over.

async with Program.glassbridge("livekit", "start", "--port", "0") as program:
    await program.says("ready")
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

from glassbridge.runtime.child import Child
from tests.support.poll import eventually

MAX_LINES = 20_000


class Program:
    """A child process whose output is collected line by line, standard output and error apart."""

    def __init__(self, *argv: str, env: Mapping[str, str] | None = None) -> None:
        self._argv = argv
        self._env = os.environ | {"PYTHONUNBUFFERED": "1"} | dict(env or {})
        self._child: Child | None = None
        self._readers: list[asyncio.Task[None]] = []
        self.out: list[str] = []
        self.err: list[str] = []

    @classmethod
    def glassbridge(cls, *argv: str, env: Mapping[str, str] | None = None) -> "Program":
        """The program as users start it."""
        return cls(sys.executable, "-m", "glassbridge", *argv, env=env)

    @classmethod
    def python(cls, script: str, *argv: str, env: Mapping[str, str] | None = None) -> "Program":
        """A few lines of Python."""
        return cls(sys.executable, "-c", script, *argv, env=env)

    async def __aenter__(self) -> "Program":
        pipe = asyncio.subprocess.PIPE
        self._child = await Child.start(self._argv, env=self._env, stdin=pipe, stdout=pipe, stderr=pipe)
        for stream, lines in ((self._child.stdout, self.out), (self._child.stderr, self.err)):
            assert stream is not None
            self._readers.append(asyncio.create_task(_collect(stream, lines)))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.signal(signal.SIGCONT)
        await self.child.stop(grace=8)
        await asyncio.wait(self._readers, timeout=2)
        for reader in self._readers:
            reader.cancel()
        if self.child.stdin is not None:
            self.child.stdin.close()

    @property
    def child(self) -> Child:
        assert self._child is not None, "not started"
        return self._child

    @property
    def pid(self) -> int:
        return self.child.pid

    def signal(self, number: int) -> None:
        self.child.signal(number)

    def tell(self, line: str) -> None:
        """Writes a line to its standard input."""
        assert self.child.stdin is not None
        self.child.stdin.write(line.encode() + b"\n")

    async def says(self, text: str, within: float = 20.0) -> str:
        """Waits for a line of either output that holds `text`, and returns it."""

        def found() -> str | None:
            return next((line for line in (*self.out, *self.err) if text in line), None)

        await eventually(lambda: found() is not None or self._silence(f"no line with {text!r}"), within)
        line = found()
        assert line is not None
        return line

    async def event(self, matches: Callable[[dict[str, Any]], bool], within: float = 20.0) -> dict[str, Any]:
        """Waits for a JSON line of standard output that matches, and returns it."""
        await eventually(lambda: any(map(matches, self.events)) or self._silence("no such event"), within)
        return next(filter(matches, self.events))

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON objects that it has printed so far."""
        return [json.loads(line) for line in self.out if line.startswith("{")]

    async def ends(self, within: float = 20.0) -> int:
        """Waits until it ends by itself; returns its exit status."""
        await eventually(lambda: self.child.returncode is not None or self._silence("still running"), within)
        await asyncio.wait(self._readers, timeout=2)
        status = self.child.returncode
        assert status is not None
        return status

    def _silence(self, what: str) -> str:
        ended = "" if self.child.returncode is None else f" (it has ended with {self.child.returncode})"
        last = "\n".join([*self.out[-15:], *self.err[-15:]])
        return f"{what} from {' '.join(self._argv)[:200]}{ended}; it said:\n{last}"


async def _collect(stream: asyncio.StreamReader, lines: list[str]) -> None:
    while line := await stream.readline():
        if len(lines) < MAX_LINES:
            lines.append(line.decode(errors="replace").rstrip("\n"))
