"""A joined place in a room, as livekit/participant.py has it, around the model of one."""

import asyncio
from functools import cache

from glassbridge.core.values import SAMPLE_RATE, LossReason
from glassbridge.lab.sim.livekit import Participant, Token
from glassbridge.lab.virtual.time import Call
from glassbridge.livekit.participant import (
    Closed,
    LocalTrack,
    Packet,
    ParticipantError,
    RemoteParticipant,
    RoomEvents,
)


class Place:
    """Single use. Its model hears of the room; `join` first."""

    def __init__(self, token: Token, events: RoomEvents) -> None:
        self.identity = token.identity
        self.room = token.room
        self.sid = f"PA_{token.identity}"
        self.remote: dict[str, RemoteParticipant] = {}
        self.closed: Closed | None = None
        self.model: Participant
        self._loop = asyncio.get_running_loop()
        self._events = events

    async def join(self, timeout: float) -> None:
        """Raises ParticipantError. When cancelled, the place is left."""
        joined: asyncio.Future[LossReason | None] = self._loop.create_future()

        def done(failure: LossReason | None) -> None:
            if not joined.done():
                joined.set_result(failure)

        self.model.connect(timeout, done)
        try:
            failure = await joined
        except asyncio.CancelledError:
            self.model.close()
            raise
        if failure is not None:
            raise ParticipantError(failure)

    # ---- what its model tells

    def heard(self, payload: bytes, topic: str, sender: str) -> None:
        """A packet."""
        self._loop.call_soon(self._events.on_packet, Packet(payload, topic, sender, reliable=False))

    def updated(self, present: tuple[str, ...]) -> None:
        """Who is here."""
        self.remote = {identity: _somebody(identity) for identity in present if identity != self.identity}
        self._loop.call_soon(self._events.on_participants, self.remote)

    def lost(self, reason: LossReason) -> None:
        """The place is lost."""
        self.closed = Closed(reason)
        self._loop.call_soon(self._events.on_closed, self.closed)

    # ---- what its owner does

    async def close(self) -> None:
        """Idempotent."""
        self._end(self.model.close)

    async def vanish(self) -> None:
        """Nobody is told, but where the participant is the SDK's, which cannot do that. Idempotent."""
        self._end(self.model.vanish if self.model.watchful else self.model.close)

    def _end(self, way: Call) -> None:
        way()
        if self.closed is None:
            self.closed = Closed(LossReason.CLOSED)
            self._events.on_closed(self.closed)

    async def publish(self, name: str, rate: int = SAMPLE_RATE) -> LocalTrack:
        """There are no tracks here."""
        raise ParticipantError(LossReason.INTERNAL)

    async def send(self, payload: bytes, *, topic: str = "", reliable: bool = True, to: tuple[str, ...] = ()) -> None:
        """A lossy packet to all."""
        if self.closed is not None:
            raise ParticipantError(self.closed.reason)
        self.model.send(payload, topic)


@cache
def _somebody(identity: str) -> RemoteParticipant:
    return RemoteParticipant(identity, f"PA_{identity}")
