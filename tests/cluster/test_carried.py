"""What a session takes along to another cloud: how far the user was heard, what apps listen to, what they play."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from glassbridge.core.values import user_id
from glassbridge.runtime.world import REAL
from glassbridge.wire import cluster as wire
from glassbridge.wire.audio_frames import FrameNumber, encode_numbered
from tests.cloud.app_stage import PACKAGE, AppStage
from tests.cloud.conftest import ANN, Phone, Stage
from tests.cloud.test_app_playback import PROGRESS, STARTED, asked, play, tell, until_at
from tests.cloud.test_audio_path import SPEECH
from tests.cluster.clouds import Clouds, clouds_with_app
from tests.cluster.test_moving import numbered
from tests.support.poll import eventually, stays

FRAME = 640
SAMPLES = FRAME // 2


class Scene:
    """Two clouds, an app's server, and one bridge that plays."""

    def __init__(self, clouds: Clouds, stages: list[AppStage]) -> None:
        self.clouds = clouds
        self.stages = stages


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with clouds_with_app(2 * [REAL], captions="") as (clouds, stages):
        yield Scene(clouds, stages)


async def speak(phone: Phone, *numbers: int, flags: int = 0) -> None:
    """These frames of the speech."""
    for number in numbers:
        position = number * SAMPLES
        about = FrameNumber(7, position, position * 125 // 2, flags)
        await phone.socket.send_bytes(encode_numbered(about, SPEECH[number * FRAME : (number + 1) * FRAME]))


def fed(stage: Stage) -> bytes:
    return bytes(stage.recogniser.fed)


async def until_fed(stage: Stage, *numbers: int) -> None:
    """Its recogniser got exactly these frames, in this order."""
    expected = b"".join(SPEECH[number * FRAME : (number + 1) * FRAME] for number in numbers)
    await eventually(lambda: len(fed(stage)) >= len(expected) or f"{len(fed(stage))} of {len(expected)} bytes")
    assert fed(stage) == expected


async def test_what_was_heard_is_not_heard_again_and_what_was_missed_still_is(scene: Scene) -> None:
    """The phone sends again what it does not know to have arrived; of two clouds one hears each sample."""
    one, two = scene.stages
    phone = await one.phone(query=numbered(1))
    await one.running("transcription:en-US")
    await phone.say(type="VAD", status=True)
    await speak(phone, 0, 1, 2, 3, 5, 6)  # 4 is given up after some time
    [former] = scene.clouds.sessions_of()
    await eventually(
        lambda: former.audio.microphone.position == (7, 7 * SAMPLES) or str(former.audio.microphone.position)
    )
    moved = await two.phone(query=numbered(2))
    assert moved.of_type("connection_ack")[0]["known"] == {"epoch": 7, "position": 7 * SAMPLES}
    [session] = scene.clouds.sessions_of()
    assert session.id == former.id
    ack = await moved.until("audio_ack")
    assert ack["missing"] == [[4 * SAMPLES, 5 * SAMPLES]], "asked for by the new owner"
    await speak(moved, 5, 6, flags=1)
    await speak(moved, 7, 8)
    await until_fed(two, 7, 8)
    assert session.audio.hearing.position_ms == former.audio.hearing.position_ms + 2 * 20, "one clock of the session"
    assert session.audio.microphone.accounts()[0].lost == SAMPLES
    await speak(moved, 4, flags=1)
    await eventually(lambda: session.audio.microphone.accounts()[0].lost == 0 or "the hole is not filled")
    assert session.audio.microphone.position == (7, 9 * SAMPLES)


async def test_what_apps_listen_to_is_in_force_before_they_come(scene: Scene) -> None:
    one, two = scene.stages
    await one.phone(query=numbered(1))
    await one.running("VAD", "transcription:en-us")
    moved = await two.phone(query=numbered(2))
    [session] = scene.clouds.sessions_of()
    running = session.apps.find(PACKAGE)
    assert running is not None
    assert session.apps.subscriptions_of(running) == ["VAD", "transcription:en-US"]
    told = await moved.until("microphone_state_change")
    assert told["isMicrophoneEnabled"], "nobody switches it off between two clouds"
    back = await two.app()
    assert (await back.until("tpa_connection_ack"))["subscriptions"] == ["VAD", "transcription:en-US"]


async def test_a_phone_that_said_that_it_speaks_need_not_say_so_again(scene: Scene) -> None:
    one, two = scene.stages
    phone = await one.phone(query=numbered(1))
    await one.running("transcription:en-US")
    await phone.say(type="VAD", status=True)
    [former] = scene.clouds.sessions_of()
    await eventually(lambda: former.hand_over().heard.speaking is True or "not heard")  # type: ignore[union-attr]
    await two.phone(query=numbered(2))
    [session] = scene.clouds.sessions_of()
    heard = session.hand_over().heard
    assert heard is not None
    assert heard.speaking is True


async def test_no_utterance_gets_a_name_that_another_had(scene: Scene) -> None:
    """Captions and apps put words in place of others by name."""
    one, two = scene.stages
    await one.phone(query=numbered(1))
    await one.running("transcription:en-US")
    [former] = scene.clouds.sessions_of()
    former.audio.hearing.name_after(40)
    await two.phone(query=numbered(2))
    [session] = scene.clouds.sessions_of()
    assert session.audio.hearing.named == 40


async def test_a_sound_goes_on_where_it_was(scene: Scene) -> None:
    """Without an answer meanwhile, and without a stop that could reach what the next owner plays."""
    one, two = scene.stages
    await one.phone(query=numbered(1))
    app = await one.running()
    await eventually(lambda: (ANN in one.bridge.rooms and one.bridge.rooms[ANN].streaming) or "not in the room")
    known = await play(one, app, trackId=2)
    tell(one, known, {"type": STARTED, "duration_ms": 9000}, {"type": PROGRESS, "position_ms": 4000})
    await until_at(one, 4000)
    await two.phone(query=numbered(2))
    again = await asked(two, 2)
    assert (again.request_id, again.track_id, again.audio_url) == (known, 2, "https://x.test/a.mp3")
    assert 4000 <= again.position_ms <= 5000
    back = await two.app()
    await back.until("tpa_connection_ack")
    await back.say("audio_play_request", requestId="1", audioUrl="https://x.test/a.mp3", trackId=2)
    await stays(lambda: len(two.player.requests) == 2 or "begun anew", 0.3)
    tell(two, known, {"type": STARTED, "position_ms": again.position_ms}, {"type": 2, "duration_ms": 9000})
    assert (await back.until("audio_play_response"))["success"]
    assert app.of_type("audio_play_response") == []
    assert one.player.stops == []


def test_what_is_told_of_one_user_has_a_bound() -> None:
    said = tuple({"text": "x" * 1_000, "start_ms": number} for number in range(5_000))
    request = {"type": "audio_play_request", "position_ms": 7}
    handed = wire.HandOver(session="s", transcripts=said, playbacks=(request,))
    for most in (1 << 20, 100_000, 2_000):
        fits = wire.fitting(handed, most)
        assert len(msgspec.json.encode(fits)) <= most
        assert (fits.session, fits.playbacks) == ("s", (request,))
        assert fits.transcripts == said[len(said) - len(fits.transcripts) :], "what was said last is kept"
    assert len(wire.fitting(handed, 1 << 20).transcripts) > 500
    assert wire.fitting(handed, 60).playbacks == (), "at last what is played"
    assert wire.fitting(handed) == wire.fitting(handed, wire.MOST_OF_ONE)


@pytest.mark.parametrize(
    "strange",
    [
        {"news_of_later": [1, 2, {"a": None}]},
        {"heard": {"epoch": 7, "position": 9, "missing": [[20, 10], [3, 5], [4, 100]], "later": True}},
        {"subscriptions": {PACKAGE: ["VAD", "no such stream", "x" * 5_000], "com.example.gone": ["VAD"]}},
        {"playbacks": [{}, {"type": "audio_play_request"}, {"position_ms": -1}, {"requestId": 7}]},
        {"transcripts": [{}, {"text": 7}]},
    ],
)
async def test_a_hand_over_of_another_version_does_no_harm(scene: Scene, strange: dict[str, object]) -> None:
    """What cannot be read is left out; the rest is taken."""
    one, _ = scene.stages
    plain = msgspec.to_builtins(wire.HandOver(session="s", epoch=5, apps=(PACKAGE,)))
    handed = msgspec.json.decode(msgspec.json.encode(plain | strange), type=wire.HandOver)
    await one.phone(query=numbered(1))
    [session] = scene.clouds.sessions_of()
    session.take_over(handed)
    assert list(session.apps.states()) == [PACKAGE]
    await stays(lambda: scene.clouds.sessions_of() == [session] or "the session ended", 0.2)
    assert one.cloud.sessions.apps_of(user_id(ANN)) is session.apps
