"""Clouds whose directory is killed, frozen, partitioned or restarted empty: people notice nothing, operators do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from glassbridge.cluster.address import read_address
from glassbridge.cluster.valkey import ValkeyDirectory
from glassbridge.core.lease import LeaseState
from glassbridge.core.ownership import OwnershipState
from glassbridge.lab.links import ByteLink
from glassbridge.livekit.server import LOOPBACK
from glassbridge.telemetry import metrics
from glassbridge.wire.audio_frames import FrameNumber, encode_numbered
from tests.cloud.conftest import Phone, Stage
from tests.cluster.clouds import Clouds, clouds_of
from tests.cluster.test_moving import numbered
from tests.support.patience import patient
from tests.support.poll import eventually
from tests.support.valkey import Valkey

pytestmark = pytest.mark.slow

ADMIN = "an-admin-token-of-the-tests"


class Scene:
    """Two clouds, each with a way of its own to one Valkey."""

    def __init__(self, valkey: Valkey, links: list[ByteLink], clouds: Clouds) -> None:
        self.valkey = valkey
        self.links = links
        self.clouds = clouds

    async def all_in(self, state: LeaseState, *which: int, within: float = 10.0) -> None:
        stages = [self.clouds.stages[number] for number in which or range(len(self.clouds.stages))]
        await eventually(
            lambda: all(stage.cloud.sessions.keeper.state is state for stage in stages) or f"not all {state}", within
        )

    async def one_session_at(self, number: int) -> str:
        """The user's only session is with this cloud, and the directory has it; its id."""
        stage = self.clouds.stages[number]

        def so() -> bool | str:
            sessions = self.clouds.sessions_of()
            return (len(sessions) == 1 and sessions[0].ownership.state is OwnershipState.HELD) or str(
                [one.ownership.state for one in sessions]
            )

        await eventually(so, 10)
        [session] = self.clouds.sessions_of()
        assert session in stage.cloud.sessions.living
        return session.id


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        valkey = await stack.enter_async_context(Valkey(tmp_path))
        links = [await stack.enter_async_context(ByteLink()) for _ in range(2)]
        ports = iter([await link.to(valkey.port) for link in links])

        def directory() -> ValkeyDirectory:
            return ValkeyDirectory(read_address(f"valkey://{LOOPBACK}:{next(ports)}"))

        yield Scene(valkey, links, await stack.enter_async_context(clouds_of(directory, admin_token=ADMIN)))


async def health(stage: Stage) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {ADMIN}"}
    async with stage.http.get(f"{stage.url}/health", headers=headers) as answer:
        told: dict[str, Any] = await answer.json()
        return told


async def connected(stage: Stage, attempt: int, within: float) -> tuple[Phone, str]:
    """A phone that is greeted in time, and its session's id."""
    begun = asyncio.get_running_loop().time()
    phone = await stage.phone(query=numbered(attempt))
    assert asyncio.get_running_loop().time() - begun < patient(within), "it waited for the directory"
    return phone, phone.of_type("connection_ack")[0]["sessionId"]


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_a_directory_that_is_away_is_told_to_operators_and_to_nobody_else(scene: Scene, fault: str) -> None:
    one, two = scene.clouds.stages
    phone, first = await connected(one, 1, within=1.0)
    position = await speak(phone, one, 0)
    assert (await health(one))["status"] == "ok"
    if fault == "killed":
        await scene.valkey.kill()
    else:
        scene.valkey.freeze()
    phone_at_once, second = await connected(two, 2, within=1.5)
    assert second == first, "the first claim that fails: the former owner is asked all the same"
    position = await speak(phone_at_once, two, position)
    await scene.all_in(LeaseState.AWAY)
    for stage in (one, two):
        told = await health(stage)
        assert (told["status"], told["directory"]) == ("degraded", "away")
        async with stage.http.get(f"{stage.url}/readyz") as answer:
            assert answer.status == 200, "what all clouds share must not turn phones away"
        assert stage.cloud.sessions.keeper.away_for > 0
    position = await speak(phone_at_once, two, position)
    back, third = await connected(one, 3, within=0.5)
    assert third == first, "known to be away: nobody waits for it"
    assert len(scene.clouds.sessions_of()) == 1
    await speak(back, one, position)
    joins = [join.generation for join in scene.clouds.bridge.joins]
    assert joins == sorted(joins)
    if fault == "killed":
        await scene.valkey.start()
    else:
        scene.valkey.thaw()
    await scene.all_in(LeaseState.HELD)
    assert await scene.one_session_at(0) == first
    assert (await health(one))["status"] == "ok"
    assert one.cloud.sessions.keeper.away_for == 0
    assert not back.socket.closed
    assert scene.clouds.bridge.leaves == []


async def speak(phone: Phone, stage: Stage, position: int) -> int:
    """A tenth of a second by the socket arrives at the recogniser; returns the next position."""
    before = len(stage.recogniser.fed)
    await phone.say(type="VAD", status=True)
    for _ in range(5):
        frame = FrameNumber(7, position, position * 1_000_000 // 16_000, 0)
        await phone.socket.send_bytes(encode_numbered(frame, b"\1\0" * 320))
        position += 320
    await eventually(lambda: len(stage.recogniser.fed) >= before + 5 * 640 or f"fed {len(stage.recogniser.fed)}")
    return position


async def test_one_cloud_is_cut_off_from_the_directory(scene: Scene) -> None:
    """Both ways: the phone comes to the cloud that is cut off, and leaves it."""
    one, two = scene.clouds.stages
    _, first = await connected(one, 1, within=1.0)
    scene.links[1].drop()
    _, second = await connected(two, 2, within=1.5)
    await scene.all_in(LeaseState.AWAY, 1)
    _, third = await connected(one, 3, within=1.0)
    assert first == second == third
    assert len(scene.clouds.sessions_of()) == 1
    _, fourth = await connected(two, 4, within=1.0)
    assert fourth == first
    scene.links[1].heal()
    await scene.all_in(LeaseState.HELD)
    assert await scene.one_session_at(1) == first


async def test_a_cloud_that_sees_nobody_gives_way_to_the_newer_owner(scene: Scene) -> None:
    """Neither the directory nor the other cloud is reached: two sessions, until it is back."""
    one, two = scene.clouds.stages
    one.cloud.sessions.keeper.owner = replace(one.cloud.sessions.keeper.owner, address=f"{LOOPBACK}:1")
    cut_off, _ = await connected(one, 1, within=1.0)
    scene.links[0].drop()
    await scene.all_in(LeaseState.AWAY, 0)
    newest, id_ = await connected(two, 2, within=1.5)
    assert len(scene.clouds.sessions_of()) == 2
    scene.links[0].heal()
    assert await cut_off.closed_with(10) == 4001
    assert await scene.one_session_at(1) == id_
    assert not newest.socket.closed


async def test_a_directory_that_comes_back_empty_learns_everything_anew(scene: Scene) -> None:
    one, two = scene.clouds.stages
    _, first = await connected(one, 1, within=1.0)
    await scene.valkey.kill()
    await scene.valkey.start()
    await scene.all_in(LeaseState.HELD)

    async def restored() -> bool | str:
        held = await scene.valkey.command("EXISTS", "{glassbridge}:user:ann@example.com")
        return held == ":1" or held

    await eventually(restored, 5)
    _, second = await connected(two, 2, within=1.0)
    assert second == first
    late = await one.socket(query=numbered(1))
    assert await late.closed_with() == 4001


async def test_claims_are_counted(scene: Scene) -> None:
    one, two = scene.clouds.stages
    before = {verdict: metrics.CLAIMS.cell(verdict).count for verdict in ("held", "local", "refused")}
    await connected(one, 2, within=1.0)
    late = await two.socket(query=numbered(1))
    await late.closed_with()
    await scene.valkey.kill()
    await scene.all_in(LeaseState.AWAY)
    await connected(two, 3, within=1.0)
    counted = {verdict: metrics.CLAIMS.cell(verdict).count - count for verdict, count in before.items()}
    assert counted == {"held": 1, "local": 1, "refused": 1}
