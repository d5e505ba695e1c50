"""Who else is in the room."""

from livekit.protocol import models

from glassbridge.core.voices import RemoteTrack, TrackSource
from glassbridge.livekit.participant import RemoteParticipant
from glassbridge.livekit.refused import Rejected, counted
from glassbridge.livekit.roster import MAX_PEOPLE, Roster
from glassbridge.livekit.signal import TrackRef

MICROPHONE = models.TrackInfo(sid="TR_mic", type=models.AUDIO)
MUTED = models.TrackInfo(sid="TR_mic", type=models.AUDIO, muted=True)
CAMERA = models.TrackInfo(sid="TR_cam", type=models.VIDEO)


def person(
    sid: str, identity: str, *tracks: models.TrackInfo, gone: bool = False, at: int = 0
) -> models.ParticipantInfo:
    state = models.ParticipantInfo.DISCONNECTED if gone else models.ParticipantInfo.ACTIVE
    return models.ParticipantInfo(sid=sid, identity=identity, state=state, tracks=tracks, joined_at_ms=at)


def test_only_audio_that_can_be_understood_is_wanted() -> None:
    roster = Roster()
    wanted = {TrackRef("PA_bob", "TR_mic")}
    odd = models.TrackInfo(sid="TR_odd", type=models.AUDIO, mime_type="audio/speex")
    secret = models.TrackInfo(sid="TR_secret", type=models.AUDIO, encryption=models.Encryption.GCM)
    for tracks, understood in (
        ((MICROPHONE, CAMERA, odd, secret), wanted),
        ((MUTED, CAMERA), wanted),
        ((), set()),
        ((MICROPHONE,), wanted),
    ):
        roster.meet([person("PA_bob", "bob", *tracks)])
        assert roster.understood() == understood


def test_tracks_come_in_the_order_of_their_publication() -> None:
    def track(sid: str, at: int) -> models.TrackInfo:
        return models.TrackInfo(sid=sid, type=models.AUDIO, version=models.TimedVersion(unix_micro=at))

    roster = Roster()
    roster.meet([person("PA_bob", "bob", track("TR_2", 20), track("TR_1", 10))])
    assert [track.sid for track in roster.remote["bob"].tracks] == ["TR_1", "TR_2"]
    roster.meet([person("PA_bob", "bob", track("TR_3", 0), track("TR_4", 0))])
    roster.meet([person("PA_bob", "bob", track("TR_5", 0), track("TR_4", 0))])
    assert [track.sid for track in roster.remote["bob"].tracks] == ["TR_4", "TR_5"], "as they were seen first"


def test_what_is_known_of_a_track() -> None:
    roster = Roster()
    info = models.TrackInfo(
        sid="TR_1",
        type=models.AUDIO,
        source=models.SCREEN_SHARE_AUDIO,
        muted=True,
        encryption=models.Encryption.CUSTOM,
        mime_type="audio/PCMU",
    )
    bob = person("PA_bob", "bob", info, models.TrackInfo(sid="TR_2", type=models.AUDIO, source=99))  # type: ignore[arg-type]
    roster.meet([bob])
    assert roster.remote["bob"].tracks == (
        RemoteTrack("TR_1", TrackSource.SCREEN, muted=True, encrypted=True, codec="pcmu"),
        RemoteTrack("TR_2", TrackSource.UNKNOWN),
    )


def test_permissions_are_known() -> None:
    roster = Roster()
    bob, track = person("PA_bob", "bob", MICROPHONE), TrackRef("PA_bob", "TR_mic")

    def allowed() -> bool:
        return roster.remote["bob"].tracks[0].allowed

    roster.meet([bob])
    assert allowed()
    roster.allow(track, False)
    assert not allowed()
    roster.allow(track, True)
    assert allowed()
    roster.permit(models.ParticipantPermission(can_subscribe=False, can_publish=True))
    assert not allowed()
    roster.permit(models.ParticipantPermission(can_subscribe=True))
    assert allowed()
    assert roster.remote["bob"].may_publish, "a server that says nothing of permissions forbids nothing"
    for permission, may in (
        (models.ParticipantPermission(), False),
        (models.ParticipantPermission(can_publish=True), True),
        (models.ParticipantPermission(can_publish=True, can_publish_sources=[models.CAMERA]), False),
        (models.ParticipantPermission(can_publish=True, can_publish_sources=[models.MICROPHONE]), True),
    ):
        bob.permission.CopyFrom(permission)
        roster.meet([bob])
        assert roster.remote["bob"].may_publish is may


def test_a_track_that_was_denied_is_new_when_it_comes_again() -> None:
    roster, track = Roster(), TrackRef("PA_bob", "TR_mic")
    roster.meet([person("PA_bob", "bob", MICROPHONE)])
    roster.allow(track, False)
    roster.meet([person("PA_bob", "bob")])
    roster.meet([person("PA_bob", "bob", MICROPHONE)])
    assert roster.remote["bob"].tracks[0].allowed


def test_who_is_heard_is_publishing() -> None:
    roster = Roster()
    for tracks, publishing in (((MICROPHONE,), True), ((MUTED,), False), ((CAMERA,), False), ((), False)):
        roster.meet([person("PA_bob", "bob", *tracks)])
        assert roster.remote["bob"].publishing is publishing


def test_a_predecessor_that_goes_late_takes_nobody_along() -> None:
    roster = Roster()
    roster.meet([person("PA_old", "bob", MICROPHONE)])
    roster.meet([person("PA_new", "bob")])
    assert roster.remote["bob"].sid == "PA_new"
    roster.meet([person("PA_old", "bob", gone=True)])
    assert roster.remote == {"bob": RemoteParticipant("bob", "PA_new")}


def test_a_successor_takes_the_place_of_those_whose_end_is_never_told() -> None:
    roster = Roster()
    roster.meet([person("PA_1", "bob", MICROPHONE, at=1)])
    roster.meet([person("PA_2", "bob", at=2)])
    assert roster.remote == {"bob": RemoteParticipant("bob", "PA_2")}
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


def test_people_beyond_the_bound_are_passed_over_and_counted() -> None:
    roster, before = Roster(), counted[Rejected.PEOPLE]
    roster.meet(person(f"PA_{n}", f"user {n}") for n in range(MAX_PEOPLE + 7))
    roster.meet([person("PA_late", "late")])
    assert len(roster.remote) == MAX_PEOPLE
    assert counted[Rejected.PEOPLE] == before + 8
