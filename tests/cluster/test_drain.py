"""Clouds that stop, and clouds that come: users go elsewhere, one after the other, and nothing of them ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from glassbridge.cloud import moving
from glassbridge.cluster.directory import Directory
from glassbridge.cluster.memory import MemoryDirectory
from glassbridge.core.moving import PART, SLACK
from glassbridge.core.moving import CloudStage as Life
from glassbridge.telemetry import metrics
from glassbridge.wire.close_codes import CloseCode, ComeBack, come_back
from tests.cloud.conftest import Phone, Stage
from tests.cluster.clouds import Clouds, clouds_of
from tests.cluster.conftest import Connect
from tests.cluster.test_moving import numbered
from tests.support.patience import patient
from tests.support.poll import eventually, stays

DELAY, DRAIN = 0.5, 8.0


@asynccontextmanager
async def two_clouds(open_directory: Callable[[], Directory], **changes: Any) -> AsyncIterator[Clouds]:
    """That know each other."""
    async with clouds_of(open_directory, **changes) as clouds:
        keepers = [stage.cloud.sessions.keeper for stage in clouds.stages]
        await eventually(lambda: all(keeper.has_successor for keeper in keepers) or "one knows no other cloud")
        yield clouds


@pytest.fixture
async def clouds() -> AsyncIterator[Clouds]:
    shared = MemoryDirectory()
    async with two_clouds(lambda: shared, drain=0.2, rebalance=20) as clouds:
        yield clouds


async def ready(stage: Stage) -> int:
    async with stage.http.get(f"{stage.url}/readyz") as answer:
        return answer.status


async def crowd(stage: Stage, count: int) -> list[Phone]:
    return [await stage.phone(user(number), query=numbered(1)) for number in range(count)]


def user(number: int) -> str:
    return f"user{number}@example.com"


def session_of(phone: Phone) -> str:
    told: str = phone.of_type("connection_ack")[0]["sessionId"]
    return told


async def test_a_cloud_that_stops_serves_until_the_balancer_has_noticed_and_then_hands_all_over(
    connect: Connect,
) -> None:
    async with two_clouds(connect, drain=DRAIN, drain_delay=DELAY) as clouds:
        one, two = clouds.stages
        phones = await crowd(one, 20)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        stopping = asyncio.create_task(one.cloud.__aexit__(None, None, None))
        await eventually(lambda: one.cloud.sessions.stage is Life.LEAVING or "not leaving", every=0.001)
        assert await ready(one) == 503, "at once"
        late = await one.phone("late@example.com", query=numbered(1))  # the balancer does not know yet
        assert not any(phone.socket.closed for phone in phones)
        codes = [await phone.closed_with(DELAY + DRAIN) for phone in [*phones, late]]
        assert loop.time() - begun >= DELAY, "nobody is sent away before"
        assert set(codes) == {CloseCode.DRAINING}
        assert come_back(CloseCode.DRAINING) is ComeBack.NOW
        with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
            await one.phone("later@example.com", query=numbered(1))
        back = await asyncio.gather(*(two.phone(user(number), query=numbered(2)) for number in range(20)))
        assert [session_of(phone) for phone in back] == [session_of(phone) for phone in phones]
        await two.phone("late@example.com", query=numbered(2))
        await stopping
        assert loop.time() - begun < patient(DELAY + DRAIN), "it waited for sessions that had moved"
        assert clouds.bridge.leaves == []


async def test_only_an_orderly_end_has_a_delay() -> None:
    async with clouds_of(MemoryDirectory, count=1, drain_delay=60.0) as clouds:
        [one] = clouds.stages
        begun = asyncio.get_running_loop().time()
        await one.cloud.__aexit__(asyncio.CancelledError, asyncio.CancelledError(), None)
        assert asyncio.get_running_loop().time() - begun < patient(5.0)


async def test_a_cloud_that_comes_gets_its_share_a_few_at_a_time(
    clouds: Clouds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each phone that is sent away comes back by the other cloud, with its session. Nobody is sent away twice."""
    monkeypatch.setattr(moving, "REST", 0.0)
    one, two = clouds.stages
    count = 20
    before, begun = metrics.REBALANCED.cell().count, asyncio.get_running_loop().time()
    phones = dict(enumerate(await crowd(one, count)))
    sessions = {number: session_of(phone) for number, phone in phones.items()}
    moved: set[int] = set()
    loop = asyncio.get_running_loop()
    limit = begun + patient(30.0)
    while one.cloud.sessions.active - two.cloud.sessions.active > 2 * SLACK:
        assert loop.time() < limit, f"{one.cloud.sessions.active} and {two.cloud.sessions.active} users"
        for number, phone in phones.items():
            if number not in moved and phone.socket.closed:
                assert phone.socket.close_code == CloseCode.DRAINING
                moved.add(number)
                back = await two.phone(user(number), query=numbered(2))
                assert session_of(back) == sessions[number]
        await asyncio.sleep(0.02)
    assert metrics.REBALANCED.cell().count - before == len(moved)
    assert len(moved) <= loop.time() - begun + 1, f"more than {max(1, int(count * PART))} a second"
    # One more may have gone by what was known a second ago.
    await stays(lambda: metrics.REBALANCED.cell().count - before <= len(moved) + 1 or "it goes on", 2.5)
    assert clouds.bridge.leaves == []


async def test_users_who_say_nothing_are_moved_first(clouds: Clouds, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = clouds.stages
    phones = await crowd(one, 12)
    sessions = list(one.cloud.sessions.living)
    for session in sessions[:11]:
        session.audio.microphone.heard_at = asyncio.get_running_loop().time() + 60.0
    monkeypatch.setattr(moving, "REST", 0.0)
    await eventually(lambda: any(phone.socket.closed for phone in phones) or "nobody was moved")
    assert [phone.socket.closed for phone in phones] == [False] * 11 + [True]
