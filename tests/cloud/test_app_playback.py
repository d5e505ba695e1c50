"""What an app plays: the bridge's true result reaches the app, whatever happens, exactly once."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

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


async def test_a_bridge_that_dies_is_told(stage: Begin) -> None:
    built = await stage()
    app = await in_room(built)
    await play(built, app)
    await built.bridge.stop()
    answer = await app.until("audio_play_response")
    assert (answer["success"], "lost" in answer["error"]) == (False, True)


@pytest.mark.parametrize(
    "fields",
    [{"requestId": ""}, {"requestId": "x" * 200}, {"audioUrl": ""}, {"audioUrl": "x" * 5000}, {"volume": 1.1},
     {"volume": -1}, {"trackId": -1}, {"trackId": 1 << 40}],
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
