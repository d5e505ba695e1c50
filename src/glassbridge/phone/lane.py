"""One route of a phone's audio: frames wait here until the route takes them, and are never older than MAX_AGE."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic

from glassbridge.phone.coding import Outgoing

Item = tuple[Outgoing, int]
"""A frame, and how many earlier packets it carries again."""


class Lane:
    """`deliver` sends one frame's bytes and returns False where it could not; `result` hears what became of each
    frame. A frame that waits for longer than `max_age` seconds is dropped: the cloud asks for it again."""

    def __init__(
        self, deliver: Callable[[bytes], Awaitable[bool]], result: Callable[[Outgoing, bool], None], max_age: float
    ) -> None:
        self._deliver = deliver
        self._result = result
        self._max_age = max_age
        self._items: deque[tuple[float, Item]] = deque()
        self._sending = False
        self._any = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def put(self, frame: Outgoing, copies: int = 0) -> None:
        """Sends a frame soon; never waits."""
        self._items.append((monotonic(), (frame, copies)))
        self._any.set()
        self._empty.clear()

    def take_back(self) -> list[Outgoing]:
        """What waits and is not being sent, the oldest first; it waits no more."""
        first = 1 if self._sending else 0
        waiting = [item[0] for _, item in list(self._items)[first:]]
        while len(self._items) > first:
            self._items.pop()
        return waiting

    def backlog(self, now: float) -> float:
        """Seconds that the oldest frame has waited."""
        return now - self._items[0][0] if self._items else 0.0

    async def emptied(self) -> None:
        """Returns when nothing waits and nothing is being sent."""
        await self._empty.wait()

    async def run(self) -> None:
        """Sends until cancelled."""
        while True:
            while self._items:
                at, (frame, copies) = self._items[0]
                self._sending = True
                fresh = monotonic() - at <= self._max_age
                done = fresh and await self._deliver(frame.encoded(copies))
                self._sending = False
                self._items.popleft()
                self._result(frame, done)
            self._empty.set()
            self._any.clear()
            await self._any.wait()
