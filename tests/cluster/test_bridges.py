"""Bridges that come and go without a word to the clouds: a real directory lists them."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from glassbridge.bridge.config import BridgeConfig
from glassbridge.cluster.address import read_address
from glassbridge.cluster.directory import Node
from glassbridge.cluster.registrar import Registrar
from glassbridge.cluster.valkey import ValkeyDirectory
from glassbridge.core.lease import LeaseState
from glassbridge.core.ownership import NodeState, Owner, Role
from glassbridge.lab.program import Program
from tests.cloud.conftest import Stage
from tests.cluster.clouds import Clouds, clouds_of
from tests.cluster.test_moving import numbered
from tests.support.patience import patient
from tests.support.poll import eventually, stays
from tests.support.scripted_bridge import ScriptedBridge
from tests.support.valkey import Valkey

PATIENT = 12.0
"""A lease and a look at the list."""


class Listed:
    """A bridge that the directory lists."""

    def __init__(self, bridge: ScriptedBridge, directory: ValkeyDirectory, name: str) -> None:
        self.bridge = bridge
        self.state = NodeState.SERVING
        self._owner = Owner(name, name, bridge.target)
        self._registrar = Registrar(directory, lambda: [Node(self._owner, self.state, 0, Role.BRIDGE)])
        self._listing = asyncio.create_task(self._registrar.run())

    async def killed(self) -> None:
        """Without a word to anybody."""
        await self._unlisted()
        await self.bridge.stop()

    async def withdrawn(self) -> None:
        await self._unlisted()
        await self._registrar.close()

    async def _unlisted(self) -> None:
        """A renewal that is under way ends first: it holds a connection, and would list the bridge again."""
        self._listing.cancel()
        await asyncio.wait({self._listing})


class Scene:
    """Two clouds that were told of no bridge."""

    def __init__(self, stack: AsyncExitStack, valkey: Valkey, clouds: Clouds) -> None:
        self._stack = stack
        self.valkey = valkey
        self.clouds = clouds

    async def add(self, name: str) -> Listed:
        bridge = await self._stack.enter_async_context(ScriptedBridge())
        listed = Listed(bridge, ValkeyDirectory(read_address(self.valkey.url)), name)
        self._stack.push_async_callback(listed.withdrawn)
        return listed

    async def all_see(self, *bridges: Listed, within: float = PATIENT) -> float:
        """Each cloud uses exactly these; how long that took."""
        targets = sorted(one.bridge.target for one in bridges)

        def seen() -> bool | str:
            found = [sorted(bridge.target for bridge in pool(stage).bridges) for stage in self.clouds.stages]
            return all(one == targets for one in found) or f"{found}, not {targets}"

        return await eventually(seen, within)


def pool(stage: Stage):  # type: ignore[no-untyped-def]
    return stage.cloud.sessions.pool


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        valkey = await stack.enter_async_context(Valkey(tmp_path))
        open_one: Callable[[], ValkeyDirectory] = lambda: ValkeyDirectory(read_address(valkey.url))  # noqa: E731
        clouds = await stack.enter_async_context(clouds_of(open_one, bridges=()))
        yield Scene(stack, valkey, clouds)


async def in_room(listed: Listed, within: float = 5.0) -> None:
    await eventually(lambda: any(room.streaming for room in listed.bridge.rooms.values()) or "nobody joined", within)


async def test_a_bridge_is_used_once_it_is_listed(scene: Scene) -> None:
    """The phone was there before: it is helped at once, not when its next attempt is due."""
    one, _ = scene.clouds.stages
    phone = await one.phone(query=numbered(1))
    await phone.until_state("unavailable", "no_bridge")
    listed = await scene.add("x")
    await scene.all_see(listed, within=5.0)
    await in_room(listed)


async def test_a_bridge_that_is_killed_is_forgotten_and_one_that_comes_takes_its_place(scene: Scene) -> None:
    one, _ = scene.clouds.stages
    first = await scene.add("x")
    await scene.all_see(first)
    await one.phone(query=numbered(1))
    await in_room(first)
    second = await scene.add("y")
    await scene.all_see(first, second)
    await first.killed()
    await in_room(second)
    took = await scene.all_see(second)
    assert took < PATIENT


async def test_a_bridge_that_drains_gets_no_new_room_and_goes_when_it_is_empty(scene: Scene) -> None:
    one, _ = scene.clouds.stages
    first, second = await scene.add("x"), await scene.add("y")
    await scene.all_see(first, second)
    first.state = NodeState.DRAINING
    at = first.bridge.target

    def known() -> bool | str:
        drains = [bridge.standing.listed for stage in scene.clouds.stages for bridge in pool(stage).bridges
                  if bridge.target == at]  # fmt: skip
        return all(state is NodeState.DRAINING for state in drains) or str(drains)

    await eventually(known, 5.0)
    await one.phone(query=numbered(1))
    await in_room(second)
    assert not first.bridge.rooms
    await first.withdrawn()
    await first.bridge.stop()
    await scene.all_see(second)


@pytest.mark.slow
async def test_the_list_stays_while_the_directory_is_away(scene: Scene) -> None:
    """For 10 s: longer than a lease. It comes back empty, and is told all anew."""
    one, two = scene.clouds.stages
    listed = await scene.add("x")
    await scene.all_see(listed)
    await scene.valkey.kill()
    await eventually(lambda: one.cloud.sessions.keeper.state is LeaseState.AWAY or "not away", 10.0)

    def stays_listed() -> bool | str:
        found = [bridge.target for stage in (one, two) for bridge in pool(stage).bridges]
        return found == [listed.bridge.target] * 2 or str(found)

    await stays(stays_listed, 6.0)
    await two.phone(query=numbered(1))
    await in_room(listed)
    assert stays_listed() is True
    await scene.valkey.start()
    keepers = [stage.cloud.sessions.keeper for stage in (one, two)]
    await eventually(lambda: all(keeper.state is LeaseState.HELD for keeper in keepers) or "away", 10.0)
    await scene.all_see(listed)
    assert all(bridge.alive for stage in (one, two) for bridge in pool(stage).bridges)


async def test_what_is_listed_must_be_the_address_of_a_bridge_that_can_be_known(scene: Scene) -> None:
    """gRPC understands other addresses too; one of another machine is used only where TLS proves who is there."""
    one, _ = scene.clouds.stages
    pool(one).meet({"dns:///evil.example:1": NodeState.SERVING, "10.1.2.3:9090": NodeState.SERVING})
    assert [bridge.target for bridge in pool(one).bridges] == ["10.1.2.3:9090"]
    assert not next(iter(pool(one).bridges)).trusted


@pytest.mark.parametrize(
    ("told", "targets"),
    [("", ["0.0.0.0:9090", "0.0.0.0:9091"]), ("10.0.0.2", ["10.0.0.2:9090", "10.0.0.2:9091"]),
     ("fd00::2", ["[fd00::2]:9090", "[fd00::2]:9091"])],
)  # fmt: skip
def test_a_bridge_tells_where_clouds_reach_each_worker(told: str, targets: list[str]) -> None:
    config = BridgeConfig(workers=2, host="0.0.0.0", address_told=told)
    assert [config.told(number) for number in range(2)] == targets
    assert BridgeConfig(socket="b.sock").told(0) == f"unix:{Path.cwd()}/b.sock"


@pytest.mark.slow
async def test_a_real_bridge_lists_its_workers_and_takes_them_off_when_it_stops(tmp_path: Path) -> None:
    """As a process: found without a word to any cloud, forgotten before its lease ends."""
    async with AsyncExitStack() as stack:
        valkey = await stack.enter_async_context(Valkey(tmp_path))
        directory = ValkeyDirectory(read_address(valkey.url))
        stack.push_async_callback(directory.close)
        node = Node(Owner("a cloud", "c1", ""), NodeState.SERVING, 0)

        async def listed() -> list[Node]:
            nodes = (await directory.renew(node, 60.0, (), 5.0)).nodes
            return sorted((one for one in nodes if one.role is Role.BRIDGE), key=lambda one: one.owner.address)

        socket = tmp_path / "b.sock"
        env = {"GLASSBRIDGE_CLUSTER": valkey.url, "LIVEKIT_GRPC_SOCKET": str(socket)}
        bridge = Program("bridge", ("bridge", "--workers", "2", "--no-spare"), env)
        stack.push_async_callback(bridge.stop, 5.0)
        await bridge.start()

        async def found() -> bool | str:
            nodes = await listed()
            told = [(one.owner.address, one.state, one.load) for one in nodes]
            expected = [(f"unix:{socket}.{number}", NodeState.SERVING, 0) for number in range(2)]
            return told == expected or str(told)

        await eventually(found, 30.0)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        bridge.signal(signal.SIGTERM)

        async def gone() -> bool | str:
            nodes = await listed()
            return not nodes or str(nodes)

        await eventually(gone, 10.0)
        assert loop.time() - begun < patient(4.0), "it was not told, its lease has ended"
