"""The app's own functions: each has a queue and a task, so that a slow or failing one disturbs no other."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from inspect import isawaitable
from typing import Any, Generic, TypeVar

import structlog

from glassbridge.runtime.queues import AgedQueue, QueueClosed
from glassbridge.runtime.tasks import TaskGroup

log = structlog.get_logger()

FAILURES: ContextVar[list[BaseException] | None] = ContextVar("failures", default=None)
"""Where a test collects what failed; None: it is logged only."""
QUEUE, MAX_AGE = 1_000, 30.0
"""Events that wait for one handler, and for how many seconds; the oldest go."""

E = TypeVar("E")
Handler = Callable[[E], Awaitable[None] | None]


class Handling(Generic[E]):
    """One function that hears one stream, in order, one event at a time."""

    def __init__(self, handler: Handler[E], tasks: TaskGroup, clock: Callable[[], float]) -> None:
        self.handler = handler
        self._queue = AgedQueue[E](QUEUE, MAX_AGE, clock)
        self._dropped = 0
        self._task = tasks.spawn(self._run(), getattr(handler, "__name__", "handler"))

    def put(self, event: E) -> None:
        """Never waits."""
        self._queue.put(event)

    def stop(self) -> None:
        """It hears no more; one that stops itself may finish what it does."""
        self._queue.close()
        if self._task is not asyncio.current_task():
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            try:
                _, event = await self._queue.get()
            except QueueClosed:
                return
            await call(self.handler, event)
            missed, self._dropped = self._queue.dropped - self._dropped, self._queue.dropped
            if missed:
                log.warning("a handler is too slow", handler=_name(self.handler), dropped=missed)


async def call(handler: Callable[..., Awaitable[None] | None], *arguments: Any) -> None:
    """The boundary to the app's own code: an error there is logged, and the session goes on."""
    try:
        result = handler(*arguments)
        if isawaitable(result):
            await result
    except Exception as error:
        if (failures := FAILURES.get()) is not None:
            failures.append(error)
        log.exception("handler failed", handler=_name(handler))


def _name(handler: Callable[..., Any]) -> str:
    return getattr(handler, "__qualname__", repr(handler))
