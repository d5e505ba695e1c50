"""Who else is in the room and what they publish, as the server tells it."""

from collections.abc import Iterable, Mapping

from livekit.protocol import models

from glassbridge.livekit.participant import RemoteParticipant
from glassbridge.livekit.signal import TrackRef


class Roster:
    """One entry for each identity, its newest session: of those before it the server mostly says nothing more, not even
    that they are gone; and when it does, the successor may have been announced already."""

    def __init__(self) -> None:
        self._people: dict[str, models.ParticipantInfo] = {}
        self._speakers: dict[TrackRef, str] = {}
        """Identity of the owner of each audio track that is there."""

    @property
    def remote(self) -> Mapping[str, RemoteParticipant]:
        """By identity."""
        return {
            identity: RemoteParticipant(
                identity, person.sid, any(_is_audio(track) and not track.muted for track in person.tracks)
            )
            for identity, person in self._people.items()
        }

    def meet(self, people: Iterable[models.ParticipantInfo]) -> list[TrackRef]:
        """Takes in the news of others; returns the audio tracks that are new."""
        for person in people:
            if person.state != models.ParticipantInfo.DISCONNECTED:
                self._people[person.identity] = person
            elif (known := self._people.get(person.identity)) is not None and not _is_older(person, known):
                del self._people[person.identity]
        known_tracks = self._speakers.keys()
        self._speakers = {
            TrackRef(person.sid, track.sid): identity
            for identity, person in self._people.items()
            for track in person.tracks
            if _is_audio(track)
        }
        return sorted(self._speakers.keys() - known_tracks)

    def speaker(self, track: TrackRef) -> str | None:
        """Identity of who publishes a track; None when nobody does (any more)."""
        return self._speakers.get(track)


def _is_older(gone: models.ParticipantInfo, known: models.ParticipantInfo) -> bool:
    """Whether who is gone was a predecessor of the session that is known."""
    return gone.sid != known.sid and gone.joined_at_ms <= known.joined_at_ms


def _is_audio(track: models.TrackInfo) -> bool:
    return track.type == models.AUDIO
