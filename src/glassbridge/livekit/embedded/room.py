"""A room of the stand-in: its participants, their tracks and subscriptions. Everything here happens at once, without
awaiting; members do the talking.
"""

import secrets
from collections.abc import Sequence
from time import time
from typing import Protocol

import structlog
from livekit.protocol import models, rtc

from glassbridge.livekit.embedded.sdp import OPUS

log = structlog.get_logger()

Reason = models.DisconnectReason
Action = rtc.LeaveRequest.Action


def new_sid(prefix: str) -> str:
    """An id in the form of LiveKit's: PA_ participants, RM_ rooms, TR_ tracks."""
    return f"{prefix}_{secrets.token_hex(6)}"


class TrackSink(Protocol):
    """Where the sound of a track goes."""

    async def hear(self, packet: bytes) -> None: ...


class Track:
    """Sound that a member publishes."""

    def __init__(self, owner_sid: str, request: rtc.AddTrackRequest) -> None:
        self.owner_sid = owner_sid
        self.cid = request.cid
        """The client's own id of it, by which its offers name it."""
        self.info = models.TrackInfo(
            sid=new_sid("TR"),
            type=request.type,
            name=request.name,
            source=request.source,
            muted=request.muted,
            stream=request.stream,
            mime_type="audio/opus",
            encryption=request.encryption,
        )
        self.shared = True
        """Its owner lets others hear it."""
        self.offered = False
        self.live = False
        """A packet has come: as in LiveKit others know of it from then on."""
        self.listeners: dict[TrackSink, int] = {}
        """Under which SSRC each one hears it."""

    @property
    def sid(self) -> str:
        return self.info.sid

    async def forward(self, packet: bytes) -> None:
        """Hands one RTP packet of the owner to everyone who listens; nothing while it is muted."""
        if self.info.muted:
            return
        for listener, ssrc in list(self.listeners.items()):
            if relabelled := relabel(packet, ssrc, OPUS):
                await listener.hear(relabelled)


def relabel(packet: bytes, ssrc: int, payload_type: int) -> bytes | None:
    """An RTP packet for another connection: without extensions, sources and padding. None when nothing is left."""
    flags = packet[0]
    begin = 12 + 4 * (flags & 0x0F)
    if flags & 0x10:
        begin += 4 + 4 * int.from_bytes(packet[begin + 2 : begin + 4])
    end = len(packet) - (packet[-1] if flags & 0x20 else 0)
    if begin >= end:
        return None
    return bytes((0x80, packet[1] & 0x80 | payload_type)) + packet[2:8] + ssrc.to_bytes(4) + packet[begin:end]


class Occupant(Protocol):
    """What a room needs of a member."""

    sid: str
    identity: str

    @property
    def live_tracks(self) -> Sequence[Track]: ...

    def info(self) -> models.ParticipantInfo: ...

    def welcome(self, others: Sequence[models.ParticipantInfo]) -> None: ...

    def update(self, info: models.ParticipantInfo) -> None: ...

    def listen(self, track: Track) -> None: ...

    def stop_listening(self, track: Track) -> None: ...

    def permit(self, track: Track) -> None: ...

    def heard(self, track_sid: str) -> None: ...

    def deliver(self, packet: bytes, *, reliable: bool) -> None: ...

    def dismissed(self, reason: "models.DisconnectReason", action: "rtc.LeaveRequest.Action") -> None: ...


class Room:
    """One identity is in it at most once: the newest join always wins."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sid = new_sid("RM")
        self.members: dict[str, Occupant] = {}
        self._created_at = int(time())

    def info(self) -> models.Room:
        return models.Room(
            sid=self.sid,
            name=self.name,
            creation_time=self._created_at,
            num_participants=len(self.members),
            num_publishers=sum(bool(member.live_tracks) for member in self.members.values()),
        )

    def _others(self, than: Occupant) -> list[Occupant]:
        return [member for member in self.members.values() if member is not than]

    def admit(self, newcomer: Occupant) -> None:
        """Lets a member in; the former holder of the identity is removed first."""
        if (old := self.members.get(newcomer.identity)) is not None:
            self.dismiss(old, Reason.DUPLICATE_IDENTITY)
        self.members[newcomer.identity] = newcomer
        others = self._others(newcomer)
        newcomer.welcome([member.info() for member in others])
        self.announce(newcomer)
        for member in others:
            for track in member.live_tracks:
                newcomer.listen(track)
        log.info("participant joined", room_name=self.name, identity=newcomer.identity, participant=newcomer.sid)

    def dismiss(
        self,
        member: Occupant,
        reason: "models.DisconnectReason",
        action: "rtc.LeaveRequest.Action" = Action.DISCONNECT,
    ) -> None:
        """Puts a member out, or lets it go, and tells everyone. Ignored for one that is out already."""
        if self.members.get(member.identity) is not member:
            return
        del self.members[member.identity]
        member.dismissed(reason, action)  # first: nothing may come between its last words and the end
        for other in self.members.values():
            for track in member.live_tracks:
                other.stop_listening(track)
            for track in other.live_tracks:
                member.stop_listening(track)
        if reason != Reason.DUPLICATE_IDENTITY:  # the others see nothing but the newcomer's sid then
            self.announce(member)
        log.info(
            "participant left",
            room_name=self.name,
            identity=member.identity,
            participant=member.sid,
            reason=Reason.Name(reason).lower(),
        )

    def announce(self, member: Occupant) -> None:
        """Tells the others what is true of a member now."""
        info = member.info()
        for other in self._others(member):
            other.update(info)

    def track_live(self, owner: Occupant, track: Track) -> None:
        """Everybody may hear it from now on."""
        self.announce(owner)
        for other in self._others(owner):
            other.listen(track)

    def share(self, owner: Occupant) -> None:
        """The owner lets the others hear its tracks, or does not any more."""
        for other in self._others(owner):
            for track in owner.live_tracks:
                other.permit(track)

    def track_ended(self, owner: Occupant, track: Track) -> None:
        """The owner's list has it no longer."""
        for other in self._others(owner):
            other.stop_listening(track)
        self.announce(owner)

    def track_heard(self, sid: str) -> None:
        """It has a subscriber from now on: its owner may want to know before it speaks."""
        for member in self.members.values():
            if any(track.sid == sid for track in member.live_tracks):
                member.heard(sid)

    def find_track(self, sid: str) -> Track | None:
        """A live track of anybody."""
        tracks = (track for member in self.members.values() for track in member.live_tracks)
        return next((track for track in tracks if track.sid == sid), None)

    def route(self, sender: Occupant, packet: models.DataPacket, *, reliable: bool) -> None:
        """Hands a data packet to its recipients, marked with its sender. Nothing is kept for later members."""
        wanted = set(packet.destination_identities) | set(packet.user.destination_identities)
        packet.participant_identity = sender.identity
        packet.participant_sid = sender.sid
        if packet.HasField("user"):
            packet.user.participant_identity = sender.identity
            packet.user.participant_sid = sender.sid
        data = packet.SerializeToString()
        for other in self._others(sender):
            if not wanted or other.identity in wanted:
                other.deliver(data, reliable=reliable)
