"""Sees LiveKit come back, so that no session has to find out by its own next attempt."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from glassbridge.core.values import LossReason
from glassbridge.livekit.rooms import RoomService, RoomServiceError

log = structlog.get_logger()

LOOK_EVERY = 0.5
EXPLAIN_WITHIN = 0.5
"""Seconds by which a failed join may be told later, so that it is told why."""
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
        self._why = ""

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
                log.warning("LiveKit does not answer", error=self._why)
            elif was_down and not down:
                log.info("LiveKit answers again")
                self._on_back()
            await asyncio.sleep(LOOK_EVERY)

    async def explain(self, room: str) -> tuple[LossReason, str] | None:
        """Why LiveKit lets nobody into this room, in words for people; None where nothing is wrong, or where it does
        not answer within EXPLAIN_WITHIN. Safe to cancel."""
        full = False
        with suppress(RoomServiceError, TimeoutError):
            async with asyncio.timeout(EXPLAIN_WITHIN):
                full = await self._rooms.is_full(room)
        if differ := self._rooms.clocks_differ("the cloud's clock"):
            return LossReason.CLOCK_SKEW, differ
        return (LossReason.LIMIT_EXCEEDED, "the user's LiveKit room is full (max_participants)") if full else None

    async def _answers(self) -> bool:
        """Whether it answers our calls: one that refuses them serves no session either."""
        try:
            await self._rooms.rooms()
        except RoomServiceError as error:
            self._why = str(error)
            return False
        return True
