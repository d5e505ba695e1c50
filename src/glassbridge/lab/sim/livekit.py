"""A model of LiveKit as it was measured: who is in a room, who is kicked out of it, who is taken for gone and when."""

from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Protocol

from glassbridge.core.values import LossReason
from glassbridge.lab.sim.net import Connection, Link
from glassbridge.lab.sim.world import Process, World
from glassbridge.livekit.tokens import LiveKitKeys, verify

KEYS = LiveKitKeys("key", "a secret of LiveKit that is long enough, too")
DEPARTURE = (15.0, 21.0)
"""Seconds after which somebody of whom nothing is heard is out of the room."""
LEEWAY = 5.0
"""Seconds that a token is accepted after its end."""


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


class Client(Protocol):
    """Somebody's end of a place."""

    process: Process
    link: Link
    token: Token
    server_end: int

    def admitted(self, member: "Member") -> None: ...
    def updated(self, present: tuple[str, ...]) -> None: ...
    def packet(self, payload: bytes, topic: str, sender: str) -> None: ...
    def resume_refused(self) -> None: ...
    def left(self, reason: LossReason) -> None: ...


@dataclass(slots=True, eq=False)
class Member:
    """Somebody who is in a room, as the server sees it."""

    client: Client
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

    def admit(self, client: Client, connection: Connection, resume: bool) -> None:
        """Somebody wants in."""
        process, token = self.process, client.token
        end = client.server_end
        if not connection.closed[end] and process.wall() > token.ends + LEEWAY:
            connection.send(end, client.left, LossReason.TOKEN_EXPIRED)
            connection.close(end)
            return
        room = self.rooms.setdefault(token.room, {})
        former = room.get(token.identity)
        if resume:
            if former is None:
                connection.send(end, client.resume_refused)
                connection.close(end)
                return
            process.note("signal stolen" if former.client is not client else "resumed", token.identity)
            former.connection.on_close[end] = None
            former.connection.close(end)
            former.connection = connection
            self._watch(token, former)
            return
        if former is not None:
            self._dismiss(token, former, LossReason.SUPERSEDED)
            room = self.rooms.setdefault(token.room, {})
        member = room[token.identity] = Member(client, connection)
        process.note("member joined", token.room, token.identity, client.process.name)
        connection.send(end, client.admitted, member)
        self._watch(token, member)
        self._announce(token.room)

    def media_ready(self, member: Member) -> None:
        """Packets can reach this member from now on."""
        member.media = True

    def leave(self, client: Client) -> None:
        """It says goodbye."""
        member = self.members(client.token.room).get(client.token.identity)
        if member is not None and member.client is client:
            self._remove(client.token, member)

    def packet(self, member: Member, payload: bytes, topic: str) -> None:
        """Passes a packet on to everybody else in the room."""
        token = member.client.token
        if not self._is_member(member):
            return
        for identity, other in self.rooms[token.room].items():
            if identity != token.identity and other.media:
                to = other.client
                to.link.datagram(to.server_end, to.packet, payload, topic, token.identity)

    # ---- what its operator asks for

    def remove(self, room: str, identity: str) -> None:
        """RemoveParticipant of the room service."""
        member = self.members(room).get(identity)
        if member is not None:
            self._dismiss(member.client.token, member, LossReason.REMOVED)

    def delete(self, room: str) -> None:
        """DeleteRoom of the room service."""
        self.process.note("room deleted", room)
        for member in list(self.members(room).values()):
            self._dismiss(member.client.token, member, LossReason.ROOM_DELETED)

    # ---- who is here

    def _is_member(self, member: Member) -> bool:
        token = member.client.token
        return self.members(token.room).get(token.identity) is member

    def _watch(self, token: Token, member: Member) -> None:
        member.mark += 1
        connection, end = member.connection, member.client.server_end
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
        connection, end = member.connection, member.client.server_end
        connection.on_close[end] = None
        connection.send(end, member.client.left, reason)
        connection.close(end)

    def _remove(self, token: Token, member: Member) -> None:
        room = self.rooms[token.room]
        del room[token.identity]
        self.process.note("member gone", token.room, token.identity, member.client.process.name)
        if not room:
            del self.rooms[token.room]
        self._announce(token.room)

    def _announce(self, room: str) -> None:
        present = tuple(self.members(room))
        for member in self.members(room).values():
            member.connection.send(member.client.server_end, member.client.updated, present)
