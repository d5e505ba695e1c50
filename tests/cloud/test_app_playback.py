"""What an app plays: the bridge's true result reaches the app, whatever happens, exactly once."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from glassbridge.cloud.apps import playback
from glassbridge.core.values import user_id
from tests.cloud.app_stage import PACKAGE, App, AppStage, Begin, app_stages
from tests.cloud.conftest import ANN
from tests.support.poll import eventually

STARTED, PROGRESS, COMPLETED, FAILED = 0, 1, 2, 3


@pytest.fixture
async def stage() -> AsyncIterator[Begin]:
    async with app_stages() as begin:
        yield begin


async def in_room(built: AppStage, user: str = ANN) -> App:
    """A running app whose user's bridge is in the room."""
    await built.phone(query="?livekit=true")
    app = await built.running()
    rooms = built.bridge.rooms
    await eventually(lambda: (user in rooms and rooms[user].streaming) or "the bridge is not in the room")
    return app


async def play(built: AppStage, app: App, request_id: str = "1", **fields: Any) -> str:
    """Asks for it; returns the bridge's own id once the bridge was asked."""
    await app.say("audio_play_request", requestId=request_id, audioUrl="https://x.test/a.mp3", **fields)
    known = f"{PACKAGE}/{request_id}"
    await eventually(lambda: known in built.player.plays or f"not asked; told {app.told}")
    return known


def tell(built: AppStage, known: str, *events: dict[str, Any]) -> None:
    for event in events:
        built.player.plays[known].put_nowait(event)


async def test_the_app_hears_the_true_end(stage: Begin) -> None:
    """Hazard C-6."""
    built = await stage()
    app = await in_room(built)
    known = await play(built, app, volume=0.5, stopOtherAudio=False, trackId=2)
    request = built.player.requests[0]
    assert (request.audio_url, request.volume, request.stop_other, request.track_id, request.user_id) == (
        "https://x.test/a.mp3", 0.5, False, 2, ANN,
    )  # fmt: skip
    tell(built, known, {"type": STARTED, "duration_ms": 1500}, {"type": PROGRESS, "position_ms": 1000})
    assert not app.of_type("audio_play_response")
    tell(built, known, {"type": COMPLETED, "duration_ms": 1480})
    answer = await app.until("audio_play_response")
    assert (answer["requestId"], answer["success"], answer["duration"]) == ("1", True, 1480)


async def test_what_is_left_out_is_what_the_originals_sdk_means(stage: Begin) -> None:
    built = await stage()
    app = await in_room(built)
    await play(built, app)
    request = built.player.requests[0]
    assert (request.volume, request.stop_other, request.track_id) == (1.0, True, 0)


@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([{"type": FAILED, "error": "404 from the server"}], "404 from the server"),
        ([{"type": FAILED, "error": "replaced", "metadata": {"reason": "replaced"}}], "replaced"),
        ([{"type": STARTED}, None], "the bridge ended the playback without a word"),
    ],
)
async def test_a_failure_is_told_with_its_reason(stage: Begin, events: list[Any], error: str) -> None:
    built = await stage()
    app = await in_room(built)
    tell(built, await play(built, app), *events)
    answer = await app.until("audio_play_response")
    assert (answer["success"], answer["error"]) == (False, error)


async def test_a_bridge_that_says_nothing_has_a_deadline(stage: Begin) -> None:
    built = await stage(play_start=0.3)
    app = await in_room(built)
    await play(built, app)
    answer = await app.until("audio_play_response", within=3.0)
    assert (answer["success"], "says nothing" in answer["error"]) == (False, True)


async def test_a_bridge_that_stays_dead_is_told(stage: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playback, "AGAIN_WITHIN", 0.5)
    monkeypatch.setattr(playback, "ASK_AGAIN", 0.2)
    built = await stage()
    app = await in_room(built)
    await play(built, app)
    await built.bridge.stop()
    answer = await app.until("audio_play_response")
    assert (answer["success"], "lost" in answer["error"]) == (False, True)


async def until_at(built: AppStage, position: int) -> None:
    """The cloud has heard that the app's first sound is there."""
    apps = built.cloud.sessions.apps_of(user_id(ANN))
    running = apps.find(PACKAGE) if apps is not None else None
    assert running is not None
    progress = running._playbacks._running["1"].progress
    await eventually(lambda: progress._position == position or f"the cloud thinks it is at {progress._position}")


async def asked(built: AppStage, count: int) -> Any:
    """The `count`-th request that a bridge got."""
    requests = built.player.requests
    await eventually(lambda: len(requests) >= count or f"asked {len(requests)} times", within=20.0)
    return requests[count - 1]


async def test_where_a_bridge_dies_its_successor_goes_on(stage: Begin) -> None:
    built = await stage()
    app = await in_room(built)
    known = await play(built, app, trackId=2, sampleRate=48000)
    tell(built, known, {"type": STARTED, "duration_ms": 9000}, {"type": PROGRESS, "position_ms": 4000})
    await until_at(built, 4000)
    await built.bridge.stop()
    await built.bridge.start()
    again = await asked(built, 2)
    assert again.request_id == known
    assert (again.audio_url, again.track_id, again.sample_rate) == ("https://x.test/a.mp3", 2, 48000)
    assert 4000 <= again.position_ms <= 5000, "since the last news no more than a second was heard"
    tell(built, known, {"type": STARTED, "position_ms": again.position_ms}, {"type": COMPLETED, "duration_ms": 9000})
    answer = await app.until("audio_play_response")
    assert (answer["success"], answer["duration"]) == (True, 9000)
    assert len(app.of_type("audio_play_response")) == 1


async def test_what_waits_for_its_room_stands_still(stage: Begin) -> None:
    """A bridge that gave up waiting told where it stood."""
    built = await stage()
    app = await in_room(built)
    known = await play(built, app)
    paused = {"type": PROGRESS, "position_ms": 2345, "metadata": {"paused": "network"}}
    lost = {"type": FAILED, "error": "the link to LiveKit is gone", "metadata": {"reason": "network"}}
    tell(built, known, {"type": STARTED}, paused)
    await until_at(built, 2345)
    tell(built, known, lost)
    assert (await asked(built, 2)).position_ms == 2345
    tell(built, known, {"type": COMPLETED, "duration_ms": 5000})
    assert (await app.until("audio_play_response"))["success"]


async def test_stopped_while_no_bridge_is_there_it_is_over(stage: Begin) -> None:
    built = await stage()
    app = await in_room(built)
    tell(built, await play(built, app), {"type": STARTED})
    await built.bridge.stop()
    await app.say("audio_stop_request")
    answer = await app.until("audio_play_response")
    assert (answer["success"], answer["error"]) == (False, "stopped")
    await built.bridge.start()
    rooms = built.bridge.rooms
    await eventually(lambda: ANN in rooms or "the bridge does not come back", within=20.0)
    assert len(built.player.requests) == 1


async def test_a_place_that_keeps_failing_is_asked_a_few_times(stage: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playback, "ASK_AGAIN", 0.05)
    built = await stage()
    app = await in_room(built)
    known = await play(built, app)
    refusal = {"type": FAILED, "error": "session not found", "metadata": {"reason": "session_not_found"}}
    for count in range(1, playback.TRIES + 1):
        await asked(built, count)
        tell(built, known, refusal)
    answer = await app.until("audio_play_response")
    assert (answer["success"], "session not found" in answer["error"]) == (False, True)


@pytest.mark.parametrize(
    "fields",
    [{"requestId": ""}, {"requestId": "x" * 200}, {"audioUrl": ""}, {"audioUrl": "x" * 5000}, {"volume": 1.1},
     {"volume": -1}, {"trackId": -1}, {"trackId": 1 << 40}, {"sampleRate": 44100}],
)  # fmt: skip
async def test_what_cannot_be_played_is_answered_at_once(stage: Begin, fields: dict[str, Any]) -> None:
    built = await stage()
    app = await in_room(built)
    await app.say("audio_play_request", **({"requestId": "1", "audioUrl": "https://x.test/a.mp3"} | fields))
    answer = await app.until("audio_play_response")
    assert (answer["success"], bool(answer["error"])) == (False, True)
    assert not built.player.requests


async def test_without_a_bridge_in_the_room_the_answer_says_so(stage: Begin) -> None:
    built = await stage()
    await built.phone()
    app = await built.running()
    await app.say("audio_play_request", requestId="1", audioUrl="https://x.test/a.mp3")
    answer = await app.until("audio_play_response")
    assert (answer["success"], "room" in answer["error"]) == (False, True)


async def test_an_app_stops_a_track_or_all_of_its_own_sounds(stage: Begin) -> None:
    built = await stage()
    app = await in_room(built)
    for number, track in (("1", 0), ("2", 2), ("3", 2)):
        tell(built, await play(built, app, number, trackId=track, stopOtherAudio=False), {"type": STARTED})
    await app.say("audio_stop_request", trackId=2)
    await app.until("audio_play_response", 2)
    assert {answer["requestId"] for answer in app.of_type("audio_play_response")} == {"2", "3"}
    await app.say("audio_stop_request")
    answer = await app.until("audio_play_response", 3)
    assert (answer["requestId"], answer["error"]) == ("1", "stopped")
    assert {stop.request_id for stop in built.player.stops} == {f"{PACKAGE}/{number}" for number in "123"}


async def test_an_id_in_use_and_too_many_at_once_are_refused(stage: Begin) -> None:
    built = await stage()
    app = await in_room(built)
    for number in range(10):
        await play(built, app, str(number))
    await app.say("audio_play_request", requestId="0", audioUrl="https://x.test/a.mp3")  # asked again: the same sound
    for count, (request_id, word) in enumerate((("0", "in use"), ("10", "at most")), 1):
        await app.say("audio_play_request", requestId=request_id, audioUrl="https://x.test/other.mp3")
        assert word in (await app.until("audio_play_response", count))["error"]
    assert len(built.player.requests) == 10
    tell(built, f"{PACKAGE}/0", {"type": COMPLETED})
    await eventually(lambda: any(answer["success"] for answer in app.of_type("audio_play_response")) or "no end")


async def test_an_answer_waits_for_an_app_that_is_away(stage: Begin) -> None:
    built = await stage()
    app = await in_room(built)
    known = await play(built, app)
    await app.vanish()
    await eventually(lambda: built.phones[0].of_type("app_state_change")[-1]["state"] == "reconnecting" or "still here")
    tell(built, known, {"type": COMPLETED, "duration_ms": 5})
    back = await built.app()
    assert (await back.until("audio_play_response"))["success"] is True


async def test_a_stopped_app_falls_silent(stage: Begin) -> None:
    built = await stage()
    app = await in_room(built)
    tell(built, await play(built, app), {"type": STARTED})
    await built.phones[0].say(type="stop_app", packageName=PACKAGE)
    await app.until("app_stopped")
    await eventually(lambda: len(built.player.stops) == 1 or "the sound goes on")
