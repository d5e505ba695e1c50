"""Several clouds in this process that share one directory, with real sockets and one scripted bridge."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from glassbridge.cloud.app import Cloud
from glassbridge.cloud.apps.registry import AppRecord, Registry, StaticRegistry
from glassbridge.cloud.config import ClusterConfig
from glassbridge.cloud.session import UserSession
from glassbridge.cluster.directory import Directory
from glassbridge.cluster.memory import MemoryDirectory
from glassbridge.core.lease import LeaseState
from glassbridge.core.subscriptions import Permission
from glassbridge.core.values import user_id
from glassbridge.runtime.world import REAL, World
from glassbridge.wire.app_keys import hash_key
from tests.cloud.app_stage import KEY, PACKAGE, AppsServer, AppStage, PlayingBridge
from tests.cloud.conftest import ANN, ScriptedRecogniser, Stage, cloud_config
from tests.support.poll import eventually
from tests.support.scripted_bridge import ScriptedBridge
from tests.support.scripted_rooms import ScriptedRooms

CLUSTER_SECRET = "a-cluster-secret-of-the-tests-012345"


class Clouds:
    """`add` starts one more."""

    def __init__(self, stack: AsyncExitStack, bridge: ScriptedBridge, rooms: ScriptedRooms) -> None:
        self._stack = stack
        self.bridge = bridge
        self.rooms = rooms
        self.stages: list[Stage] = []

    async def add(
        self, directory: Directory, registry: Registry | None = None, world: World = REAL, **changes: Any
    ) -> Stage:
        changes = {"cluster": ClusterConfig(secrets=(CLUSTER_SECRET,)), "drain": 0.4} | changes
        recogniser = ScriptedRecogniser()
        config = cloud_config(self.bridge, self.rooms, **changes)
        cloud = Cloud(config, recogniser, registry, directory=directory, world=world)
        await self._stack.enter_async_context(cloud)
        stage = Stage(cloud, self.bridge, recogniser, self.rooms)
        self._stack.push_async_callback(stage.close)
        self.stages.append(stage)
        await eventually(lambda: cloud.sessions.keeper.state is LeaseState.HELD or "not registered")
        return stage

    def sessions_of(self, user: str = ANN) -> list[UserSession]:
        """Of all clouds."""
        found = (stage.cloud.sessions._by_user.get(user_id(user)) for stage in self.stages)
        return [session for session in found if session is not None]


@asynccontextmanager
async def clouds_of(open_directory: Callable[[], Directory], count: int = 2, **changes: Any) -> AsyncIterator[Clouds]:
    async with AsyncExitStack() as stack:
        bridge = await stack.enter_async_context(ScriptedBridge())
        rooms = await stack.enter_async_context(ScriptedRooms())
        clouds = Clouds(stack, bridge, rooms)
        for _ in range(count):
            await clouds.add(open_directory(), **changes)
        yield clouds


@asynccontextmanager
async def clouds_with_app(
    worlds: Sequence[World], open_directory: Callable[[], Directory] | None = None, **changes: Any
) -> AsyncIterator[tuple[Clouds, list[AppStage]]]:
    """A cloud in each of these worlds, the server of an app, and one bridge that plays. Without `open_directory` the
    clouds share one in memory."""
    async with AsyncExitStack() as stack:
        bridge = PlayingBridge()
        await stack.enter_async_context(bridge)
        rooms = await stack.enter_async_context(ScriptedRooms())
        apps = AppsServer()
        await apps.start()
        stack.push_async_callback(apps.stop)
        record = AppRecord(
            package=PACKAGE, url=apps.url, key_hash=hash_key(KEY), permissions=frozenset({Permission.MICROPHONE})
        ).with_key(KEY)
        clouds, shared = Clouds(stack, bridge, rooms), MemoryDirectory()
        for world in worlds:
            directory = open_directory() if open_directory is not None else shared
            await clouds.add(directory, StaticRegistry(record), world, **changes)
        stages = [AppStage(stage.cloud, bridge, stage.recogniser, rooms, apps) for stage in clouds.stages]
        for stage in stages:
            stack.push_async_callback(stage.close)
        yield clouds, stages
