"""Worker processes as the supervisor sees them, and the spare one: imported and warm, so that it serves in no time.

The two talk over a socket pair, in lines. To the worker: its configuration, `serve N`, `ping`. From it: `warm`, then
`ready` or `failed WHY`, `pong MB NUMBERS` (JSON, where somebody asks), `flight JSON` (bridge/flight.py), and
`released` when it has let go of its address and only sees its streams off.
A worker logs where we do; its standard error, to which native code and a crash write, is read here and logged for it.
"""

import asyncio
import os
import socket
import sys
from collections import deque
from contextlib import suppress
from signal import SIGKILL, SIGTERM
from time import monotonic
from typing import Final

import msgspec
import structlog

from glassbridge.bridge import flight
from glassbridge.bridge.config import BridgeConfig
from glassbridge.bridge.flight import FlightCopy
from glassbridge.runtime.child import Child, lines
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.telemetry import logs
from glassbridge.telemetry.numbers import Snapshot

log = structlog.get_logger()

START_TIMEOUT: Final = 30.0
"""Seconds in which a worker must be ready."""
STOP_GRACE: Final = 4.5
"""Seconds from SIGTERM to SIGKILL."""
REFILL_AFTER: Final = 1.0
"""Seconds between the use of the spare and the start of the next one: those who come back need the processor first."""
TOLD_LINES: Final = 50
"""Lines of a worker's standard error that are logged; of those after them only the last ones, with its death."""
LAST_WORDS: Final = 40
AT_DEATH: Final = 0.05
LAST_LINES: Final = 0.5
"""Seconds in which what a dead worker wrote is read before its successor starts, and at all."""
MAX_LINE: Final = 1 << 20
"""Bytes of what a worker says at once; its numbers are some thousand."""
LINE: Final = 500
"""Characters of such a line that are logged."""


_numbers = msgspec.json.Decoder(Snapshot)


class CannotServe(Exception):
    """A worker could not listen, or died on the way; the text says why, for the operator."""


class WorkerProcess:
    """One process, from its start to its end."""

    def __init__(
        self, child: Child, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, copy: FlightCopy
    ) -> None:
        self._child = child
        self._copy = copy
        self._number = 0
        """Of the worker that it is, once it serves."""
        self._reader = reader
        self._writer = writer
        self._listening = asyncio.Event()
        self._failure = "a worker process died before it listened: the log says why"
        self._asked_to_end = False
        self._said = 0
        self.last_words: deque[str] = deque(maxlen=LAST_WORDS)
        """The end of what it wrote to standard error."""
        self.warm = asyncio.Event()
        """Set once it has imported all that it needs, or has ended before that."""
        self.over = asyncio.Event()
        """It serves no more: dead, or its address is free and it only sees its streams off."""
        self.released = False
        self.answers = 0
        """Pings that it has answered."""
        self.resident_mb = 0.0
        """As it last said."""
        self.numbers: Snapshot = {}
        """What it has counted, as it last said; empty where nobody asks for numbers."""
        self.answered_at = monotonic()
        """When it last said so."""

    @property
    def pid(self) -> int:
        return self._child.pid

    @classmethod
    async def start(cls, config: BridgeConfig, copy: FlightCopy) -> "WorkerProcess":
        """Begins to import; read() must run from now on."""
        ours, theirs = socket.socketpair()
        log_to = os.dup(logs.STDERR)
        with theirs:
            argv = [sys.executable, "-m", "glassbridge.bridge.worker", str(theirs.fileno()), str(log_to)]
            try:
                child = await Child.start(argv, pass_fds=[theirs.fileno(), log_to], stderr=asyncio.subprocess.PIPE)
            except BaseException:
                ours.close()
                raise
            finally:
                os.close(log_to)
        reader, writer = await asyncio.open_connection(sock=ours, limit=MAX_LINE)
        worker = cls(child, reader, writer, copy)
        worker._say(config.to_json())
        return worker

    async def read(self) -> int:
        """Hears what it says; returns its exit status once it has ended."""
        async with asyncio.TaskGroup() as tasks:
            native = tasks.create_task(self._read_native())
            with suppress(ConnectionError):
                while line := await self._reader.readline():
                    word, _, rest = line.decode(errors="replace").strip().partition(" ")
                    self._heard(word, rest)
            status = await self._child.wait()
            await asyncio.wait([native], timeout=AT_DEATH)
            self._finish()
            await asyncio.wait([native], timeout=LAST_LINES)
            native.cancel()  # a child of its own may hold it open
        self._writer.close()
        logs.adopt()
        return status

    async def _read_native(self) -> None:
        stream = self._child.stderr
        assert stream is not None
        async for line in lines(stream):
            if not (text := line.strip()[:LINE]):
                continue
            self.last_words.append(text)
            self._said += 1
            if self._said <= TOLD_LINES:
                log.warning("worker wrote to stderr", pid=self.pid, text=text)

    def _heard(self, word: str, rest: str) -> None:
        match word:
            case "warm":
                self.warm.set()
                log.info("worker process is warm", pid=self.pid)
            case "ready":
                self._failure = ""
                self._listening.set()
            case "failed":
                self._failure = rest
                self._finish()
            case "pong":
                self.answers += 1
                self.answered_at = monotonic()
                size, _, numbers = rest.partition(" ")
                self.resident_mb = float(size)
                if numbers:
                    self.numbers = _numbers.decode(numbers)
            case flight.WORD:
                self._copy.hear(self._number, self.pid, rest)
            case "released":
                self.released = True
                self._finish()

    def _finish(self) -> None:
        self.over.set()
        self.warm.set()
        self._listening.set()

    async def serve(self, number: int) -> None:
        """Makes it worker `number`; returns when it listens. Raises CannotServe. Safe to cancel."""
        self._number = number
        self._say(f"serve {number}")
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self._listening.wait()
        except TimeoutError:
            raise CannotServe(f"a worker process was not ready within {START_TIMEOUT:g} s") from None
        if self._failure:
            raise CannotServe(self._failure)

    async def ended(self) -> None:
        """Returns when the process is no more. Safe to cancel."""
        await self._child.wait()

    def ping(self) -> None:
        """Asks for a `pong`; a worker that does not read loses the question."""
        if self._writer.transport.get_write_buffer_size() == 0:
            self._say("ping")

    def drain(self) -> None:
        """Asks it to hand over its rooms and end; once, for a second time would end it at once."""
        if not self._asked_to_end and not self.released:
            self._asked_to_end = True
            self._child.signal(SIGTERM)

    def kill(self) -> None:
        self._child.signal(SIGKILL)

    async def end(self, grace: float) -> None:
        """Has it drain, and kills it after `grace` seconds; a cancelled end() kills at once."""
        self.drain()
        try:
            await self._child.ended_within(grace)
        finally:
            self.kill()

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative: the number of the signal that ended it."""
        return self._child.returncode

    def _say(self, line: str) -> None:
        self._writer.write(line.encode() + b"\n")


class WorkerPool:
    """Owns all worker processes: those that serve, those that see their streams off, and the spare one."""

    def __init__(self, config: BridgeConfig) -> None:
        self.flights = FlightCopy()
        """What the workers told of their rooms, the dead ones too."""
        self._config = config
        self._tasks = TaskGroup("workers", self._failed)
        self._living: set[WorkerProcess] = set()
        self._spare: WorkerProcess | None = None
        self._refilling: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def take(self) -> WorkerProcess:
        """The spare process, or a new one where there is none."""
        worker, self._spare = self._spare, None
        if worker is None or worker.over.is_set():
            worker = await self._start()
        return worker

    def refill(self) -> None:
        """Sees to it that there is a spare process soon, if there is to be one. Idempotent."""
        if self._config.spare and (self._refilling is None or self._refilling.done()):
            self._refilling = self._tasks.spawn(self._refill(), "refill")

    async def prepare(self) -> None:
        """Returns when there is a spare process and it is warm, also where none is kept. Safe to cancel."""
        spare = await self._ensure_spare()
        await spare.warm.wait()

    def discard(self, worker: WorkerProcess) -> None:
        """Gives it STOP_GRACE seconds to end."""
        if worker in self._living:
            self._tasks.spawn(worker.end(STOP_GRACE), f"discard {worker.pid}")

    async def close(self) -> None:
        """Ends all of them; SIGKILL for those that take longer than STOP_GRACE seconds."""
        if self._refilling is not None:
            self._refilling.cancel()
        await asyncio.gather(*(worker.end(STOP_GRACE) for worker in self._living))
        await self._tasks.settle(1.0)
        await self._tasks.close()

    async def _start(self) -> WorkerProcess:
        worker = await WorkerProcess.start(self._config, self.flights)
        self._living.add(worker)
        self._tasks.spawn(self._read(worker), f"read {worker.pid}")
        return worker

    async def _read(self, worker: WorkerProcess) -> None:
        await worker.read()
        self.flights.ended(worker.pid)
        self._living.discard(worker)

    async def _refill(self) -> None:
        await asyncio.sleep(REFILL_AFTER)
        await self._ensure_spare()

    async def _ensure_spare(self) -> WorkerProcess:
        async with self._one_at_a_time:
            if self._spare is None or self._spare.over.is_set():
                self._spare = await self._start()
            return self._spare

    def _failed(self, task: str, error: BaseException) -> None:
        log.error("supervisor task failed", task=task, error=type(error).__name__, exc_info=error)
