"""Who else is in the room and what they publish, as the server tells it."""

from collections.abc import Iterable, Mapping

from livekit.protocol import models

from glassbridge.livekit.participant import RemoteParticipant
from glassbridge.livekit.signal import TrackRef


class Roster:
    """Kept by sid: in a takeover the newcomer of an identity may be announced before its predecessor is gone."""

    def __init__(self) -> None:
        self._people: dict[str, models.ParticipantInfo] = {}
        self._audio: dict[str, str] = {}
        """Sid of each audio track that is there -> sid of its owner."""

    @property
    def remote(self) -> Mapping[str, RemoteParticipant]:
        """By identity."""
        return {
            person.identity: RemoteParticipant(
                person.identity, sid, any(_is_audio(track) and not track.muted for track in person.tracks)
            )
            for sid, person in self._people.items()
        }

    def meet(self, people: Iterable[models.ParticipantInfo]) -> list[models.ParticipantTracks]:
        """Takes in the news of others; returns the audio tracks that are new."""
        for person in people:
            if person.state == models.ParticipantInfo.DISCONNECTED:
                self._people.pop(person.sid, None)
            else:
                self._people[person.sid] = person
        known = self._audio.keys()
        self._audio = {
            track.sid: sid for sid, person in self._people.items() for track in person.tracks if _is_audio(track)
        }
        new = self._audio.keys() - known
        return [models.ParticipantTracks(participant_sid=self._audio[sid], track_sids=[sid]) for sid in new]

    def speaker(self, track: TrackRef) -> str | None:
        """Identity of who publishes a track; None when nobody does (any more)."""
        person = self._people.get(track.participant_sid)
        return person.identity if person is not None and track.track_sid in self._audio else None


def _is_audio(track: models.TrackInfo) -> bool:
    return track.type == models.AUDIO
