"""The original's SDK under our clouds: moves, ends, and what of it works (docs/original.md, docs/apps.md)."""

from collections.abc import AsyncIterator

import pytest

from tests.apps.mentra import Scene, a_scene, peer_command
from tests.apps.test_moves import GRACE
from tests.cloud.app_stage import PACKAGE, QUICK
from tests.support.poll import eventually, stays

__all__ = ["peer_command"]


@pytest.fixture
async def scene(peer_command: list[str]) -> AsyncIterator[Scene]:
    """Two clouds."""
    async with a_scene(peer_command, clouds=2, cloud={"grace": GRACE}) as built:
        yield built


async def test_an_app_follows_its_user_and_is_never_stopped(scene: Scene) -> None:
    await scene.move_to(0)
    await scene.is_heard(0)
    for moves, cloud in enumerate((1, 0, 1), start=1):
        await scene.move_to(cloud)
        await scene.is_heard(cloud)
        assert len(scene.peer.told("session")) <= moves + 1, "at most one onSession a move"
    await stays(lambda: not scene.peer.told("stop") or f"stopped: {scene.peer.told('stop')}", GRACE + QUICK.grace + 1)
    await scene.is_heard(1)


async def test_a_cloud_that_is_stopped_stops_no_app(scene: Scene) -> None:
    await scene.move_to(0)
    await scene.is_heard(0)
    await scene.clouds[0].cloud.sessions.close()
    scene.phone = None
    await eventually(lambda: [one["info"]["code"] for one in scene.peer.told("disconnected")] == [1008] or "open")
    await scene.move_to(1)
    await scene.is_heard(1)
    await stays(lambda: not scene.peer.told("stop") or f"stopped: {scene.peer.told('stop')}", 5.0)
    await scene.is_heard(1)
    assert len(scene.peer.told("session")) == 2


AWAY = [("stopped", 7.0), ("stopped", 15.0), ("stopped", 30.0), ("killed", 15.0)]


@pytest.mark.slow
@pytest.mark.parametrize(("how", "away"), AWAY)
async def test_a_cloud_that_is_away_for_long(scene: Scene, how: str, away: float) -> None:
    """A cloud that was stopped costs the app nothing but the time. After one that was killed the SDK says from 7 s on
    that it has stopped; the next webhook begins a session. All finals from a second after that on arrive."""
    await scene.move_to(0)
    await scene.is_heard(0)
    former = scene.clouds[0].cloud
    if how == "stopped":
        await former.sessions.close()
    await former._listener.close()  # a cloud that is killed says nothing, and nobody listens there
    scene.phone = None
    told = {"Connection permanently lost: Maximum reconnection attempts exceeded"} if how == "killed" else set()

    def stops() -> set[str]:
        return {stop["reason"] for stop in scene.peer.told("stop")}

    await stays(lambda: stops() <= told or str(stops()), away)
    assert stops() == told
    await scene.move_to(1)
    await scene.is_heard(1, within=1.0)
    await scene.hears_all(1, [f"{number} s later" for number in range(1, 11)])
    assert len(scene.peer.told("session")) == 2
    assert stops() == told


async def test_a_users_session_that_ends_stops_the_app(scene: Scene) -> None:
    await scene.move_to(0)
    await scene.is_heard(0)
    assert scene.phone is not None
    await scene.phone.vanish()
    await eventually(
        lambda: (
            any(stop["reason"] == "User session ended" for stop in scene.peer.told("stop"))
            or f"stopped: {scene.peer.told('stop')}"
        ),
        GRACE + 5,
    )
    await stays(lambda: len(scene.peer.told("session")) == 1 or "it came back", 1.0)


async def test_the_users_stop_stops_the_app(scene: Scene) -> None:
    await scene.move_to(0)
    await scene.is_heard(0)
    assert scene.phone is not None
    await scene.phone.say(type="stop_app", packageName=PACKAGE)
    await eventually(lambda: bool(scene.peer.told("stop")) or "onStop was not called")


async def test_what_is_not_served_does_not_hang(scene: Scene) -> None:
    await scene.move_to(0)
    await scene.is_heard(0)
    for what in ("check_stream", "managed_stream", "location"):
        await scene.peer.does(what)
    checked = await scene.peer.done("check_stream", within=2.0)
    assert checked["result"]["hasActiveStream"] is False
    refused = await scene.peer.done("managed_stream", within=2.0)
    assert "does not serve" in refused["error"]

    def told() -> bool | str:
        errors = scene.peer.told("error")
        return any("location_poll_request" in error["message"] for error in errors) or str(errors)

    await eventually(told)
    await scene.is_heard(0)


async def test_what_it_shows_and_plays_arrives(scene: Scene) -> None:
    await scene.move_to(0)
    await scene.is_heard(0)
    assert scene.phone is not None
    await scene.peer.does("text", "shown by the SDK")

    def shown() -> list[str]:
        assert scene.phone is not None
        events = scene.phone.of_type("display_event")
        return [event["layout"].get("text", "") for event in events if event["packageName"] == PACKAGE]

    await eventually(lambda: "shown by the SDK" in shown() or str(shown()))
    built = scene.clouds[0]
    await scene.peer.does("play", "https://x.test/a.mp3")
    await eventually(lambda: len(built.player.plays) == 1 or "not asked to play")
    plays = next(iter(built.player.plays.values()))
    plays.put_nowait({"type": 0})
    plays.put_nowait({"type": 2, "duration_ms": 1200})
    plays.put_nowait(None)
    played = await scene.peer.done("play", within=3.0)
    assert played["result"]["success"] is True
