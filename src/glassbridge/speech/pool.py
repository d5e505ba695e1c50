"""Recognisers that are programs: many streams by few processes, or a process for each stream.

There are more processes than are in use: a stream whose process dies goes on in another one at once. A new stream goes
where most speakers still fit; where none fits, it is refused. Where it may fit as soon as it is known what the newest
ones cost, or when the machine has done something else, it waits for that. None goes to a process that has stalled.
Streams that a dead process has lost had room until then: as many as these come back soon, and no other stream takes
their room.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import ceil
from time import monotonic

import structlog

from glassbridge.core.admission import Limits
from glassbridge.core.recogniser import Reason, StreamTimes
from glassbridge.core.subscriptions import AUTO
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.speech.base import RecogniserError, Transcript, Want, all_busy
from glassbridge.speech.process import SILENT, ProcessStream, SpeechProcess

log = structlog.get_logger()

ENGLISH = "en-US"
PATIENCE = 14.0
"""Seconds that a new stream waits until those that came before it are known and the machine has time for it, if there
may be room for it then."""
RETURN_WITHIN = 2.0
"""Seconds in which the streams of a dead process are opened anew."""
AHEAD = 2
"""Processes that are ready beside those in use: one for the next streams, one should another die. At first there is
one: a program that starts has enough to do."""
SPREAD = 4
"""A new stream waits for a process that is being started when each other one has so many: streams do not move."""


def english_only(want: Want) -> Want:
    """What a model of American English serves. Raises RecogniserError."""
    if want.target is not None:
        raise RecogniserError("the offline recogniser does not translate", Reason.UNSUPPORTED)
    if want.language not in (ENGLISH, AUTO):
        raise RecogniserError(f"the offline recogniser knows {ENGLISH} only, not {want.language}", Reason.UNSUPPORTED)
    return Want(ENGLISH)


class ProcessRecogniser:
    """A Recogniser (speech/base.py) for at most `limit` streams at a time in processes of `command`; a provider says
    what it serves. A process serves `each` streams in its life; None: as many as it can bear, and there are at most
    `processes` of them, by default one for each core."""

    name = "process"
    times = StreamTimes()
    stuck = 2 * SILENT
    """The process's own watch is quicker."""

    def __init__(
        self, command: Sequence[str], limit: int, processes: int | None = None, *, each: int | None = None
    ) -> None:
        self.limits = Limits(streams=limit)
        self._command = tuple(command)
        self._each = each
        self._most = processes or (limit if each is not None else max(1, _cores()))
        self._processes: set[SpeechProcess] = set()
        self._starting = 0
        self._waiting = 0
        self._returning: deque[float] = deque()
        """Until when each stream that a dead process has lost is expected."""
        self._failures = 0
        self._failure = RecogniserError("no recogniser process was started")
        """The last one."""
        self._changed = asyncio.Event()
        self._tasks = TaskGroup("recogniser", on_error=self._failed)
        self._closed = False

    def serves(self, want: Want) -> Want:
        """What is opened for it. Raises RecogniserError."""
        raise NotImplementedError

    @property
    def processes(self) -> list[SpeechProcess]:
        """That run."""
        return list(self._processes)

    @property
    def fits(self) -> int:
        """Speakers that still fit, those for whom a process has yet to be started among them."""
        running = [process.room for process in self._processes]
        unused = self._most - len(running)
        return sum(running) + unused * max([1, *running])

    def warm_up(self) -> None:
        """Starts a process ahead, so that the first caption comes soon. Needs the running loop."""
        used = sum(1 for process in self._processes if process.streams)
        ahead = max(1, ceil(self._waiting / (self._each or SPREAD)))
        wanted = min(self._most, used + ahead)
        while not self._closed and len(self._processes) + self._starting < wanted:
            self._starting += 1
            self._tasks.spawn(self._start(), "start")

    async def open(
        self,
        want: Want,
        on_transcript: Callable[[Transcript], None],
        on_lost: Callable[[RecogniserError], None],
    ) -> ProcessStream:
        """A new stream. Raises RecogniserError. Safe to cancel."""
        self.serves(want)
        self._waiting += 1
        try:
            process = await self._find(returns=self._is_expected())
        finally:
            self._waiting -= 1
        stream = process.open(on_transcript, on_lost)
        self.warm_up()
        return stream

    def _is_expected(self) -> bool:
        """A stream that is opened now takes the place of one that was lost."""
        while self._returning and self._returning[0] < monotonic():
            self._returning.popleft()
        return bool(self._returning) and bool(self._returning.popleft())

    async def _find(self, *, returns: bool) -> SpeechProcess:
        """The best process for one more stream, which is to be opened at once; it may have had room before. Raises
        RecogniserError."""
        failures = self._failures
        until = monotonic() + PATIENCE
        while True:
            if self._closed:
                raise RecogniserError("the recogniser is closed", Reason.CLOSED)
            if sum(process.streams for process in self._processes) >= self.limits.streams:
                raise all_busy(self.limits.streams)
            alive = [process for process in self._processes if process.is_alive]
            best = max(alive, key=lambda process: (process.fits, -process.streams), default=None)
            fits = best is not None and (returns or best.fits > 0)
            if not fits and self._failures > failures:
                raise self._failure
            self.warm_up()
            if best is not None and fits and not (self._starting and best.streams >= SPREAD):
                return best
            soon = any(process.may_have_room or not process.is_alive for process in self._processes)
            if not self._starting and not (soon and monotonic() < until):
                raise self._full()
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._changed.wait()

    def _full(self) -> RecogniserError:
        streams = sum(process.streams for process in self._processes)
        return RecogniserError(
            f"this machine understands {streams} people and has no room for another one who speaks", Reason.BUSY
        )

    async def _start(self) -> None:
        try:
            process = await SpeechProcess.start(self._command, self._ended, self._each, self._changed.set)
        finally:
            self._starting -= 1
        self._processes.add(process)
        self._changed.set()
        self.warm_up()

    def _failed(self, _task: str, error: BaseException) -> None:
        if not isinstance(error, RecogniserError):
            log.error("starting a recogniser failed", exc_info=error)
            error = RecogniserError("an error inside the recogniser")
        log.warning("no recogniser", error=str(error))
        self._failures, self._failure = self._failures + 1, error
        self._changed.set()

    def _ended(self, process: SpeechProcess, lost: int) -> None:
        self._processes.discard(process)
        self._returning.extend([monotonic() + RETURN_WITHIN] * lost)
        self.warm_up()
        self._changed.set()

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
