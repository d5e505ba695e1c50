"""Worker processes as the supervisor sees them, and the spare one: imported and warm, so that it serves in no time.

The two talk over a socket pair, in lines. To the worker: its configuration, `serve N`, `ping`. From it: `warm`, then
`ready` or `failed WHY`, `pong MB NUMBERS` (JSON, where somebody asks), `flight JSON` (bridge/flight.py), and
`released` when it has released its address and only drains its streams. A line that cannot be read is counted and
skipped. The spare process answers pings too: one that froze is replaced before it is needed.
A worker logs where we do; its standard error, to which native code and a crash write, is read here and logged for it.
"""

import asyncio
import os
import random
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from math import isfinite
from signal import SIGKILL, SIGTERM
from time import monotonic
from typing import Final

import msgspec
import structlog

from glassbridge.bridge import flight
from glassbridge.bridge.config import BridgeConfig
from glassbridge.bridge.flight import FlightCopy
from glassbridge.core.backoff import Backoff, Ladder
from glassbridge.runtime.child import Child, lines
from glassbridge.runtime.errors import describe
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.telemetry import logs, metrics
from glassbridge.telemetry.numbers import Snapshot

log = structlog.get_logger()

START_TIMEOUT: Final = 30.0
"""Seconds in which a worker must be ready."""
WARM_START_TIMEOUT: Final = 5.0
"""The same for one that is warm: it takes 0.1 s."""
SPARE_ANSWER: Final = 0.5
"""Seconds in which the spare process answers a ping when it is needed; it takes a millisecond."""
DEATH_TIMEOUT: Final = 2.0
"""Seconds that the end of a killed process may take before it is given up; the kernel may hold one in a system call."""
REFILL_AFTER: Final = 1.0
"""Seconds between the use of the spare and the start of the next one: rejoins need the processor first."""
TOLD_LINES: Final = 50
"""Lines of a worker's standard error that are logged; of those after them only the last ones, with its death."""
LAST_WORDS: Final = 40
AT_DEATH: Final = 0.05
LAST_LINES: Final = 0.5
"""Seconds in which what a dead worker wrote is read before its successor starts, and at all."""
MAX_LINE: Final = 1 << 20
"""Bytes of what a worker says at once; its numbers are some thousand."""
TOLD_SKIPPED: Final = 5
"""Lines of a worker that are logged because they could not be read; all are counted."""
RETRY: Final = Ladder(base=0.5, cap=30.0)
"""Between attempts to start a spare process."""
LINE: Final = 500
"""Characters of such a line that are logged."""


_numbers = msgspec.json.Decoder(Snapshot)


Starter = Callable[[BridgeConfig, FlightCopy], Awaitable["WorkerProcess"]]
"""Starts a process that begins to import. Raises OSError."""


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
        self._sign = asyncio.Event()
        """Set by each line, readable or not: a sign of life."""
        self.skipped = 0
        """Lines that could not be read."""
        self.unanswered = 0
        """Pings in a row after which nothing was heard."""
        self.last_words: deque[str] = deque(maxlen=LAST_WORDS)
        """The end of what it wrote to standard error."""
        self.warm = asyncio.Event()
        """Set once it has imported all that it needs, or has ended before that."""
        self.over = asyncio.Event()
        """It serves no more: dead, or its address is free and it only sees its streams off."""
        self.released = False
        self.resident_mb = 0.0
        """As it last said."""
        self.numbers: Snapshot = {}
        """Its counters, as last reported; empty if no metrics are served."""
        self.answered_at = monotonic()
        """When it last said so."""

    @property
    def pid(self) -> int:
        return self._child.pid

    @classmethod
    async def start(cls, config: BridgeConfig, copy: FlightCopy) -> "WorkerProcess":
        """Begins to import; read() must run from now on. Raises OSError: there is no process or descriptor for it."""
        with ExitStack() as theirs, ExitStack() as undo:
            end, far_end = socket.socketpair()
            undo.callback(end.close)
            theirs.callback(far_end.close)
            log_to = os.dup(logs.STDERR)
            theirs.callback(os.close, log_to)
            argv = [sys.executable, "-m", "glassbridge.bridge.worker_process", str(far_end.fileno()), str(log_to)]
            child = await Child.start(argv, pass_fds=[far_end.fileno(), log_to], stderr=asyncio.subprocess.PIPE)
            undo.callback(child.signal, SIGKILL)
            reader, writer = await asyncio.open_connection(sock=end, limit=MAX_LINE)
            undo.pop_all()
        worker = cls(child, reader, writer, copy)
        worker._say(config.to_json())
        return worker

    async def read(self) -> int:
        """Hears what it says; returns its exit status once it has ended. However it ends, it serves no more then."""
        try:
            async with asyncio.TaskGroup() as tasks:
                native = tasks.create_task(self._read_native())
                with suppress(ConnectionError):
                    async for line in lines(self._reader, self._hear_too_long):
                        self._hear(line)
                status = await self._child.wait()
                await asyncio.wait([native], timeout=AT_DEATH)
                self._finish()
                await asyncio.wait([native], timeout=LAST_LINES)
                native.cancel()  # a child of its own may hold it open
        finally:
            self._finish()
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

    def _hear(self, line: str) -> None:
        self._sign.set()
        word, _, rest = line.strip().partition(" ")
        try:
            self._take(word, rest)
        except (ValueError, TypeError, RecursionError) as error:
            self._skip(f"it cannot be read ({type(error).__name__})")

    def _hear_too_long(self) -> None:
        self._sign.set()
        self._skip(f"it is longer than {MAX_LINE} bytes")

    def _skip(self, why: str) -> None:
        self.skipped += 1
        metrics.WORKER_LINES_SKIPPED.add()
        if self.skipped <= TOLD_SKIPPED:
            log.warning("worker line skipped", pid=self.pid, cause=why, skipped=self.skipped)

    def _take(self, word: str, rest: str) -> None:
        """Raises ValueError, TypeError or RecursionError for what cannot be read."""
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
                size, _, numbers = rest.partition(" ")
                resident = float(size)
                if not isfinite(resident):
                    raise ValueError(size)
                self.resident_mb = resident
                self.numbers = _numbers.decode(numbers) if numbers else self.numbers
                self.answered_at = monotonic()
            case flight.WORD:
                self._copy.hear(self._number, self.pid, rest)
            case "released":
                self.released = True
                self._finish()
            case _:
                raise ValueError(word)

    def _finish(self) -> None:
        self.over.set()
        self.warm.set()
        self._listening.set()
        self._sign.set()

    async def serve(self, number: int) -> None:
        """Makes it worker `number`; returns when it listens. Raises CannotServe. Safe to cancel."""
        self._number = number
        timeout = WARM_START_TIMEOUT if self.warm.is_set() else START_TIMEOUT
        self._say(f"serve {number}")
        try:
            async with asyncio.timeout(timeout):
                await self._listening.wait()
        except TimeoutError:
            raise CannotServe(f"a worker process was not ready within {timeout:g} s") from None
        if self._failure:
            raise CannotServe(self._failure)

    async def beat(self, seconds: float) -> bool:
        """Asks for a sign of life and waits so long, or until it is over; whether it is over. Unanswered questions are
        counted, not timed: after a sleep of the machine no process has answered, and none is to blame. Safe to
        cancel."""
        self._sign.clear()
        self.ping()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.over.wait()
        self.unanswered = 0 if self._sign.is_set() else self.unanswered + 1
        return self.over.is_set()

    async def answers(self, seconds: float) -> bool:
        """Whether a warm process shows a sign of life within so many seconds. Safe to cancel."""
        self._sign.clear()
        self.ping()
        try:
            async with asyncio.timeout(seconds):
                await self._sign.wait()
        except TimeoutError:
            return False
        return not self.over.is_set()

    async def ended_within(self, seconds: float) -> bool:
        """Whether the process is no more before `seconds` are over. Safe to cancel."""
        return await self._child.ended_within(seconds)

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

    async def killed(self) -> None:
        """Kills it; returns once it has ended, or DEATH_TIMEOUT seconds are over. Safe to cancel."""
        self.kill()
        with suppress(TimeoutError):
            async with asyncio.timeout(DEATH_TIMEOUT):
                await self.over.wait()
        self._finish()

    async def end(self, grace: float) -> None:
        """Has it drain, and kills it after `grace` seconds; at once if it never listened, or when cancelled."""
        try:
            if self._listening.is_set():
                self.drain()
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
    """Owns all worker processes: those that serve, those that drain their streams, and the spare one."""

    def __init__(self, config: BridgeConfig, start: Starter = WorkerProcess.start) -> None:
        self.flights = FlightCopy()
        """What the workers told of their rooms, the dead ones too."""
        self._config = config
        self._start_process = start
        self._tasks = TaskGroup("workers", self._failed)
        self._living: set[WorkerProcess] = set()
        self._spare: WorkerProcess | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def take(self) -> WorkerProcess:
        """The spare process, or a new one if there is none, or none that answers. Raises OSError. Safe to cancel."""
        spare, self._spare = self._spare, None
        if spare is not None and not spare.over.is_set():
            if not spare.warm.is_set() or await spare.answers(SPARE_ANSWER):
                return spare
            self._drop_spare(spare, f"no answer within {SPARE_ANSWER:g} s")
        return await self._start()

    def use(self, config: BridgeConfig) -> None:
        """Processes that are started from now on are told this; the spare one, which was told the former, goes."""
        self._config = config
        spare, self._spare = self._spare, None
        if spare is not None:
            self.discard(spare)

    def refill(self) -> None:
        """Sees to it that there is a spare process soon, and stays one, if there is to be one. Idempotent."""
        if self._config.spare and self._keeping is None:
            self._keeping = self._tasks.spawn(self._keep_spare(), "spare")

    async def prepare(self) -> None:
        """Returns when there is a spare process and it is warm, also where none is kept. Raises OSError or CannotServe.
        Safe to cancel."""
        spare = await self._ensure_spare()
        if not await self._warms_up(spare):
            raise CannotServe("the spare process did not become warm")

    def discard(self, worker: WorkerProcess) -> None:
        """Gives it so long to end as the configuration says; none if it never listened."""
        if worker in self._living:
            self._tasks.spawn(worker.end(self._config.stop_grace), f"discard {worker.pid}")

    async def close(self) -> None:
        """Ends all of them; SIGKILL for those that take longer than the configuration says."""
        if self._keeping is not None:
            self._keeping.cancel()
        await asyncio.gather(*(worker.end(self._config.stop_grace) for worker in self._living))
        await self._tasks.settle(1.0)
        await self._tasks.close()

    async def _start(self) -> WorkerProcess:
        try:
            worker = await self._start_process(self._config, self.flights)
        except OSError:
            metrics.WORKER_START_FAILURES.add()
            raise
        self._living.add(worker)
        self._tasks.spawn(self._read(worker), f"read {worker.pid}")
        return worker

    async def _read(self, worker: WorkerProcess) -> None:
        try:
            await worker.read()
        finally:
            self.flights.ended(worker.pid)
            self._living.discard(worker)

    async def _keep_spare(self) -> None:
        """Keeps a spare process: starts the next one when it was used, has died or has frozen."""
        backoff = Backoff(RETRY, random.random)
        while True:
            await asyncio.sleep(REFILL_AFTER + backoff.next_delay())
            try:
                spare = await self._ensure_spare()
            except OSError as error:
                log.warning("spare worker cannot be started", error=describe(error), action="try again")
                continue
            if await self._warms_up(spare) and await self._taken(spare):
                backoff.reset()

    async def _warms_up(self, spare: WorkerProcess) -> bool:
        """Whether it is warm in time; one that is not is killed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT):
                await spare.warm.wait()
            return not spare.over.is_set()
        self._drop_spare(spare, f"not warm within {START_TIMEOUT:g} s")
        return False

    async def _taken(self, spare: WorkerProcess) -> bool:
        """Returns when it is the spare process no more: whether it was used, not dead or frozen."""
        while self._spare is spare:
            if await spare.beat(self._config.health_every):
                log.warning("spare worker died", pid=spare.pid, action="start another")
                return False
            if spare.unanswered >= self._config.health_misses:
                self._drop_spare(spare, f"{spare.unanswered} pings without an answer")
                return False
        return True

    def _drop_spare(self, spare: WorkerProcess, cause: str) -> None:
        """Kills one that froze before it served."""
        log.error("spare worker frozen", pid=spare.pid, cause=cause, action="start another")
        if self._spare is spare:
            self._spare = None
        spare.kill()

    async def _ensure_spare(self) -> WorkerProcess:
        async with self._one_at_a_time:
            if self._spare is None or self._spare.over.is_set():
                self._spare = await self._start()
            return self._spare

    def _failed(self, task: str, error: BaseException) -> None:
        log.error("supervisor task failed", task=task, error=type(error).__name__, exc_info=error)
