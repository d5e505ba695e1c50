"""A few at a time, in fair turns: the shell around core/fair_queue.py."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from glassbridge.core.fair_queue import Asker, FairQueue


class TooManyWait(Exception):
    """This asker has as many waiting as it may have."""


class FairTurns:
    """At most `places` at a time, of each asker at most `each` waiting."""

    def __init__(self, places: int, each: int) -> None:
        self._queue: FairQueue[asyncio.Future[None]] = FairQueue(places, each)

    @property
    def waiting(self) -> int:
        return self._queue.waiting

    @asynccontextmanager
    async def turn(self, asker: Asker) -> AsyncIterator[None]:
        """Waits for a place and holds it. Raises TooManyWait. Safe to cancel."""
        called = asyncio.get_running_loop().create_future()
        if not self._queue.put(asker, called):
            raise TooManyWait
        self._call()
        try:
            await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled():
                self._leave(asker)
            else:
                self._queue.remove(asker, called)
            raise
        try:
            yield
        finally:
            self._leave(asker)

    def _leave(self, asker: Asker) -> None:
        self._queue.done(asker)
        self._call()

    def _call(self) -> None:
        while (called := self._queue.take()) is not None:
            called.set_result(None)
