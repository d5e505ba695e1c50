"""Who else is in the room."""

from livekit.protocol import models

from glassbridge.livekit.participant import RemoteParticipant
from glassbridge.livekit.roster import Roster
from glassbridge.livekit.signal import TrackRef

MICROPHONE = models.TrackInfo(sid="TR_mic", type=models.AUDIO)
MUTED = models.TrackInfo(sid="TR_mic", type=models.AUDIO, muted=True)
CAMERA = models.TrackInfo(sid="TR_cam", type=models.VIDEO)


def person(
    sid: str, identity: str, *tracks: models.TrackInfo, gone: bool = False, at: int = 0
) -> models.ParticipantInfo:
    state = models.ParticipantInfo.DISCONNECTED if gone else models.ParticipantInfo.ACTIVE
    return models.ParticipantInfo(sid=sid, identity=identity, state=state, tracks=tracks, joined_at_ms=at)


def test_only_new_audio_is_new() -> None:
    roster = Roster()
    wanted = TrackRef("PA_bob", "TR_mic")
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


def test_a_successor_takes_the_place_of_those_whose_end_is_never_told() -> None:
    roster = Roster()
    roster.meet([person("PA_1", "bob", MICROPHONE, at=1)])
    roster.meet([person("PA_2", "bob", at=2)])
    assert roster.remote == {"bob": RemoteParticipant("bob", "PA_2", False)}
    assert roster.speaker(TrackRef("PA_1", "TR_mic")) is None
    roster.meet([person("PA_1", "bob", gone=True, at=1)])
    assert roster.remote["bob"].sid == "PA_2"
    roster.meet([person("PA_3", "bob", gone=True, at=3)])
    assert roster.remote == {}, "a successor that was never announced is gone: so are those before it"


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
