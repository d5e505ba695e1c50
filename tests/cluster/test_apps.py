"""An app of the SDK under two clouds that share a directory: it follows its user without a word from the phone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from time import monotonic

import pytest

from glassbridge.app import AppServer, Moved, Session
from glassbridge.cloud.apps.registry import AppRecord, StaticRegistry
from glassbridge.core.app_session import AppState
from glassbridge.core.subscriptions import Permission
from glassbridge.wire.app_keys import hash_key, signing_secret
from tests.cloud.app_stage import KEY, PACKAGE
from tests.cloud.conftest import Phone
from tests.cluster.clouds import Clouds, clouds_of
from tests.cluster.conftest import Connect
from tests.cluster.test_moving import numbered
from tests.support.patience import patient
from tests.support.poll import eventually, stays

pytestmark = pytest.mark.slow


class App:
    """Writes down what happens to it."""

    def __init__(self) -> None:
        self.server = AppServer(PACKAGE, KEY, port=0)
        self.begun: list[Session] = []
        self.ended: list[str] = []
        self.heard: list[float] = []
        """When."""
        self.moves: list[Moved] = []
        self.server.on_session(self._begin)
        self.server.on_stop(lambda _session, why: self.ended.append(why))

    def _begin(self, session: Session) -> None:
        self.begun.append(session)
        session.on_vad(lambda _speaking: self.heard.append(monotonic()))
        session.on_moved(self.moves.append)

    def unharmed(self) -> bool | str:
        return (len(self.begun), self.ended) == (1, []) or f"begun {len(self.begun)} times, ended: {self.ended}"


def registry(app: App) -> StaticRegistry:
    return StaticRegistry(
        AppRecord(
            package=PACKAGE,
            url=f"http://127.0.0.1:{app.server.port}",
            key_hash=hash_key(KEY),
            secret=signing_secret(KEY),
            permissions=frozenset({Permission.MICROPHONE}),
        )
    )


@pytest.fixture
async def scene(connect: Connect) -> AsyncIterator[tuple[App, Clouds]]:
    async with AsyncExitStack() as stack:
        app = App()
        await stack.enter_async_context(app.server)
        clouds = await stack.enter_async_context(clouds_of(connect, count=0))
        for _ in range(2):
            await clouds.add(connect(), registry(app))
        yield app, clouds


async def hears(app: App, phone: Phone, within: float = 5.0) -> float:
    """Seconds until the app hears what this phone says."""
    begun = monotonic()

    async def heard() -> bool | str:
        await phone.say(type="VAD", status=True)
        return bool(app.heard and app.heard[-1] >= begun) or "the app is deaf"

    return await eventually(heard, within, every=0.05)


async def test_an_app_follows_its_user_and_is_never_stopped(scene: tuple[App, Clouds]) -> None:
    app, clouds = scene
    phone = await clouds.stages[0].phone(query=numbered(1))
    await phone.say(type="start_app", packageName=PACKAGE)
    await hears(app, phone)
    for attempt in range(2, 7):
        moved_to = clouds.stages[(attempt + 1) % 2]
        phone = await moved_to.phone(query=numbered(attempt))
        deaf = await hears(app, phone)
        assert deaf < patient(1.0)
        assert app.unharmed() is True
        assert app.moves[-1].cloud == moved_to.url
        [session] = clouds.sessions_of()
        assert session.apps.states() == {PACKAGE: AppState.RUNNING}
        assert [told["state"] for told in phone.of_type("app_state_change")][-1] == "running"
    await stays(app.unharmed, 1.0)
    assert len(app.moves) == 5


async def test_an_app_that_is_stopped_stays_so_after_a_move(scene: tuple[App, Clouds]) -> None:
    app, clouds = scene
    phone = await clouds.stages[0].phone(query=numbered(1))
    await phone.say(type="start_app", packageName=PACKAGE)
    await hears(app, phone)
    await phone.say(type="stop_app", packageName=PACKAGE)
    await eventually(lambda: len(app.ended) == 1)
    await clouds.stages[1].phone(query=numbered(2))
    await asyncio.sleep(0)
    await stays(lambda: len(app.begun) == 1 or "started by nobody", 0.5)


async def test_apps_follow_while_phones_go_to_and_fro(scene: tuple[App, Clouds]) -> None:
    """Faster than an app can follow."""
    app, clouds = scene
    phone = await clouds.stages[0].phone(query=numbered(1))
    await phone.say(type="start_app", packageName=PACKAGE)
    await hears(app, phone)
    for attempt in range(2, 10):
        phone = await clouds.stages[attempt % 2].phone(query=numbered(attempt))
    assert await hears(app, phone, within=10) < patient(3.0)
    await stays(app.unharmed, 1.0)


async def test_two_servers_of_an_app_do_not_take_the_user_from_each_other(connect: Connect) -> None:
    """Behind one address that knows nothing of sessions: the webhook of each cloud has reached another one."""
    former, newer = App(), App()
    async with former.server, newer.server, clouds_of(connect, count=0) as clouds:
        for app in (former, newer):
            await clouds.add(connect(), registry(app))
        phone = await clouds.stages[0].phone(query=numbered(1))
        await phone.say(type="start_app", packageName=PACKAGE)
        await hears(former, phone)
        phone = await clouds.stages[1].phone(query=numbered(2))
        assert await hears(newer, phone) < patient(1.0)
        until_then = len(former.heard)
        await stays(newer.unharmed, 3.0)
        await hears(newer, phone)
        assert len(former.heard) == until_then
        assert former.ended == []
