"""A former owner that answers late: the session goes on by its id at once, and gets the rest when it comes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from glassbridge.cloud import handover
from glassbridge.cloud.handover import HandOverClient
from glassbridge.cluster.directory import Directory, Node
from glassbridge.core.ownership import Claim, NodeState, Owner, OwnershipState
from glassbridge.core.values import user_id
from glassbridge.runtime.world import REAL
from glassbridge.wire import cluster as wire
from tests.cloud.app_stage import PACKAGE, AppStage
from tests.cloud.conftest import ANN, Stage
from tests.cluster.clouds import Clouds, clouds_of, clouds_with_app
from tests.cluster.conftest import Connect
from tests.cluster.test_contract import TIME, claim
from tests.cluster.test_moving import numbered
from tests.support.patience import patient
from tests.support.poll import eventually


@pytest.fixture
async def scene() -> AsyncIterator[tuple[Clouds, list[AppStage]]]:
    """Three clouds and an app."""
    async with clouds_with_app(3 * [REAL]) as made:
        yield made


def slow(stage: Stage, monkeypatch: pytest.MonkeyPatch, before: float = 0.0, after: float = 0.0) -> None:
    """What this cloud asks of others takes so many seconds more: the question, or its answer."""
    client = client_of(stage)
    post = client._post

    async def post_slowly(address: str, asked: list[wire.HandOverRequest]) -> list[wire.HandOver | None] | None:
        await asyncio.sleep(before)
        answers = await post(address, asked)
        await asyncio.sleep(after)
        return answers

    monkeypatch.setattr(client, "_post", post_slowly)


def client_of(stage: Stage) -> HandOverClient:
    client = stage.cloud.sessions.keeper._client
    assert client is not None
    return client


def id_of(phone: Any) -> str:
    return str(phone.of_type("connection_ack")[0]["sessionId"])


@pytest.mark.parametrize(("before", "after"), [(0.6, 0.0), (2.2, 0.0), (0.0, 0.6)])
async def test_what_a_slow_owner_had_comes_late(
    scene: tuple[Clouds, list[AppStage]], monkeypatch: pytest.MonkeyPatch, before: float, after: float
) -> None:
    """Also where it has heard by the directory that the user is elsewhere, and so has no session any more."""
    clouds, (one, two, _) = scene
    first = await one.phone(query=numbered(1))
    await one.running("VAD", "transcription:en-US")
    [old] = clouds.sessions_of()
    old.audio.transcripts.add("said before", ["en-US"], 0, 500, id="u1")
    old.audio.hearing.name_after(1)
    slow(two, monkeypatch, before, after)
    begun = asyncio.get_running_loop().time()
    second = await two.phone(query=numbered(2))
    assert asyncio.get_running_loop().time() - begun < patient(0.5), "the phone waited for it"
    assert (id_of(second), second.of_type("connection_ack")[0]["resumed"]) == (id_of(first), True)
    new = two.cloud.sessions._by_user[user_id(ANN)]
    assert new.apps.states() == {}, "it has answered in time"
    new.audio.transcripts.add("said since", ["en-US"], 0, 0, id=f"u{next(new.audio.hearing._ids)}")
    await eventually(lambda: PACKAGE in new.apps.states() or "the app is not there", 6.0)
    assert old.ownership.state is OwnershipState.MOVED
    assert clouds.sessions_of() == [new]
    running = new.apps.find(PACKAGE)
    assert running is not None
    assert new.apps.subscriptions_of(running) == ["VAD", "transcription:en-US"]
    found = new.audio.transcripts.find(0, 1e12, None)
    assert [segment.text for segment in found] == ["said before", "said since"]
    assert found[0].id != found[1].id, "a name was given twice"
    assert await first.closed_with() == 4001
    back = await two.app()
    assert (await back.until("tpa_connection_ack"))["subscriptions"] == ["VAD", "transcription:en-US"]
    assert clouds.bridge.leaves == []


async def test_a_user_that_moves_on_takes_along_what_has_not_come_yet(
    scene: tuple[Clouds, list[AppStage]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first owner by way of one that still waits for it, to a third one."""
    clouds, (one, two, three) = scene
    first = await one.phone(query=numbered(1))
    await one.running("VAD")
    slow(two, monkeypatch, before=1.0)
    await two.phone(query=numbered(2))
    third = await three.phone(query=numbered(3))
    assert id_of(third) == id_of(first)
    session = three.cloud.sessions._by_user[user_id(ANN)]
    await eventually(lambda: PACKAGE in session.apps.states() or "the app is not there", 6.0)
    await eventually(lambda: clouds.sessions_of() == [session] or "two sessions")
    await eventually(lambda: client_of(two).silent(user_id(ANN)) == frozenset() or "two still waits", 6.0)
    assert clouds.sessions_of() == [session]


async def test_a_user_that_moves_on_before_the_first_owner_has_answered_keeps_its_id(
    scene: tuple[Clouds, list[AppStage]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second owner has claimed the user and cannot say yet which session that is."""
    _, (one, two, three) = scene
    first = await one.phone(query=numbered(1))
    for stage in (two, three):
        slow(stage, monkeypatch, before=5.0)
    second = asyncio.create_task(two.phone(query=numbered(2)))
    await eventually(lambda: bool(client_of(two).silent(user_id(ANN))) or "two does not ask")
    third = await three.phone(query=numbered(3))
    assert id_of(third) == id_of(first)
    second.cancel()
    await asyncio.wait({second})


async def owns(directory: Directory, owner: Owner, stage: Stage) -> None:
    """By the directory, as this cloud reads it, the user belongs to `owner`, in the session `the-old-one`."""
    await directory.renew(Node(owner, NodeState.SERVING, 1), 60.0, (), TIME)
    await eventually(lambda: owner in stage.cloud.sessions.keeper.others or "not seen")
    await directory.claim(replace(claim(owner, session="the-old-one"), user=user_id(ANN)), TIME)


async def test_a_living_owner_that_never_answers_costs_no_id(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it is given up nothing of it is kept; it is not asked for ever."""
    monkeypatch.setattr(handover, "LATE_TIME", 0.8)
    directory = connect()
    silent = await asyncio.start_server(lambda _reader, _writer: asyncio.sleep(0), "127.0.0.1", 0)
    owner = Owner("deaf", "deaf-1", f"127.0.0.1:{silent.sockets[0].getsockname()[1]}")
    async with clouds_of(connect, count=1) as clouds:
        [stage] = clouds.stages
        await owns(directory, owner, stage)
        phone = await stage.phone(query=numbered(1))
        assert id_of(phone) == "the-old-one"
        assert client_of(stage).silent(user_id(ANN)) == {owner}
        await eventually(lambda: client_of(stage).silent(user_id(ANN)) == frozenset() or "still waited for")
        again = await stage.phone(query=numbered(2))
        assert id_of(again) == "the-old-one"
        assert client_of(stage)._searches == {}
    silent.close()


async def test_an_owner_that_refuses_the_connection_is_gone(connect: Connect) -> None:
    """As after kill -9: nothing can come, and the session begins anew at once."""
    directory = connect()
    owner = Owner("gone", "gone-1", "127.0.0.1:1")
    async with clouds_of(connect, count=1) as clouds:
        [stage] = clouds.stages
        await owns(directory, owner, stage)
        phone = await stage.phone(query=numbered(1))
        assert id_of(phone) != "the-old-one"
        assert not phone.of_type("connection_ack")[0].get("resumed")


async def test_what_moved_is_remembered_for_a_while(connect: Connect) -> None:
    """A new owner that has not heard the answer may ask again; then what was kept is let go."""
    async with clouds_of(connect) as clouds:
        one, two = clouds.stages
        await one.phone(query=numbered(1))
        await two.phone(query=numbered(2))
        sessions, owner = one.cloud.sessions, two.cloud.sessions.keeper.owner
        asked = wire.HandOverRequest(
            user=ANN, asked=sessions.keeper.owner.incarnation, node=owner.node, incarnation=owner.incarnation,
            address=owner.address, epoch=9_000_000_000_000,
        )  # fmt: skip
        again = await sessions.give(asked)
        assert (again.session, again.incarnation) == (clouds.sessions_of()[0].id, owner.incarnation)
        clock = sessions._world.monotonic
        object.__setattr__(sessions, "_world", replace(sessions._world, monotonic=shifted(clock, 60.0)))
        assert (await sessions.give(asked)).session == ""
        assert sessions._parted == {}


def shifted(clock: Callable[[], float], seconds: float) -> Callable[[], float]:
    return lambda: clock() + seconds


async def test_a_claim_that_the_directory_missed_just_before_it_came_back_is_written_down(
    scene: tuple[Clouds, list[AppStage]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All claims were restored while this one was still being made."""
    clouds, (one, two, _) = scene
    await one.phone(query=numbered(1))
    keeper = two.cloud.sessions.keeper

    async def miss(_wanted: Claim) -> None:
        return None

    monkeypatch.setattr(keeper, "_ask_directory", miss)
    await two.phone(query=numbered(2))

    def held() -> bool | str:
        states = [session.ownership.state for session in clouds.sessions_of()]
        return states == [OwnershipState.HELD] or str(states)

    await eventually(held)
    found = await keeper._directory.find(user_id(ANN), TIME)
    assert found is not None
    assert found.owner == keeper.owner
