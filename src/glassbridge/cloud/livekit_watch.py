"""Notices that LiveKit is back, so that no session has to find out by its own next attempt."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from glassbridge.core.values import LossReason
from glassbridge.livekit.rooms import RoomService, RoomServiceError

log = structlog.get_logger()

LOOK_EVERY = 0.5
LOOK_AGAIN = 5.0
"""Seconds between two looks while all is well and a person watches."""
EXPLAIN_WITHIN = 0.5
"""Seconds by which the report of a failed join may be delayed, so that it says why."""
WATCH_FOR = 10.0
"""Seconds without a complaint after which the watch ends."""


class LiveKitWatch:
    """One for each cloud. Asks only after a complaint, or while a person watches. `on_back` is called when LiveKit
    answers after it was found down. If LiveKit always answers the cloud and only not a bridge, it is not called.
    """

    def __init__(self, rooms: RoomService, on_back: Callable[[], None]) -> None:
        self._rooms = rooms
        self._on_back = on_back
        self._wanted = asyncio.Event()
        self._until = self._looked_at = 0.0
        """Until when it is asked, and when it was asked last, by the loop's clock."""
        self.answers: bool | None = None
        """As of the last look; None before the first."""
        self.why = ""
        """Why LiveKit does not answer; empty while it does."""

    def complain(self) -> None:
        """A join failed because of LiveKit."""
        self._until = asyncio.get_running_loop().time() + WATCH_FOR
        self._wanted.set()

    def look(self) -> None:
        """Asks LiveKit once for its state, LOOK_AGAIN seconds after the last time at the earliest."""
        if asyncio.get_running_loop().time() >= self._looked_at + LOOK_AGAIN:
            self._wanted.set()

    async def run(self) -> None:
        """Looks for ever. Safe to cancel."""
        loop = asyncio.get_running_loop()
        while True:
            if self.answers is not False and loop.time() >= self._until:
                await self._wanted.wait()
            self._wanted.clear()
            before, self.answers = self.answers, await self._ask()
            self._looked_at = loop.time()
            if not self.answers and before is not False:
                log.warning("LiveKit does not answer", error=self.why)
            elif self.answers and before is False:
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

    async def _ask(self) -> bool:
        """Whether it answers our calls: one that refuses them serves no session either."""
        try:
            await self._rooms.rooms()
        except RoomServiceError as error:
            self.why = str(error)
            return False
        self.why = ""
        return True
