"""LiveKit's room service as a cloud sees it (livekit/rooms.py): questions over connections of their own."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from glassbridge.lab.sim.asking import ask
from glassbridge.lab.sim.livekit import LiveKit
from glassbridge.lab.sim.net import Link
from glassbridge.lab.sim.world import Process
from glassbridge.livekit.rooms import Occupant, RoomServiceError

ANSWER_WITHIN = 1.0
"""Seconds that the service has."""

A = TypeVar("A")


class RoomService:
    """One cloud's way to it. What a call cannot find out in time raises RoomServiceError."""

    def __init__(self, process: Process, livekit: LiveKit, link: Link) -> None:
        self._livekit = livekit
        self._link = link
        self._end = 0 if link.ends[0] is process else 1

    async def _ask(self, read: Callable[[LiveKit], A]) -> A:
        what = None
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_WITHIN):
                what = await ask(self._link, self._end, partial(read, self._livekit), ANSWER_WITHIN)
        if what is None:
            raise RoomServiceError("no answer", retry=True)
        return what

    async def participants(self, room: str) -> list[Occupant]:
        """Who is in the room."""
        return await self._ask(
            lambda livekit: [
                Occupant(identity, identity, member.media, 0.0, False)
                for identity, member in livekit.members(room).items()
            ]
        )

    async def rooms(self) -> list[str]:
        """All rooms."""
        return await self._ask(lambda livekit: list(livekit.rooms))

    async def is_full(self, _room: str) -> bool:
        """No room has a limit here."""
        return await self._ask(lambda _livekit: False)

    async def remove(self, room: str, identity: str) -> None:
        """Puts somebody out."""

        def put_out(livekit: LiveKit) -> bool:
            livekit.remove(room, identity)
            return True

        await self._ask(put_out)

    def clocks_differ(self, _whose: str) -> str:
        """Clocks agree well enough for tokens here."""
        return ""
