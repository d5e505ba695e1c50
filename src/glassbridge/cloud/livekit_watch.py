"""Sees LiveKit come back, so that no session has to find out by its own next attempt."""

import asyncio
from collections.abc import Callable

import structlog

from glassbridge.livekit.rooms import RoomService, RoomServiceError

log = structlog.get_logger()

LOOK_EVERY = 0.5
WATCH_FOR = 10.0
"""Seconds without a complaint after which nobody looks any more."""


class LiveKitWatch:
    """One for each cloud. Asks only after somebody complained; `on_back` hears when LiveKit, once found down, answers.

    Where LiveKit answers us all the time but not a bridge, it is not LiveKit that is down, and nobody is called.
    """

    def __init__(self, rooms: RoomService, on_back: Callable[[], None]) -> None:
        self._rooms = rooms
        self._on_back = on_back
        self._complained = asyncio.Event()

    def complain(self) -> None:
        """A join failed for LiveKit's sake."""
        self._complained.set()

    async def run(self) -> None:
        """Looks for ever. Safe to cancel."""
        loop = asyncio.get_running_loop()
        down = False
        until = 0.0
        while True:
            if not down and loop.time() >= until:
                await self._complained.wait()
            if self._complained.is_set():
                self._complained.clear()
                until = loop.time() + WATCH_FOR
            was_down, down = down, not await self._answers()
            if down and not was_down:
                log.warning("LiveKit does not answer")
            elif was_down and not down:
                log.info("LiveKit answers again")
                self._on_back()
            await asyncio.sleep(LOOK_EVERY)

    async def _answers(self) -> bool:
        try:
            await self._rooms.rooms()
        except RoomServiceError as error:
            return not error.retry  # one that refuses us is there
        return True
