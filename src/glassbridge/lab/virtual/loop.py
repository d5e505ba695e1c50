"""An event loop that turns when virtual time says so."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final, Protocol
from weakref import ref

LAST_TURNS: Final = 50
"""Of a loop that is closed: tasks that are cancelled again and again are left."""
SPIN: Final = 100_000
"""Turns of one loop within one moment, after which something waits by spinning."""


class Clock(Protocol):
    """What a loop needs of time."""

    @property
    def now(self) -> float: ...
    def at(self, when: float, call: Callable[..., None], *args: Any) -> None: ...


class _Call(asyncio.TimerHandle):
    """A handle of which only what runs it, and what cancels it, is needed: half of asyncio's work on each."""

    __slots__ = ()
    _source_traceback: Any = None

    def __init__(self, when: float, callback: Any, args: Any, loop: Any, context: Context | None) -> None:
        self._when, self._callback, self._args, self._loop = when, callback, args, loop
        self._context = copy_context() if context is None else context
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True
        self._callback = self._args = None  # type: ignore[assignment]


class VirtualLoop(asyncio.BaseEventLoop):
    """The event loop of one process, by its clock. It turns itself: no system is asked for anything. What has come is
    done before timers ring, as by epoll."""

    _ready: deque[_Call]

    def __init__(self, time: Clock, name: str) -> None:
        super().__init__()
        self.name = name
        self._self = ref(self)
        self._time = time
        self._wake_at: float | None = None
        self._planned = set[float]()
        """When time wakes it, for nothing where it has been woken meanwhile."""
        self._turning = False
        self._timers: list[tuple[float, int, _Call]] = []
        """A heap; those that were cancelled are thrown away when their time comes."""
        self._numbers = count()
        self._tasks = tasks = dict[ref[asyncio.Task[Any]], None]()
        """In order, until they are collected; asyncio itself lists those of all loops that this process has had."""
        self._forget: Callable[[ref[asyncio.Task[Any]]], None] = lambda gone: tasks.pop(gone, None)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, **options)
        self._tasks[ref(task, self._forget)] = None
        return task

    def _unfinished(self) -> list[asyncio.Task[Any]]:
        return [task for key in tuple(self._tasks) if (task := key()) is not None and not task.done()]

    def time(self) -> float:
        return self._time.now

    def end(self) -> None:
        """Its process is gone: tasks release what they hold, unheard."""
        for _ in range(LAST_TURNS):
            left = self._unfinished()
            if not left:
                break
            for task in left:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                task.cancel()
            self.drain()
        self._timers.clear()
        self._wake_at = None
        self.close()

    def _wake(self, when: float) -> None:
        if not self._turning and (self._wake_at is None or when < self._wake_at):
            self._wake_at = when
            if when not in self._planned:
                self._planned.add(when)
                self._time.at(when, _turn, self._self, when)

    def drain(self) -> None:
        """Runs all that is ready or due now."""
        ready, timers, now = self._ready, self._timers, self._time.now
        self._wake_at = None
        self._turning = True
        asyncio._set_running_loop(self)
        try:
            for _ in range(SPIN):
                while timers and (timers[0][0] <= now or timers[0][2]._cancelled):
                    ready.append(heappop(timers)[2])
                if not ready:
                    break
                for _ in range(len(ready)):
                    handle = ready.popleft()
                    if not handle._cancelled:
                        try:
                            handle._context.run(handle._callback, *handle._args)
                        except (KeyboardInterrupt, SystemExit):
                            raise
                        except BaseException as error:
                            self._tell_of(error, handle)
            else:
                raise RuntimeError(f"a task of {self.name} spins at {now!r}: {handle}")
        finally:
            asyncio._set_running_loop(None)
            self._turning = False
        if timers:
            self._wake(timers[0][0])

    def _tell_of(self, error: BaseException, handle: _Call) -> None:
        name = getattr(handle._callback, "__qualname__", "of a task")
        self.call_exception_handler({"message": f"Exception in callback {name}", "exception": error, "handle": handle})

    # ---- what BaseEventLoop does in more steps, or leaves open

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = _Call(0.0, callback, args, self, context)
        self._ready.append(handle)
        if not self._turning:
            self._wake(self._time.now)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self._at(self._time.now + delay, callback, args, context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self._at(when, callback, args, context)

    def _at(self, when: float, callback: Any, args: Any, context: Context | None) -> asyncio.TimerHandle:
        timer = _Call(when, callback, args, self, context)
        heappush(self._timers, (when, next(self._numbers), timer))
        if not self._turning:
            self._wake(when)
        return timer

    def _process_events(self, _events: list[Any]) -> None:
        pass

    def run_in_executor(  # type: ignore[override]
        self, _executor: Any, func: Any, *args: Any
    ) -> asyncio.Future[Any]:
        """At once: what threads do here takes no time."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    async def sock_connect(self, _sock: Any, _address: Any) -> None:
        """A connection that bypasses the World reaches nothing."""
        raise ConnectionRefusedError("there is nothing but the simulated network")

    async def getaddrinfo(self, *_args: Any, **_options: Any) -> Any:
        """Names are known to the simulated network only."""
        raise OSError("there is nothing but the simulated network")


def _turn(loop: ref[VirtualLoop], when: float) -> None:
    """It was to wake now, unless it was woken meanwhile. What is dead is not kept until its last timer."""
    if (alive := loop()) is not None:
        alive._planned.discard(when)
        if alive._wake_at == when:
            alive.drain()
