"""Ships log lines to a sink: the shell around core/outbox.py, on two threads of its own, so that neither a full disk
nor a sink that answers nothing is ever felt by who logs.

One thread keeps: it takes lines from a bounded queue, writes them to the spool (telemetry/spool.py), and turns the
machine. The other one posts: it may hang as long as the sink likes.
"""

import random
import threading
from dataclasses import dataclass
from math import inf
from pathlib import Path
from queue import Empty, Full, Queue, SimpleQueue
from time import monotonic
from typing import Final

import structlog

from glassbridge.core.outbox import (
    Answered,
    Close,
    Effect,
    Ended,
    Event,
    Forget,
    GiveUp,
    Outbox,
    OutboxState,
    Send,
    TellRefused,
    Tick,
    Waiting,
)
from glassbridge.telemetry.config import SinkConfig
from glassbridge.telemetry.sinks import Sink, SinkAnswer
from glassbridge.telemetry.spool import Batch, Spool

log = structlog.get_logger()

QUEUE_LINES: Final = 10_000
AT_ONCE: Final = 1_000
"""Lines taken from the queue before they are written."""
ADOPT_EVERY: Final = 60.0
"""Seconds between two looks at what dead processes left; after a known death the look comes at once."""
LETTING_GO: Final = 2.0
"""Seconds in which the spool takes what is queued and closes, when the time for flushing is over: only a disk that
stands still, or a machine that gives us no processor, takes as long."""


@dataclass
class LineCounts:
    """Lines, since the start."""

    shipped: int = 0
    dropped: int = 0
    """Neither queue nor spool had room."""
    given_up: int = 0
    """The sink will never take them."""
    waiting: int = 0
    """As many wait now."""


@dataclass(frozen=True, slots=True)
class _Posted:
    answer: SinkAnswer
    lines: int


class _Wake:
    """Look at what is asked."""


class Shipper:
    """For one sink; `folder` is that of its spool. Threads run from the beginning to close()."""

    def __init__(self, config: SinkConfig, folder: Path | None) -> None:
        self.config = config
        self.counts = LineCounts()
        self._spool = Spool(folder)
        self._sink = Sink(config)
        self._outbox = Outbox(random.random, config.batch, config.every)
        self._inbox: Queue[bytes | _Posted | _Wake] = Queue(QUEUE_LINES)
        self._jobs: SimpleQueue[list[bytes] | None] = SimpleQueue()
        self._batch: Batch | None = None
        self._down = False
        self._overflown = 0
        self._told_dropped = 0
        self._told_trouble = ""
        self._adopt, self._close, self._abandon = threading.Event(), threading.Event(), threading.Event()
        self._adopt_at = monotonic()
        self._poster = threading.Thread(target=self._post, name="log-poster", daemon=True)
        self._keeper = threading.Thread(target=self._keep, name="log-keeper", daemon=True)
        self._poster.start()
        self._keeper.start()

    # ---- from any thread

    def put(self, line: str) -> None:
        """Takes a line, without a line feed. Never waits."""
        try:
            self._inbox.put_nowait(line.encode(errors="replace"))
        except Full:
            self._overflown += 1

    def adopt(self) -> None:
        """Ships what processes left that are no more."""
        self._ask(self._adopt)

    def end(self) -> None:
        """Waiting lines are sent without delay; then wait()."""
        self._ask(self._close)

    def wait(self, seconds: float) -> None:
        """Returns once all is sent, or so many seconds are over; the rest stays in the spool."""
        self._keeper.join(max(0.0, seconds))
        self._ask(self._abandon)
        self._keeper.join(LETTING_GO)

    def _ask(self, event: threading.Event) -> None:
        event.set()
        if self._inbox.empty():
            self._inbox.put(_Wake())

    # ---- the thread that keeps

    def _keep(self) -> None:
        while self._outbox.state is not OutboxState.CLOSED and not self._abandon.is_set():
            self._turn(self._take())
        while not self._inbox.empty():
            self._store(self._take())
        self._jobs.put(None)
        self._sink.abort()
        self._spool.close()

    def _turn(self, news: list[bytes | _Posted | _Wake]) -> None:
        """Writes what has come, and steps the machine. Never waits."""
        came = self._store(news)
        due = self._adopt.is_set() or monotonic() >= self._adopt_at
        adopted = due and self._adopt_now()
        for item in news:
            if isinstance(item, _Posted):
                self._hear(item)
        if came or adopted:
            self._step(Waiting(self._spool.lines))
        if self._close.is_set() and self._inbox.empty():  # else it would close on lines that it has not seen
            self._step(Close())
        deadline = self._outbox.next_deadline()
        if deadline is not None and monotonic() >= deadline:
            self._step(Tick())
        self._account()

    def _store(self, news: list[bytes | _Posted | _Wake]) -> bool:
        """Whether there were lines."""
        lines = [item for item in news if isinstance(item, bytes)]
        if lines:
            self._spool.append(lines)
        return bool(lines)

    def _take(self) -> list[bytes | _Posted | _Wake]:
        deadline = self._outbox.next_deadline()
        wait = max(0.0, min(inf if deadline is None else deadline, self._adopt_at) - monotonic())
        if self._adopt.is_set() or (self._close.is_set() and not self._outbox.state.asks):
            wait = 0.0
        news: list[bytes | _Posted | _Wake] = []
        try:
            news.append(self._inbox.get(timeout=wait))
            while len(news) < AT_ONCE:
                news.append(self._inbox.get_nowait())
        except Empty:
            pass
        return news

    def _adopt_now(self) -> bool:
        self._adopt.clear()
        self._adopt_at = monotonic() + ADOPT_EVERY
        found = self._spool.adopt()
        if found:
            log.info("log lines of a dead process found", count=found, sink=self.config.place)
        return found > 0

    def _step(self, event: Event) -> None:
        for effect in self._outbox.step(event, monotonic()):
            self._perform(effect)
        self._outbox.records.clear()  # not logged: a line about the shipping of lines would be shipped itself, for ever

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Send(most):
                self._batch = self._spool.first(most)
                if self._batch is None:  # dropped for want of room
                    self._step(Waiting(0))
                    self._step(Answered(200, 0))
                else:
                    self._jobs.put(self._batch.lines)
            case Forget():
                self._done(shipped=True)
            case GiveUp(status):
                size = len(self._batch.lines[0]) if self._batch is not None else 0
                self._done(shipped=False)
                log.warning("log line given up", status=status, bytes=size, sink=self.config.place)
            case TellRefused(status):
                log.error(
                    "log sink refuses our token", status=status, sink=self.config.place,
                    action="correct the source token (glassbridge logs test); lines are kept",
                )  # fmt: skip
            case Ended():
                pass

    def _done(self, *, shipped: bool) -> None:
        if self._batch is None:
            return
        count, batch, self._batch = len(self._batch.lines), self._batch, None
        self._spool.forget(batch)
        self.counts.shipped += count if shipped else 0
        self.counts.given_up += 0 if shipped else count

    def _hear(self, posted: _Posted) -> None:
        answer = posted.answer
        self._step(Answered(answer.status, posted.lines, answer.wait))
        down = self._outbox.state is OutboxState.HELD_UP
        if down and not self._down and answer.status not in (401, 403):
            log.warning(
                "log sink takes nothing", status=answer.status, error=answer.error, sink=self.config.place,
                action="keep the lines, try again",
            )  # fmt: skip
        elif self._down and not down:
            log.info("log sink takes lines again", waiting=self._spool.lines, sink=self.config.place)
        self._down = down

    def _account(self) -> None:
        """Counts, and says what was lost and why nothing is safe, each once."""
        self.counts.waiting = self._spool.lines
        self.counts.dropped = dropped = self._overflown + self._spool.dropped
        if dropped != self._told_dropped and self._inbox.empty():
            count, self._told_dropped = dropped - self._told_dropped, dropped
            log.warning("log lines dropped", count=count, sink=self.config.place)
        if self._spool.trouble not in ("", self._told_trouble):
            self._told_trouble = self._spool.trouble
            log.warning("log spool cannot be written", error=self._spool.trouble, action="keep lines in memory")

    # ---- the thread that posts

    def _post(self) -> None:
        while (lines := self._jobs.get()) is not None:
            try:
                answer = self._sink.post(lines)
            except Exception as error:  # boundary: a batch that cannot be sent is no answer, and is tried again
                answer = SinkAnswer(None, error=type(error).__name__)
            self._inbox.put(_Posted(answer, len(lines)))
        self._sink.close()
