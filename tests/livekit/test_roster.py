"""Who else is in the room."""

from livekit.protocol import models

from glassbridge.livekit.participant import RemoteParticipant
from glassbridge.livekit.roster import Roster
from glassbridge.livekit.signal import TrackRef

MICROPHONE = models.TrackInfo(sid="TR_mic", type=models.AUDIO)
MUTED = models.TrackInfo(sid="TR_mic", type=models.AUDIO, muted=True)
CAMERA = models.TrackInfo(sid="TR_cam", type=models.VIDEO)


def person(sid: str, identity: str, *tracks: models.TrackInfo, gone: bool = False) -> models.ParticipantInfo:
    state = models.ParticipantInfo.DISCONNECTED if gone else models.ParticipantInfo.ACTIVE
    return models.ParticipantInfo(sid=sid, identity=identity, state=state, tracks=tracks)


def test_only_new_audio_is_new() -> None:
    roster = Roster()
    wanted = models.ParticipantTracks(participant_sid="PA_bob", track_sids=["TR_mic"])
    assert roster.meet([person("PA_bob", "bob", MICROPHONE, CAMERA)]) == [wanted]
    assert roster.meet([person("PA_bob", "bob", MUTED, CAMERA)]) == []
    assert roster.meet([person("PA_bob", "bob")]) == []
    assert roster.meet([person("PA_bob", "bob", MICROPHONE)]) == [wanted]


def test_who_is_heard_is_publishing() -> None:
    roster = Roster()
    for tracks, publishing in (((MICROPHONE,), True), ((MUTED,), False), ((CAMERA,), False), ((), False)):
        roster.meet([person("PA_bob", "bob", *tracks)])
        assert roster.remote == {"bob": RemoteParticipant("bob", "PA_bob", publishing)}


def test_a_predecessor_that_goes_late_takes_nobody_along() -> None:
    roster = Roster()
    roster.meet([person("PA_old", "bob", MICROPHONE)])
    roster.meet([person("PA_new", "bob")])
    assert roster.remote["bob"].sid == "PA_new"
    roster.meet([person("PA_old", "bob", gone=True)])
    assert roster.remote == {"bob": RemoteParticipant("bob", "PA_new", False)}


def test_a_track_speaks_for_its_owner_while_it_is_there() -> None:
    roster = Roster()
    track = TrackRef("PA_bob", "TR_mic")
    assert roster.speaker(track) is None
    roster.meet([person("PA_bob", "bob", MICROPHONE)])
    assert roster.speaker(track) == "bob"
    roster.meet([person("PA_bob", "bob")])
    assert roster.speaker(track) is None
    roster.meet([person("PA_bob", "bob", gone=True)])
    assert roster.speaker(track) is None
