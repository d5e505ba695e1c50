"""Recognisers that serve many streams by few processes, each with one model for all of its streams.

There is a process for each core at most, and one more than are in use: a stream whose process dies goes on in another
one at once. A new stream goes where most speakers still fit; where none fits, it is refused.
"""

import asyncio
import os
from collections.abc import Callable, Sequence

import structlog

from glassbridge.core.admission import Limits
from glassbridge.core.recogniser import Reason, StreamTimes
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.speech.base import RecogniserError, Transcript, Want
from glassbridge.speech.shared_process import SILENT, SharedProcess, SharedStream

log = structlog.get_logger()

SPREAD = 2
"""A new stream waits for a process that is being started when each other one has so many: streams do not move."""


class SharedRecogniser:
    """A Recogniser (speech/base.py) for at most `limit` streams at a time in at most `processes` processes of
    `command`; a provider says what it serves."""

    name = "shared"
    times = StreamTimes()
    stuck = 2 * SILENT
    """The process's own watch is quicker."""

    def __init__(self, command: Sequence[str], limit: int, processes: int | None = None) -> None:
        self.limits = Limits(streams=limit)
        self._command = tuple(command)
        self._most = processes or max(1, _cores())
        self._processes: set[SharedProcess] = set()
        self._starting = 0
        self._failure: RecogniserError | None = None
        self._changed = asyncio.Event()
        self._tasks = TaskGroup("recogniser", on_error=self._failed)
        self._closed = False

    def serves(self, want: Want) -> Want:
        """What is opened for it. Raises RecogniserError."""
        raise NotImplementedError

    @property
    def processes(self) -> list[SharedProcess]:
        """That run."""
        return list(self._processes)

    @property
    def fits(self) -> int:
        """Speakers that still fit, those for whom a process has yet to be started among them."""
        running = [process.fits for process in self._processes]
        unused = self._most - len(running)
        return sum(running) + unused * max(running, default=1)

    def warm_up(self) -> None:
        """Starts a process ahead, so that the first caption comes soon. Needs the running loop."""
        used = sum(1 for process in self._processes if process.streams)
        wanted = min(self._most, used + 1)
        while not self._closed and len(self._processes) + self._starting < wanted:
            self._starting += 1
            self._tasks.spawn(self._start(), "start")

    async def open(
        self,
        want: Want,
        on_transcript: Callable[[Transcript], None],
        on_lost: Callable[[RecogniserError], None],
    ) -> SharedStream:
        """A new stream. Raises RecogniserError. Safe to cancel."""
        self.serves(want)
        self._failure = None
        while True:
            if self._closed:
                raise RecogniserError("the recogniser is closed", Reason.CLOSED)
            self.warm_up()
            best = max(self._processes, key=lambda process: (process.fits, -process.streams), default=None)
            waits = self._starting and best is not None and best.streams >= SPREAD
            if best is not None and best.fits > 0 and not waits:
                stream = best.open(on_transcript, on_lost)
                self.warm_up()
                return stream
            if not self._starting:
                raise self._failure or self._full()
            await self._changed.wait()
            self._changed.clear()

    def _full(self) -> RecogniserError:
        speakers = sum(process.status.speakers for process in self._processes)
        return RecogniserError(
            f"this machine understands {speakers:.0f} people who speak and has no room for another one", Reason.BUSY
        )

    async def _start(self) -> None:
        try:
            process = await SharedProcess.start(self._command, self._ended)
        except RecogniserError as error:
            self._failure = error
            raise
        finally:
            self._starting -= 1
            self._changed.set()
        self._processes.add(process)

    def _failed(self, _task: str, error: BaseException) -> None:
        if not isinstance(error, RecogniserError):
            log.error("starting a recogniser failed", exc_info=error)
            self._failure = RecogniserError("an error inside the recogniser")
        log.warning("no recogniser", error=str(self._failure))

    def _ended(self, process: SharedProcess) -> None:
        self._processes.discard(process)
        self.warm_up()

    async def close(self) -> None:
        """Ends all streams and their processes; idempotent; at most 3 s."""
        self._closed = True
        self._changed.set()
        await self._tasks.close()
        await asyncio.gather(*(process.close() for process in list(self._processes)))


def _cores() -> int:
    """That this program may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
