"""The credentials of a socket are checked again while it lives: tokens expire, secrets and keys are withdrawn."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final

TURN: Final = 100
"""Sockets that are looked at in one go."""


class Recheck:
    """`run` asks all guarded sockets, each `every` seconds; the one that may not stay is closed."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._guarded: dict[int, tuple[Callable[[], bool], Callable[[], None]]] = {}
        self._numbers = count()

    @contextmanager
    def guards(self, may_stay: Callable[[], bool], close: Callable[[], None]) -> Iterator[None]:
        """Meanwhile `close` is called, once, as soon as `may_stay` is found to be False."""
        number = next(self._numbers)
        self._guarded[number] = may_stay, close
        try:
            yield
        finally:
            self._guarded.pop(number, None)

    async def run(self) -> None:
        """For ever. Safe to cancel."""
        while True:
            await asyncio.sleep(self._every)
            await self.look()

    async def look(self) -> None:
        """Asks all of them now."""
        for turn, (number, (may_stay, close)) in enumerate(list(self._guarded.items()), 1):
            if not may_stay() and self._guarded.pop(number, None) is not None:
                close()
            if turn % TURN == 0:
                await asyncio.sleep(0)
