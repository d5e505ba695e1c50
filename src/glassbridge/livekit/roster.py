"""The other participants of the room and their tracks, as the server reports them."""

from collections.abc import Iterable, Mapping
from itertools import islice

from livekit.protocol import models

from glassbridge.core.voices import RemoteTrack, TrackSource
from glassbridge.livekit.participant import RemoteParticipant
from glassbridge.livekit.refused import Rejected, counted
from glassbridge.livekit.signal import TrackRef

MAX_PEOPLE = 1_000
"""Identities of a room that are known; further ones are passed over until some have left."""
MAX_TRACKS = 32
"""Audio tracks of one of them."""
MAX_ID = 512
"""Characters of an identity or sid; livekit-server accepts 256 bytes."""
MAX_MIME = 64

_SOURCES: Mapping[int, TrackSource] = {
    models.MICROPHONE: TrackSource.MICROPHONE,
    models.SCREEN_SHARE: TrackSource.SCREEN,
    models.SCREEN_SHARE_AUDIO: TrackSource.SCREEN,
}


def track_source(number: int) -> TrackSource:
    """A source by LiveKit's number; UNKNOWN for any that is neither a microphone nor a screen."""
    return _SOURCES.get(number, TrackSource.UNKNOWN)


def codec_of(mime_type: str) -> str:
    """The codec of an audio MIME type, in lower case; Opus where the server does not say."""
    return mime_type.lower().removeprefix("audio/") or "opus"


class Roster:
    """One entry for each identity, its newest session: of those before it the server mostly says nothing more, not even
    that they are gone; and when it does, the successor may have been announced already."""

    def __init__(self) -> None:
        self._people: dict[str, models.ParticipantInfo] = {}
        self._speakers: dict[TrackRef, str] = {}
        """Identity of the owner of each audio track that is there."""
        self._seen: dict[TrackRef, int] = {}
        """The tracks that are there, numbered as they were first told of."""
        self._denied: set[TrackRef] = set()
        """We may not hear these."""
        self._may_subscribe = True

    @property
    def remote(self) -> Mapping[str, RemoteParticipant]:
        """By identity."""
        return {
            identity: RemoteParticipant(identity, person.sid, self._tracks(person), _may_publish(person))
            for identity, person in self._people.items()
        }

    def meet(self, people: Iterable[models.ParticipantInfo]) -> None:
        """Takes in the news of others."""
        for number, person in enumerate(people):
            if number >= MAX_PEOPLE:
                counted[Rejected.PEOPLE] += 1
                continue
            known = self._people.get(person.identity)
            if max(len(person.identity), len(person.sid)) > MAX_ID:
                continue
            if person.state != models.ParticipantInfo.DISCONNECTED:
                if known is not None or len(self._people) < MAX_PEOPLE:
                    self._people[person.identity] = _needed(person)
                else:
                    counted[Rejected.PEOPLE] += 1
            elif known is not None and not _is_older(person, known):
                del self._people[person.identity]
        self._speakers = {
            TrackRef(person.sid, track.sid): identity
            for identity, person in self._people.items()
            for track in person.tracks
            if _is_audio(track)
        }
        number = max(self._seen.values(), default=0)
        self._seen = {track: self._seen.get(track, number + 1) for track in self._speakers}
        self._denied &= self._speakers.keys()

    def permit(self, permission: models.ParticipantPermission) -> None:
        """What the server lets us do ourselves."""
        self._may_subscribe = permission.can_subscribe

    def allow(self, track: TrackRef, allowed: bool) -> None:
        """Their owner lets us hear a track, or does not any more."""
        if allowed:
            self._denied.discard(track)
        elif track in self._speakers:
            self._denied.add(track)

    def understood(self) -> set[TrackRef]:
        """The audio tracks that are there and whose sound can be decoded."""
        return {
            TrackRef(person.sid, track.sid)
            for person in self._people.values()
            for track in self._tracks(person)
            if track.understood
        }

    def speaker(self, track: TrackRef) -> str | None:
        """The identity that publishes a track; None if there is none (any more)."""
        return self._speakers.get(track)

    def _tracks(self, person: models.ParticipantInfo) -> tuple[RemoteTrack, ...]:
        def published(track: models.TrackInfo) -> tuple[int, int, int]:
            version = track.version
            return version.unix_micro, version.ticks, self._seen[TrackRef(person.sid, track.sid)]

        audio = sorted((track for track in person.tracks if _is_audio(track)), key=published)
        return tuple(
            RemoteTrack(
                track.sid,
                track_source(track.source),
                track.muted,
                track.encryption != models.Encryption.NONE,
                codec_of(track.mime_type),
                self._may_subscribe and TrackRef(person.sid, track.sid) not in self._denied,
            )
            for track in audio
        )


def _needed(told: models.ParticipantInfo) -> models.ParticipantInfo:
    """A copy of what we need; `told` itself would keep the whole message in memory that it came with."""
    kept = models.ParticipantInfo(sid=told.sid, identity=told.identity, joined_at_ms=told.joined_at_ms)
    if told.HasField("permission"):
        kept.permission.can_publish = told.permission.can_publish
        kept.permission.can_publish_sources.extend(told.permission.can_publish_sources[:MAX_TRACKS])
    for track in islice(told.tracks, 10 * MAX_TRACKS):
        if _is_audio(track) and len(track.sid) <= MAX_ID and len(kept.tracks) < MAX_TRACKS:
            kept.tracks.add(
                sid=track.sid,
                type=track.type,
                source=track.source,
                muted=track.muted,
                encryption=track.encryption,
                mime_type=track.mime_type[:MAX_MIME],
                version=track.version,
            )
    return kept


def _may_publish(person: models.ParticipantInfo) -> bool:
    """Whether they may publish a microphone; a server that says nothing of permissions forbids nothing."""
    permission = person.permission
    sources = permission.can_publish_sources
    allowed = permission.can_publish and (not sources or models.MICROPHONE in sources)
    return allowed or not person.HasField("permission")


def _is_older(gone: models.ParticipantInfo, known: models.ParticipantInfo) -> bool:
    """Whether the participant that has gone was a predecessor of the known session."""
    return gone.sid != known.sid and gone.joined_at_ms <= known.joined_at_ms


def _is_audio(track: models.TrackInfo) -> bool:
    return track.type == models.AUDIO
