"""One route of a phone's audio: frames wait here, the oldest samples first, until the route takes them or nobody wants
them."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from glassbridge.phone.coding import Outgoing, merged

POLL = 0.005
MAX_WAITING = 1_024
"""Frames that wait, at most; the oldest go first. Those of PCM hold 25 s."""

Item = tuple[Outgoing, int]
"""A frame, and how many earlier packets it carries again."""


class Lane:
    """`deliver` sends one frame's bytes and returns False where it could not; `result` gets the outcome of each
    frame. `wanted(frame, waited)`: whether a frame that waited for so many seconds is still to be sent. Each waits
    until the route `takes(frame, waited)` it: earlier samples that come meanwhile go first."""

    def __init__(
        self,
        deliver: Callable[[bytes], Awaitable[bool]],
        result: Callable[[Outgoing, bool], None],
        wanted: Callable[[Outgoing, float], bool],
        clock: Callable[[], float],
        takes: Callable[[Outgoing, float], bool] = lambda *_: True,
    ) -> None:
        self.lag = 0.0
        """Seconds that each frame waits at least; what has come meanwhile and fits goes with it, as one."""
        self._deliver = deliver
        self._result = result
        self._wanted = wanted
        self._clock = clock
        self._takes = takes
        self._items: deque[tuple[float, Item]] = deque()
        self._sent_since: float | None = None
        """Since when the frame has waited that is being sent; None: none is."""
        self._any = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def put(self, frame: Outgoing, copies: int = 0) -> None:
        """Sends a frame soon, before all later samples that wait; never waits itself."""
        if len(self._items) >= MAX_WAITING:
            _, (oldest, _) = self._items.popleft()
            self._result(oldest, False)
        at = len(self._items)
        while at and _is_earlier(frame, self._items[at - 1][1][0]):
            at -= 1
        self._items.insert(at, (self._clock(), (frame, copies)))
        self._any.set()
        self._empty.clear()

    def take_back(self) -> list[Outgoing]:
        """The waiting frames without the one being sent, the oldest first; it waits no more."""
        waiting = [frame for _, (frame, _) in self._items]
        self._items.clear()
        return waiting

    def backlog(self, now: float) -> float:
        """Seconds that the oldest frame has waited."""
        since = self._sent_since
        if since is None and self._items:
            since = min(at for at, _ in self._items)
        return 0.0 if since is None else now - since

    async def emptied(self) -> None:
        """Returns when nothing waits and nothing is being sent."""
        await self._empty.wait()

    async def run(self) -> None:
        """Sends until cancelled."""
        while True:
            while self._items:
                since, (frame, _) = self._items[0]
                waited = self._clock() - since
                if not self._takes(frame, waited) and self._wanted(frame, waited):
                    await asyncio.sleep(POLL)
                    continue
                self._sent_since, (frame, copies) = self._items.popleft()
                if (early := self._sent_since + self.lag - self._clock()) > 0:
                    await asyncio.sleep(early)
                    frame = self._with_later(frame)
                wanted = self._wanted(frame, self._clock() - self._sent_since)
                done = wanted and await self._deliver(frame.encoded(copies))
                self._sent_since = None
                self._result(frame, done)
            self._empty.set()
            self._any.clear()
            await self._any.wait()

    def _with_later(self, frame: Outgoing) -> Outgoing:
        while self._items and len(both := merged([frame, self._items[0][1][0]])) == 1:
            frame = both[0]
            self._items.popleft()
        return frame


def _is_earlier(frame: Outgoing, other: Outgoing) -> bool:
    return frame.number.epoch == other.number.epoch and frame.number.position < other.number.position
