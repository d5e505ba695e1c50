"""Recognisers that are programs: one process for each stream.

A crash or a slow decoder touches nobody else, and a stream begins with a fresh decoder. One process is always started
ahead: loading a model takes most of a second.
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from glassbridge.core.admission import Limits
from glassbridge.core.recogniser import Reason, StreamTimes
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.speech.base import RecogniserError, Transcript, Want
from glassbridge.speech.process import RecogniserProcess

log = structlog.get_logger()


class ProcessRecogniser:
    """A Recogniser (speech/base.py) for at most `limit` streams at a time, each a process of `command`; a provider
    says what it serves."""

    name = "process"
    times = StreamTimes()
    stuck = 10.0
    """On a machine that is too busy a process takes some audio now and then, and a new one would only cost more."""

    def __init__(self, command: Sequence[str], limit: int) -> None:
        self.limits = Limits(streams=limit)
        self._command = tuple(command)
        self._used: set[RecogniserProcess] = set()
        self._ready: asyncio.Queue[RecogniserProcess | RecogniserError] = asyncio.Queue()
        self._starting = 0
        self._waiting = 0
        self._tasks = TaskGroup("recogniser", on_error=self._failed)
        self._closed = False

    def serves(self, want: Want) -> Want:
        """What is opened for it. Raises RecogniserError."""
        raise NotImplementedError

    def warm_up(self) -> None:
        """Starts a process ahead, so that the first caption comes soon. Needs the running loop."""
        wanted = min(self._waiting + 1, self.limits.streams - len(self._used))
        while not self._closed and self._starting + self._ready.qsize() < wanted:
            self._starting += 1
            self._tasks.spawn(self._start(), "start")

    @property
    def fits(self) -> None:
        """As many as there are streams."""
        return None

    async def open(
        self,
        want: Want,
        on_transcript: Callable[[Transcript], None],
        on_lost: Callable[[RecogniserError], None],
    ) -> RecogniserProcess:
        """A new stream. Raises RecogniserError. Safe to cancel: the process then waits for the next caller."""
        self.serves(want)
        if self._closed:
            raise RecogniserError("the recogniser is closed", Reason.CLOSED)
        if len(self._used) + self._waiting >= self.limits.streams:
            raise RecogniserError(
                f"all {self.limits.streams} recognisers are busy (GLASSBRIDGE_RECOGNISERS says how many)", Reason.BUSY
            )
        self._waiting += 1
        try:
            process = await self._take()
        finally:
            self._waiting -= 1
        self._used.add(process)
        process.attach(on_transcript, on_lost)
        self.warm_up()
        return process

    async def _take(self) -> RecogniserProcess:
        while True:
            self.warm_up()
            found = await self._ready.get()
            if isinstance(found, RecogniserError):
                raise found
            if not found.ended:
                return found

    async def _start(self) -> None:
        try:
            process = await RecogniserProcess.start(self._command, self._ended)
        finally:
            self._starting -= 1
        self._ready.put_nowait(process)

    def _failed(self, _task: str, error: BaseException) -> None:
        if not isinstance(error, RecogniserError):
            log.error("starting a recogniser failed", exc_info=error)
            error = RecogniserError("an error inside the recogniser")
        log.warning("no recogniser", error=str(error))
        if self._waiting:
            self._ready.put_nowait(error)

    def _ended(self, process: RecogniserProcess) -> None:
        self._used.discard(process)
        self.warm_up()

    async def close(self) -> None:
        """Ends all streams and their processes; idempotent; at most 3 s."""
        self._closed = True
        await self._tasks.close()
        processes = list(self._used)
        while not self._ready.empty():
            if isinstance(found := self._ready.get_nowait(), RecogniserProcess):
                processes.append(found)
        for _ in range(self._waiting):
            self._ready.put_nowait(RecogniserError("the recogniser is closed", Reason.CLOSED))
        await asyncio.gather(*(process.close() for process in processes))
