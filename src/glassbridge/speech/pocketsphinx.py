"""The offline recogniser: pocketsphinx with the English model of its wheel, one process for each stream.

A process serves one stream and ends with it, so a crash or a slow decoder touches nobody else, and a stream begins
with a fresh decoder. One is always started ahead: loading the model takes most of a second.
"""

import asyncio
from collections.abc import Callable

import structlog

from glassbridge.runtime.tasks import TaskGroup
from glassbridge.speech.base import RecogniserError, Transcript
from glassbridge.speech.process import RecogniserProcess

log = structlog.get_logger()

LANGUAGE = "en-US"


class PocketsphinxRecogniser:
    """A Recogniser (speech/base.py) for at most `limit` streams at a time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used: set[RecogniserProcess] = set()
        self._ready: asyncio.Queue[RecogniserProcess | RecogniserError] = asyncio.Queue()
        self._starting = 0
        self._waiting = 0
        self._tasks = TaskGroup("recogniser", on_error=self._failed)
        self._closed = False

    def warm_up(self) -> None:
        """Starts a process ahead, so that the first caption comes soon. Needs the running loop."""
        wanted = min(self._waiting + 1, self._limit - len(self._used))
        while not self._closed and self._starting + self._ready.qsize() < wanted:
            self._starting += 1
            self._tasks.spawn(self._start(), "start")

    async def open(
        self,
        on_transcript: Callable[[Transcript], None],
        on_error: Callable[[RecogniserError], None],
        *,
        language: str = LANGUAGE,
    ) -> RecogniserProcess:
        """A new stream. Raises RecogniserError. Safe to cancel: the process then waits for the next caller."""
        if language != LANGUAGE:
            raise RecogniserError(f"the offline recogniser knows {LANGUAGE} only, not {language}", retry=False)
        if self._closed:
            raise RecogniserError("the recogniser is closed", retry=False)
        if len(self._used) + self._waiting >= self._limit:
            raise RecogniserError(f"all {self._limit} recognisers are busy (GLASSBRIDGE_RECOGNISERS says how many)")
        self._waiting += 1
        try:
            process = await self._take()
        finally:
            self._waiting -= 1
        self._used.add(process)
        process.attach(on_transcript, on_error)
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
            process = await RecogniserProcess.start(self._ended)
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
            self._ready.put_nowait(RecogniserError("the recogniser is closed", retry=False))
        await asyncio.gather(*(process.close() for process in processes))
