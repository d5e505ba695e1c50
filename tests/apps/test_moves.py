"""One app's server under two clouds: the app follows its user, and what the former cloud does late touches nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from structlog.testing import capture_logs

from glassbridge.app import AppServer, AudioState, Moved, Session
from glassbridge.core.app_session import AppState
from glassbridge.core.app_times import AppTimes
from glassbridge.core.values import user_id
from tests.cloud.app_stage import KEY, PACKAGE, QUICK, AppStage, app_stages
from tests.cloud.conftest import ANN, Phone
from tests.support.balancer import Balancer, answer_at
from tests.support.patience import patient
from tests.support.poll import eventually, stays

GRACE = 1.0
"""Seconds that a session outlives its phone here."""


class App:
    """An app's server that writes down what happens to it."""

    def __init__(self, server: AppServer) -> None:
        self.server = server
        self.begun: list[Session] = []
        self.ended: list[str] = []
        self.voices: list[bool] = []
        self.moves: list[Moved] = []
        self.states: list[AudioState] = []
        server.on_session(self._begin)
        server.on_stop(lambda _session, why: self.ended.append(why))

    def _begin(self, session: Session) -> None:
        self.begun.append(session)
        session.on_vad(self.voices.append)
        session.on_moved(self.moves.append)
        session.on_audio_state(self.states.append)


class Scene:
    """Two clouds, one app, one user whose phone is with one of them at a time."""

    def __init__(self, app: App, *clouds: AppStage) -> None:
        self.app = app
        self.clouds = clouds
        self.phone: Phone | None = None

    async def move_to(self, number: int) -> None:
        """What a phone of ours does: it goes, comes, and asks for its apps."""
        if self.phone is not None:
            await self.phone.vanish()
        self.phone = await self.clouds[number].phone()
        await self.phone.say(type="start_app", packageName=PACKAGE)

    async def is_heard(self, within: float = 5.0) -> None:
        """What the phone says reaches the app."""
        assert self.phone is not None
        before = len(self.app.voices)

        async def heard() -> bool | str:
            assert self.phone is not None
            await self.phone.say(type="VAD", status=True)
            return len(self.app.voices) > before or "the app is deaf"

        await eventually(heard, within, every=0.1)

    def state(self, number: int) -> AppState | None:
        apps = self.clouds[number].cloud.sessions.apps_of(user_id(ANN))
        return apps.states().get(PACKAGE) if apps is not None else None

    def unharmed(self) -> bool | str:
        """One session, begun once, never ended."""
        app = self.app
        return (len(app.begun), app.ended, len(app.server.sessions)) == (1, [], 1) or (
            f"begun {len(app.begun)} times, ended: {app.ended}, alive: {len(app.server.sessions)}"
        )


@pytest.fixture
async def open_scene() -> AsyncIterator[Callable[..., Any]]:
    async with AsyncExitStack() as stack, app_stages() as begin:

        async def open_(grace: float = GRACE, times: AppTimes = QUICK) -> Scene:
            app = App(AppServer(PACKAGE, KEY, port=0))
            await stack.enter_async_context(app.server)
            url = f"http://127.0.0.1:{app.server.port}"
            return Scene(app, *[await begin(url=url, cloud={"grace": grace}, times=times) for _ in range(2)])

        yield open_


@pytest.mark.parametrize("stay", [0.0, 0.5, GRACE + 1.0])
async def test_the_app_follows_its_user_from_a_to_b_to_a(open_scene: Callable[..., Any], stay: float) -> None:
    """It stays for less and for more than the grace of the former cloud."""
    scene: Scene = await open_scene()
    await scene.move_to(0)
    await scene.is_heard()
    for number, cloud in enumerate((1, 0, 1), start=1):
        await scene.move_to(cloud)
        await scene.is_heard()
        assert len(scene.app.moves) == number
        assert scene.app.moves[-1].cloud == scene.clouds[cloud].url
        await stays(scene.unharmed, stay)
        await scene.is_heard()
    await stays(scene.unharmed, GRACE + QUICK.grace)
    assert [move.former for move in scene.app.moves[:2]] == [scene.clouds[0].url, scene.clouds[1].url]
    assert scene.app.states, "the truth about audio is told by each cloud"


async def test_a_cloud_asks_for_no_app_while_the_phone_is_away(open_scene: Callable[..., Any]) -> None:
    scene: Scene = await open_scene(grace=5.0)
    await scene.move_to(0)
    await scene.is_heard()
    await scene.move_to(1)
    await scene.is_heard()
    await eventually(lambda: scene.state(0) is AppState.PAUSED or str(scene.state(0)))
    (session,) = scene.app.server.sessions.values()
    asked = session.asked_at
    await stays(lambda: session.asked_at == asked or "asked again", QUICK.grace + 1.5)
    assert scene.state(0) is AppState.PAUSED


async def test_a_cloud_that_is_stopped_says_moving_and_ends_nothing(open_scene: Callable[..., Any]) -> None:
    scene: Scene = await open_scene()
    await scene.move_to(0)
    await scene.is_heard()
    await scene.clouds[0].cloud.sessions.close()
    scene.phone = None
    assert scene.unharmed() is True
    begun = asyncio.get_running_loop().time()
    await scene.move_to(1)
    await scene.is_heard()
    assert asyncio.get_running_loop().time() - begun < patient(1.0)
    await stays(scene.unharmed, 1.0)


async def test_the_user_stops_the_app_with_the_cloud_that_has_it(open_scene: Callable[..., Any]) -> None:
    scene: Scene = await open_scene(grace=5.0)
    await scene.move_to(0)
    await scene.is_heard()
    await scene.move_to(1)
    await scene.is_heard()
    assert scene.phone is not None
    await scene.phone.say(type="stop_app", packageName=PACKAGE)
    await eventually(lambda: len(scene.app.ended) == 1 or "not ended")
    await stays(lambda: not scene.app.server.sessions or "it came back", 1.0)


@pytest.mark.parametrize("stay", [0.3, GRACE + 0.5], ids=["both have the session", "one has it"])
@pytest.mark.parametrize("shares", [True, False], ids=["clouds pass on", "clouds of an older version"])
async def test_the_app_finds_the_right_cloud_behind_one_address(
    open_scene: Callable[..., Any], stay: float, shares: bool
) -> None:
    """Clouds that share the core secret pass the app on; with others it tries until it comes to the right one."""
    scene: Scene = await open_scene()
    with capture_logs() as lines:
        async with Balancer(*(stage.cloud.port for stage in scene.clouds)) as balancer:
            for stage in scene.clouds:
                answer_at(stage.cloud, balancer.url, shares=shares)
            await scene.move_to(0)
            await scene.is_heard()
            for cloud in (1, 0, 1, 0):
                await scene.move_to(cloud)
                await scene.is_heard(within=8.0)
                await stays(scene.unharmed, stay)
            await stays(scene.unharmed, GRACE + QUICK.grace)
    events = {line["event"] for line in lines}
    assert "app socket relayed" in events if shares else balancer.taken > 5
    assert "app refused" not in events or not shares
