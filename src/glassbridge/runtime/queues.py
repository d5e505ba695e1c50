"""Queues with bounds. For audio: by count, size and age, oldest dropped first, every drop counted. For messages that
must all arrive: by count and by bytes."""

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")


class QueueClosed(Exception):
    """The queue was closed; nothing more comes."""


class AgedQueue(Generic[T]):
    """Single consumer. `put` never waits; `get` skips what has become older than `max_age` seconds.

    Backpressure alone never bounds age (traps 22, 26): the drop rule is here, before the send.
    """

    def __init__(
        self,
        maxlen: int,
        max_age: float,
        clock: Callable[[], float] = monotonic,
        on_drop: Callable[[str, int], None] = lambda _why, _count: None,
        *,
        max_size: float = inf,
        measure: Callable[[T], int] = lambda _item: 0,
    ) -> None:
        """`on_drop` hears of what is dropped: `full`, `old`, or `closed` with the queue, and how many items. `max_size`
        bounds the sum of what `measure` says of them; the newest item is kept in any case."""
        self._items: deque[tuple[float, T]] = deque()
        self._maxlen = maxlen
        self._max_age = max_age
        self._clock = clock
        self._on_drop = on_drop
        self._max_size = max_size
        self._measure = measure
        self.size = 0
        """Of all that wait, as measured."""
        self._urgent: T | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self.dropped_full = 0
        self.dropped_old = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def dropped(self) -> int:
        """Items dropped so far, for either cause."""
        return self.dropped_full + self.dropped_old

    def put(self, item: T) -> None:
        """Adds an item; the oldest goes when the queue is full. Ignored after close()."""
        if self._closed:
            return
        self.size += self._measure(item)
        while self._items and (len(self._items) >= self._maxlen or self.size > self._max_size):
            self._pop()
            self.dropped_full += 1
            self._on_drop("full", 1)
        self._items.append((self._clock(), item))
        self._wake()

    def put_urgent(self, item: T) -> None:
        """Adds an item that goes ahead of all and is never dropped, but replaces an urgent one that still waits."""
        if not self._closed:
            self._urgent = item
            self._wake()

    async def get(self) -> tuple[float, T]:
        """The urgent item, else the oldest fresh one, with its age in seconds (urgent: 0). Raises QueueClosed once
        closed and empty. Safe to cancel."""
        while True:
            if self._urgent is not None:
                urgent, self._urgent = self._urgent, None
                return 0.0, urgent
            now = self._clock()
            while self._items:
                at, item = self._pop()
                if now - at <= self._max_age:
                    return now - at, item
                self.dropped_old += 1
                self._on_drop("old", 1)
            if self._closed:
                raise QueueClosed
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def close(self) -> None:
        """No more puts; the consumer may still empty it."""
        self._closed = True
        self._wake()

    def discard(self) -> None:
        """Closes it; waiting items are dropped and counted."""
        self.dropped_old += len(self._items)
        if self._items:
            self._on_drop("closed", len(self._items))
        self._items.clear()
        self.size = 0
        self.close()

    def _pop(self) -> tuple[float, T]:
        at, item = self._items.popleft()
        self.size -= self._measure(item)
        return at, item

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class BoundedQueue(Generic[T]):
    """Single consumer; keeps everything, in order, or refuses it."""

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self._items: asyncio.Queue[tuple[T, int]] = asyncio.Queue(max_items)
        self._max_bytes = max_bytes
        self._bytes = 0

    def put(self, item: T, size: int) -> bool:
        """Adds an item of `size` bytes and never waits; False: there is no room for it."""
        if self._items.full() or self._bytes + size > self._max_bytes:
            return False
        self._bytes += size
        self._items.put_nowait((item, size))
        return True

    async def get(self) -> T:
        """The oldest item. Safe to cancel."""
        item, size = await self._items.get()
        self._bytes -= size
        return item
