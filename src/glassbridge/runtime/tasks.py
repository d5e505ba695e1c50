"""Tasks with an owner, never fire-and-forget: a failure is reported, and a group that closes leaves no task behind."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

BEGIN_AGAIN: Final = 1.0
"""Seconds after which a task that must not end is begun again."""


class TaskGroup:
    """Owns background tasks whose lives are not nested in one function.

    Unlike asyncio.TaskGroup it may be filled and closed from different places. `on_error` hears of every exception
    (the one supervisor boundary of the owner); without it the loop's exception handler does.
    """

    __slots__ = ("_closed", "_name", "_on_error", "_tasks")

    def __init__(self, name: str, on_error: Callable[[str, BaseException], None] | None = None) -> None:
        self._name = name
        self._on_error = on_error
        self._tasks: dict[asyncio.Task[Any], None] = {}
        """In order: two runs of a simulation cancel them in the same one."""
        self._closed = False

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Starts a task. Raises RuntimeError after close() (our fault) and closes the coroutine."""
        if self._closed:
            coroutine.close()
            raise RuntimeError(f"task group {self._name} is closed")
        task = asyncio.get_running_loop().create_task(coroutine, name=f"{self._name}:{name}")
        self._tasks[task] = None
        task.add_done_callback(self._done)
        return task

    def keep(self, make: Callable[[], Coroutine[Any, Any, Any]], name: str) -> None:
        """Starts a task that must live as long as the group: when it ends or fails, it is begun again after BEGIN_AGAIN
        seconds. Raises RuntimeError after close() (our fault)."""

        def again(ended: asyncio.Task[Any]) -> None:
            if not self._closed and not ended.cancelled():
                ended.get_loop().call_later(BEGIN_AGAIN, begin)

        def begin() -> None:
            if not self._closed:
                self.spawn(make(), name).add_done_callback(again)

        if self._closed:
            raise RuntimeError(f"task group {self._name} is closed")
        begin()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not self._tasks:
            self._tasks = {}  # an emptied one keeps its 280 bytes
        if task.cancelled() or (error := task.exception()) is None:
            return
        if self._on_error is not None:
            self._on_error(task.get_name(), error)
        else:
            task.get_loop().call_exception_handler(
                {"message": f"task {task.get_name()} failed", "exception": error, "task": task}
            )

    def __len__(self) -> int:
        return len(self._tasks)

    async def settle(self, timeout: float) -> None:
        """Waits up to `timeout` seconds until all tasks have ended by themselves. Safe to cancel."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout)

    async def close(self, timeout: float = 3.0) -> None:
        """Cancels all but the calling task and waits up to `timeout` seconds for them. Idempotent; a cancelled caller
        leaves the tasks cancelled all the same."""
        self._closed = True
        rest = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=timeout)


async def cancelled(*tasks: asyncio.Task[Any]) -> None:
    """Cancels tasks and waits for their end, however long their clean-up takes; their errors are for who reads them."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


def end_if_cancelled() -> None:
    """To be called where an error of a library is about to be handled: raises CancelledError when the caller is being
    cancelled, which the library may have turned into that error."""
    if (task := asyncio.current_task()) is not None and task.cancelling():
        raise asyncio.CancelledError
