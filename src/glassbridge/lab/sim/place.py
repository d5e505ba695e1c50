"""A place in a room of the modelled LiveKit, as phones and bridges have one: our participant, the fenced SDK, or the
bare SDK, which resumes."""

import asyncio
from collections.abc import Mapping
from functools import cache
from typing import Final

from glassbridge.core.values import SAMPLE_RATE, LossReason
from glassbridge.lab.sim.livekit import LiveKit, Member, Token
from glassbridge.lab.sim.net import Connection, Link, Plane
from glassbridge.lab.sim.world import Process
from glassbridge.livekit.participant import (
    Closed,
    InFlight,
    LocalTrack,
    Packet,
    ParticipantError,
    RemoteParticipant,
    RoomEvents,
)

MEDIA_SETUP: Final = (0.015, 0.04)
"""Seconds from being let in to the first packet, beside the way."""
MEDIA_AGAIN: Final = 0.5
"""Seconds between attempts to get media through."""
SIGNAL_SILENCE: Final = (1.5, 2.6)
"""Our own participant: no pong for 2.5 s, asked each second."""
MEDIA_SILENCE: Final = (3.0, 4.9)
"""Our own participant: three consent checks without an answer; measured."""
SDK_SILENCE: Final = (14.0, 15.0)
LOOP_GAP: Final = 10.0
WAKE_SETTLE: Final = 0.1
RESUME_CHECK: Final = 3.5
"""Seconds after which the SDK finds that its resume did not bring media back, and joins anew."""


class Place:
    """Single use: `join` first. Never repaired, unless `resumes` (the bare SDK)."""

    def __init__(
        self,
        process: Process,
        link: Link,
        livekit: LiveKit,
        token: Token,
        events: RoomEvents,
        *,
        resumes: bool = False,
        watchful: bool = True,
    ) -> None:
        """`link` leads to the server. `watchful`: it watches signalling and media by itself, as our own participant
        does; the SDK sees nothing for 14 s."""
        self.process = process
        self.link = link
        self.token = token
        self.identity = token.identity
        self.room = token.room
        self.sid = f"PA_{token.identity}"
        self.remote: Mapping[str, RemoteParticipant] = {}
        self.closed: Closed | None = None
        self.waiting, self.silent = 0, 0.0
        self.flight: InFlight | None = None
        self.end = 0 if link.ends[0] is process else 1
        self._livekit = livekit
        self._events = events
        self._resumes = resumes
        self._watchful = watchful
        self._joining: asyncio.Future[LossReason | None] = process.loop.create_future()
        self._connection: Connection | None = None
        self._member: Member | None = None
        self._joined = False
        self._orphan = False
        self._media_sick: float | None = None
        self._frozen_at: float | None = None
        self._resuming = 0

    @property
    def server_end(self) -> int:
        return 1 - self.end

    # ---- the way in

    async def join(self, timeout: float) -> None:
        """Raises ParticipantError. When cancelled, the place is left."""
        if self._watchful:
            self.link.dial_often(self.end, self._opened, self._unreachable, lambda: self.closed is None)
        else:
            self.link.dial(self.end, timeout, self._opened, self._unreachable)
        self.process.after(timeout, self._join_over)
        try:
            failure = await self._joining
        except asyncio.CancelledError:
            self._leave(LossReason.CLOSED)
            raise
        if failure is not None:
            raise ParticipantError(failure)

    def _opened(self, connection: Connection) -> None:
        if self.closed is not None:
            connection.close(self.end)
            return
        self._connection = connection
        connection.on_close[self.end] = lambda _code: self._socket_ended()
        connection.send(self.end, self._livekit.admit, self, connection, self._resuming > 0)
        if self._resuming:
            self.process.after(RESUME_CHECK, self._escalate, self._resuming)

    def _unreachable(self, _refused: bool) -> None:
        if self._resuming:
            self.process.after(1.0, self._resume)
        else:
            self._lose(LossReason.UNREACHABLE)

    def _join_over(self) -> None:
        if not self._joined and not self._resuming:
            self._lose(LossReason.MEDIA_FAILED if self._member else LossReason.UNREACHABLE)

    def admitted(self, member: Member) -> None:
        """The server lets it in."""
        self._member = member
        self._try_media()

    def _try_media(self) -> None:
        if self.closed is not None:
            return
        if self.link.whole(Plane.MEDIA) and self._livekit.process.awake:
            self.process.after(self.process.chance.uniform(*MEDIA_SETUP), self._ready)
        else:
            self.process.after(MEDIA_AGAIN, self._try_media)

    def _ready(self) -> None:
        if self.closed is not None or self._connection is None or self._member is None:
            return
        self._joined = True
        self._resuming = 0
        self._connection.send(self.end, self._livekit.media_ready, self._member)
        limits = SIGNAL_SILENCE if self._watchful else SDK_SILENCE
        self._connection.watch(self.end, limits, self._signal_silent)
        self.link.watchers.append(self._look_at_media)
        self.process.watchers.append(self._look_at_self)
        self._livekit.process.watchers.append(self._look_at_media)
        self._settle(None)

    def _settle(self, failure: LossReason | None) -> None:
        if not self._joining.done():
            self._joining.set_result(failure)

    # ---- what it does there

    async def send(self, payload: bytes, *, topic: str = "", reliable: bool = True, to: tuple[str, ...] = ()) -> None:
        """A lossy packet to all."""
        if self.closed is not None:
            raise ParticipantError(self.closed.reason)
        if self._joined and not self._orphan and self._member is not None:
            self.link.datagram(self.end, self._livekit.packet, self._member, payload, topic)

    async def publish(self, name: str, rate: int = SAMPLE_RATE) -> LocalTrack:
        """There are no tracks here."""
        raise ParticipantError(LossReason.INTERNAL)

    def orphan(self) -> None:
        """Its address is another one by now: media is dead without a word."""
        self._orphan = True
        if self._joined and self.closed is None:
            self._look_at_media()

    def packet(self, payload: bytes, topic: str, sender: str) -> None:
        """Somebody else's packet has come."""
        if self.closed is None and not self._orphan:
            self.process.loop.call_soon(self._events.on_packet, Packet(payload, topic, sender, reliable=False))

    def updated(self, present: tuple[str, ...]) -> None:
        """The server says who is here."""
        if self.closed is None:
            self.remote = {identity: _somebody(identity) for identity in present if identity != self.identity}
            self.process.loop.call_soon(self._events.on_participants, self.remote)

    # ---- the ways out

    async def close(self) -> None:
        """Says goodbye. Idempotent."""
        if self._leave(LossReason.CLOSED) and self.closed is not None:
            self._events.on_closed(self.closed)

    async def vanish(self) -> None:
        """Nobody is told, but where the participant is the SDK's, which cannot do that. Idempotent."""
        if self._leave(LossReason.CLOSED, silently=self._watchful) and self.closed is not None:
            self._events.on_closed(self.closed)

    def left(self, reason: LossReason) -> None:
        """The server ends the place, or refuses it."""
        self._lose(reason)

    def _lose(self, reason: LossReason) -> None:
        joined = self._joined
        if self._leave(reason):
            if joined:
                self.process.loop.call_soon(self._events.on_closed, self.closed)
            else:
                self._settle(reason)

    def _leave(self, reason: LossReason, *, silently: bool = False) -> bool:
        """Whether it was here until now."""
        if self.closed is not None:
            return False
        self.closed = Closed(reason)
        self._watch_no_more()
        if self._connection is not None and silently:
            self._connection.abort(self.end)
        elif self._connection is not None:
            self._connection.send(self.end, self._livekit.leave, self)
            self._connection.close(self.end)
        return True

    def _watch_no_more(self) -> None:
        if self._joined:
            self._joined = False
            self.link.watchers.remove(self._look_at_media)
            self.process.watchers.remove(self._look_at_self)
            self._livekit.process.watchers.remove(self._look_at_media)

    def _socket_ended(self) -> None:
        if self._resumes and self._joined:
            self._resume()
        else:
            self._lose(LossReason.NETWORK)

    def _signal_silent(self) -> None:
        if self._connection is not None and self._resumes:
            self._connection.close(self.end)
            self._resume()
        else:
            self._lose(LossReason.NETWORK)

    def _look_at_media(self) -> None:
        sick = self._orphan or not self.link.whole(Plane.MEDIA) or self._livekit.process.frozen
        if not sick:
            self._media_sick = None
        elif self._media_sick is None and self._watchful:
            self._media_sick = since = self.process.time.now
            self.process.after(self.process.chance.uniform(*MEDIA_SILENCE), self._media_silent, since)

    def _media_silent(self, since: float) -> None:
        if self._media_sick == since:
            self._lose(LossReason.MEDIA_FAILED)

    def _look_at_self(self) -> None:
        process = self.process
        if not process.running:
            self._watch_no_more()
        elif process.frozen:
            self._frozen_at = process.clock()
            self._media_sick = None
        elif self._frozen_at is not None:
            gap, self._frozen_at = process.clock() - self._frozen_at, None
            if gap >= LOOP_GAP and self._watchful:
                process.after(WAKE_SETTLE, self._lose, LossReason.FROZEN)
            self._look_at_media()

    # ---- the bare SDK's own repair

    def _resume(self) -> None:
        """Asks for the old session back, whoever holds it by now."""
        if self.closed is not None:
            return
        self._resuming += 1
        self.process.note("resumes", self.token.room, self.token.identity)
        self.link.dial(self.end, 5.0, self._opened, self._unreachable)

    def resume_refused(self) -> None:
        """The server knows no such session: a full join, with the token that there is."""
        self._escalate(self._resuming)

    def _escalate(self, attempt: int) -> None:
        if self.closed is not None or not attempt or attempt != self._resuming:
            return
        self._resuming = 0
        self.process.note("joins by itself", self.token.room, self.token.identity)
        self.link.dial(self.end, 5.0, self._opened, self._unreachable)


@cache
def _somebody(identity: str) -> RemoteParticipant:
    return RemoteParticipant(identity, f"PA_{identity}")
