"""A model of LiveKit as it was measured: who is in a room, who is kicked out of it, who is taken for gone and when."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import inf

from glassbridge.core.values import LossReason
from glassbridge.lab.sim.net import Connection, Link, Plane
from glassbridge.lab.sim.world import Process, World
from glassbridge.livekit.tokens import LiveKitKeys, verify

KEYS = LiveKitKeys("key", "a secret of LiveKit that is long enough, too")
DEPARTURE = (15.0, 21.0)
"""Seconds after which somebody of whom nothing is heard is out of the room."""
MEDIA_SETUP = (0.015, 0.04)
"""Seconds from being let in to the first packet, beside the way."""
MEDIA_AGAIN = 0.5
"""Seconds between attempts to get media through."""
LEEWAY = 5.0
"""Seconds that a token is accepted after its end."""
SIGNAL_SILENCE = (1.5, 2.6)
"""Our own participant: no pong for 2.5 s, asked each second."""
MEDIA_SILENCE = (3.0, 4.9)
"""Our own participant: three consent checks without an answer; measured."""
SDK_SILENCE = (14.0, 15.0)
LOOP_GAP = 10.0
WAKE_SETTLE = 0.1
RESUME_CHECK = 3.5
"""Seconds after which the SDK finds that its resume did not bring media back, and joins anew."""


@dataclass(frozen=True, slots=True)
class Token:
    """Lets one identity into one room until `ends` (unix seconds of who minted it)."""

    room: str
    identity: str
    ends: float

    @classmethod
    def of(cls, text: str) -> "Token":
        """As a cloud has minted it; whether it is still good is looked at where it is shown."""
        claims = verify(text, KEYS, now=0.0, leeway=inf)
        return cls(claims.room, claims.identity, claims.expires_at)


@dataclass(slots=True, eq=False)
class Member:
    """Somebody who is in a room, as the server sees it."""

    participant: "Participant"
    connection: Connection
    media: bool = False
    mark: int = 0
    """Grows with each sign of life: a verdict about an older one is void."""


class LiveKit:
    """The server. Its state is in memory: a restart forgets everybody."""

    def __init__(self, world: World) -> None:
        self.process = Process(world, "livekit")
        self.process.die = self._die
        self.rooms: dict[str, dict[str, Member]] = {}

    def _die(self) -> None:
        self.rooms = {}

    def members(self, room: str) -> dict[str, Member]:
        """Who is in the room; nobody when there is none."""
        return self.rooms.get(room, {})

    # ---- what its clients ask for

    def admit(self, participant: "Participant", connection: Connection, resume: bool) -> None:
        """Somebody wants in."""
        process, token = self.process, participant.token
        end = participant.server_end
        if not connection.closed[end] and process.wall() > token.ends + LEEWAY:
            connection.send(end, participant.left, LossReason.TOKEN_EXPIRED)
            connection.close(end)
            return
        room = self.rooms.setdefault(token.room, {})
        former = room.get(token.identity)
        if resume:
            if former is None:
                connection.send(end, participant.resume_refused)
                connection.close(end)
                return
            process.note("signal stolen" if former.participant is not participant else "resumed", token.identity)
            former.connection.on_close[end] = None
            former.connection.close(end)
            former.connection = connection
            self._watch(token, former)
            return
        if former is not None:
            self._dismiss(token, former, LossReason.SUPERSEDED)
            room = self.rooms.setdefault(token.room, {})
        member = room[token.identity] = Member(participant, connection)
        process.note("member joined", token.room, token.identity, participant.process.name)
        connection.send(end, participant.admitted, member)
        self._watch(token, member)
        self._announce(token.room)

    def media_ready(self, member: Member) -> None:
        """Packets can reach this member from now on."""
        member.media = True

    def leave(self, participant: "Participant") -> None:
        """It says goodbye."""
        member = self.members(participant.token.room).get(participant.token.identity)
        if member is not None and member.participant is participant:
            self._remove(participant.token, member)

    def packet(self, member: Member, payload: bytes, topic: str) -> None:
        """Passes a packet on to everybody else in the room."""
        token = member.participant.token
        if not self._is_member(member):
            return
        for identity, other in self.rooms[token.room].items():
            if identity != token.identity and other.media:
                to = other.participant
                to.link.datagram(to.server_end, to.packet, payload, topic, token.identity)

    # ---- what its operator asks for

    def remove(self, room: str, identity: str) -> None:
        """RemoveParticipant of the room service."""
        member = self.members(room).get(identity)
        if member is not None:
            self._dismiss(member.participant.token, member, LossReason.REMOVED)

    def delete(self, room: str) -> None:
        """DeleteRoom of the room service."""
        self.process.note("room deleted", room)
        for member in list(self.members(room).values()):
            self._dismiss(member.participant.token, member, LossReason.ROOM_DELETED)

    # ---- who is here

    def _is_member(self, member: Member) -> bool:
        token = member.participant.token
        return self.members(token.room).get(token.identity) is member

    def _watch(self, token: Token, member: Member) -> None:
        member.mark += 1
        connection, end = member.connection, member.participant.server_end
        depart = partial(self._depart, token, member, member.mark)
        connection.on_close[end] = lambda _code: self.process.after(self._patience(), depart)
        connection.watch(end, DEPARTURE, depart)

    def _patience(self) -> float:
        return self.process.chance.uniform(*DEPARTURE)

    def _depart(self, token: Token, member: Member, mark: int) -> None:
        if member.mark == mark and self._is_member(member):
            self._dismiss(token, member, LossReason.NETWORK)

    def _dismiss(self, token: Token, member: Member, reason: LossReason) -> None:
        self._remove(token, member)
        connection, end = member.connection, member.participant.server_end
        connection.on_close[end] = None
        connection.send(end, member.participant.left, reason)
        connection.close(end)

    def _remove(self, token: Token, member: Member) -> None:
        room = self.rooms[token.room]
        del room[token.identity]
        self.process.note("member gone", token.room, token.identity, member.participant.process.name)
        if not room:
            del self.rooms[token.room]
        self._announce(token.room)

    def _announce(self, room: str) -> None:
        present = tuple(self.members(room))
        for member in self.members(room).values():
            member.connection.send(member.participant.server_end, member.participant.updated, present)


@dataclass(slots=True, eq=False)
class Participant:
    """One place in a room as its client sees it; never repaired, unless `resumes` (the bare SDK)."""

    process: Process
    link: Link
    """To the server."""
    livekit: LiveKit
    token: Token
    on_packet: Callable[[bytes, str, str], None]
    """(payload, topic, sender)"""
    on_closed: Callable[[LossReason], None]
    on_update: Callable[[tuple[str, ...]], None] = lambda _present: None
    resumes: bool = False
    watchful: bool = True
    """Watches signalling and media by itself, as our own participant does; the SDK sees nothing for 14 s."""
    end: int = field(init=False)
    connection: Connection | None = None
    member: Member | None = None
    joined: bool = False
    closed: bool = False
    _done: Callable[[LossReason | None], None] | None = None
    _orphan: bool = False
    _media_sick: float | None = None
    _frozen_at: float | None = None
    _resuming: int = 0

    def __post_init__(self) -> None:
        self.end = 0 if self.link.ends[0] is self.process else 1

    @property
    def server_end(self) -> int:
        return 1 - self.end

    # ---- the way in

    def connect(self, timeout: float, done: Callable[[LossReason | None], None]) -> None:
        """Joins; `done(None)` when packets can flow, else with the reason. Not called after close()."""
        self._done = done
        if self.watchful:
            self.link.dial_often(self.end, self._opened, self._unreachable, lambda: not self.closed)
        else:
            self.link.dial(self.end, timeout, self._opened, self._unreachable)
        self.process.after(timeout, self._join_over)

    def _opened(self, connection: Connection) -> None:
        if self.closed:
            connection.close(self.end)
            return
        self.connection = connection
        connection.on_close[self.end] = lambda _code: self._socket_ended()
        connection.send(self.end, self.livekit.admit, self, connection, self._resuming > 0)
        if self._resuming:
            self.process.after(RESUME_CHECK, self._escalate, self._resuming)

    def _unreachable(self, _refused: bool) -> None:
        if self._resuming:
            self.process.after(1.0, self._resume)
        else:
            self._lose(LossReason.UNREACHABLE)

    def _join_over(self) -> None:
        if not self.joined and not self.closed and not self._resuming:
            self._lose(LossReason.MEDIA_FAILED if self.member else LossReason.UNREACHABLE)

    def admitted(self, member: Member) -> None:
        """The server let us in."""
        self.member = member
        if not self.closed:
            self._try_media()

    def _try_media(self) -> None:
        if self.closed:
            return
        if self.link.whole(Plane.MEDIA) and self.livekit.process.awake:
            self.process.after(self.process.chance.uniform(*MEDIA_SETUP), self._ready)
        else:
            self.process.after(MEDIA_AGAIN, self._try_media)

    def _ready(self) -> None:
        if self.closed or self.connection is None or self.member is None:
            return
        self.joined = True
        self._resuming = 0
        self.connection.send(self.end, self.livekit.media_ready, self.member)
        limits = SIGNAL_SILENCE if self.watchful else SDK_SILENCE
        self.connection.watch(self.end, limits, self._signal_silent)
        self.link.watchers.append(self._look_at_media)
        self.process.watchers.append(self._look_at_self)
        self.livekit.process.watchers.append(self._look_at_media)
        done, self._done = self._done, None
        if done is not None:
            done(None)

    # ---- what it does there

    def send(self, payload: bytes, topic: str) -> None:
        """A lossy packet to all."""
        if self.joined and not self.closed and not self._orphan and self.member is not None:
            self.link.datagram(self.end, self.livekit.packet, self.member, payload, topic)

    def orphan(self) -> None:
        """Its address is another one by now: media is dead without a word."""
        self._orphan = True
        if self.joined and not self.closed:
            self._look_at_media()

    def packet(self, payload: bytes, topic: str, sender: str) -> None:
        """Somebody else's packet."""
        if not self.closed and not self._orphan:
            self.on_packet(payload, topic, sender)

    def updated(self, present: tuple[str, ...]) -> None:
        """The server says who is here."""
        if not self.closed:
            self.on_update(present)

    # ---- the ways out

    def close(self) -> None:
        """Says goodbye; nothing more is heard. Idempotent."""
        if self.closed:
            return
        self._release()
        if self.connection is not None:
            self.connection.send(self.end, self.livekit.leave, self)
            self.connection.close(self.end)

    def vanish(self) -> None:
        """Goes without a word; nothing more is heard. Idempotent."""
        if not self.closed:
            self._release()
            if self.connection is not None:
                self.connection.abort(self.end)

    def left(self, reason: LossReason) -> None:
        """The server ends the place, or refuses it."""
        self._lose(reason)

    def _lose(self, reason: LossReason) -> None:
        if self.closed:
            return
        done, joined = self._done, self.joined
        self.close()
        if joined:
            self.on_closed(reason)
        elif done is not None:
            done(reason)

    def _release(self) -> None:
        self.closed = True
        if self.joined:
            self.link.watchers.remove(self._look_at_media)
            self.process.watchers.remove(self._look_at_self)
            self.livekit.process.watchers.remove(self._look_at_media)

    def _socket_ended(self) -> None:
        if self.resumes and self.joined:
            self._resume()
        else:
            self._lose(LossReason.NETWORK)

    def _signal_silent(self) -> None:
        if self.connection is not None and self.resumes:
            self.connection.close(self.end)
            self._resume()
        else:
            self._lose(LossReason.NETWORK)

    def _look_at_media(self) -> None:
        sick = self._orphan or not self.link.whole(Plane.MEDIA) or self.livekit.process.frozen
        if not sick:
            self._media_sick = None
        elif self._media_sick is None and self.watchful:
            self._media_sick = since = self.process.time.now
            self.process.after(self.process.chance.uniform(*MEDIA_SILENCE), self._media_silent, since)

    def _media_silent(self, since: float) -> None:
        if self._media_sick == since:
            self._lose(LossReason.MEDIA_FAILED)

    def _look_at_self(self) -> None:
        process = self.process
        if not process.running:
            self._release()
        elif process.frozen:
            self._frozen_at = process.clock()
            self._media_sick = None
        elif self._frozen_at is not None:
            gap, self._frozen_at = process.clock() - self._frozen_at, None
            if gap >= LOOP_GAP and self.watchful:
                process.after(WAKE_SETTLE, self._lose, LossReason.FROZEN)
            self._look_at_media()

    # ---- the bare SDK's own repair

    def _resume(self) -> None:
        """Asks for the old session back, whoever holds it by now."""
        if self.closed:
            return
        self._resuming += 1
        self.process.note("resumes", self.token.room, self.token.identity)
        self.link.dial(self.end, 5.0, self._opened, self._unreachable)

    def resume_refused(self) -> None:
        """The server knows no such session: a full join, with the token that there is."""
        self._escalate(self._resuming)

    def _escalate(self, attempt: int) -> None:
        if self.closed or not attempt or attempt != self._resuming:
            return
        self._resuming = 0
        self.process.note("joins by itself", self.token.room, self.token.identity)
        self.link.dial(self.end, 5.0, self._opened, self._unreachable)
