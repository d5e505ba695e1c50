"""Waiting for the next change of something. Unlike an asyncio.Event it costs nothing while nobody waits."""

import asyncio


class Change:
    """`told` wakes all that wait at this moment."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next: asyncio.Event | None = None

    def told(self) -> None:
        """Something has changed."""
        if self._next is not None:
            self._next.set()
            self._next = None

    async def wait(self) -> None:
        """Returns after the next change. Safe to cancel."""
        if self._next is None:
            self._next = asyncio.Event()
        await self._next.wait()
