"""Asks everybody on the way of one user's audio at the same time; what it amounts to is core/diagnosis.py's."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from glassbridge.cloud.bridge_answers import SeatStatus
from glassbridge.cloud.seat_client import SeatClient
from glassbridge.core.diagnosis import Evidence, LiveKitStatus
from glassbridge.core.values import UserId, agent_identity, spelled
from glassbridge.livekit.rooms import Occupant, RoomService, RoomServiceError

log = structlog.get_logger()

AskPhone = Callable[[], Awaitable[bool]]
"""Whether the phone gives a sign of life on its socket within a second."""


class Examiner:
    """One for each cloud. `rooms` answers, or fails, within a second."""

    def __init__(self, rooms: RoomService) -> None:
        self._rooms = rooms

    async def examine(self, user: UserId, seat: SeatClient | None, ask_phone: AskPhone) -> Evidence:
        """Everybody's answers; takes little more than a second. Safe to cancel."""
        bridge, livekit, answers = await asyncio.gather(self._ask_bridge(seat), self._ask_livekit(user), ask_phone())
        return Evidence(
            bridge=bridge.says if bridge is not None else None,
            livekit=livekit,
            phone_answers=answers,
            stream_age=seat.stream_age if seat is not None else None,
        )

    async def put_out(self, user: UserId) -> None:
        """Takes the user's phone out of its room, where the room service can."""
        try:
            await self._rooms.remove(user, user)
        except RoomServiceError as error:
            log.info("LiveKit's room service does not put the phone out", user_id=user, error=str(error))

    @staticmethod
    async def _ask_bridge(seat: SeatClient | None) -> SeatStatus | None:
        return await seat.status() if seat is not None else None

    async def _ask_livekit(self, user: UserId) -> LiveKitStatus | None:
        try:
            occupants = await self._rooms.participants(user)
        except RoomServiceError as error:
            log.info("LiveKit's room service does not tell", user_id=user, error=str(error))
            return None
        phone = next((one for one in occupants if _is(one, user)), None)
        return LiveKitStatus(
            agent_here=any(_is(one, agent_identity(user)) for one in occupants),
            phone_here=phone is not None,
            phone_publishes=phone is not None and phone.publishing,
        )


def _is(occupant: Occupant, identity: str) -> bool:
    return spelled(occupant.identity) == identity
