"""The console and the admin API of one cloud show all of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from glassbridge.cloud.other_clouds import ASK_TIME
from glassbridge.cloud.relay import RelayedAnswer
from glassbridge.cluster.address import read_address
from glassbridge.cluster.directory import Directory
from glassbridge.cluster.memory import MemoryDirectory
from glassbridge.cluster.valkey import ValkeyDirectory
from glassbridge.core.merged_rows import merge_rows
from glassbridge.core.ownership import Owner
from glassbridge.lab.links import ByteLink
from tests.cloud.conftest import ANN, Stage
from tests.cluster.clouds import Clouds, clouds_of
from tests.cluster.conftest import Connect
from tests.cluster.test_moving import numbered
from tests.support.patience import deadline, patient
from tests.support.poll import eventually
from tests.support.valkey import Valkey

TOKEN = "an-admin-token-of-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
async def clouds(connect: Connect) -> AsyncIterator[Clouds]:
    async with clouds_of(connect, count=3, admin_token=TOKEN) as clouds:
        await eventually(lambda: all(len(one.cloud.sessions.keeper.nodes) == 3 for one in clouds.stages) or "alone", 10)
        yield clouds


async def ask(stage: Stage, path: str, method: str = "GET", **options: Any) -> Any:
    headers = options.pop("headers", BEARER)
    async with stage.http.request(method, f"{stage.url}/api/admin/{path}", headers=headers, **options) as answer:
        body = await answer.json()
        assert answer.status == 200, body
        return body["data"]


def node_of(stage: Stage) -> str:
    return stage.cloud.sessions.keeper.owner.node


def row(id_: str, user: str = "ann", epoch: int = 1, ended: int | None = None, started: int = 0) -> dict[str, Any]:
    now = {"state": "live", "light": "ok"}
    return {"id": id_, "user": user, "epoch": epoch, "ended_ms": ended, "started_ms": started} | now


def test_a_session_belongs_to_one_cloud() -> None:
    [found] = merge_rows({"a": [row("s", epoch=1)], "b": [row("s", epoch=2)]})
    assert (found["node"], found["state"]) == ("b", "live")
    [found] = merge_rows({"a": [row("s", epoch=1, ended=9)], "b": [row("s", epoch=2)]})
    assert (found["node"], found["ended_ms"]) == ("b", None)
    [found] = merge_rows({"a": [row("s", epoch=3, ended=9)], "b": [row("s", epoch=2)]})
    assert (found["node"], found["ended_ms"]) == ("a", 9)
    [found] = merge_rows({"b": [row("s", ended=9)], "a": [row("s")]})
    assert (found["node"], found["ended_ms"]) == ("a", None)


def test_a_user_has_one_session_that_lives() -> None:
    rows = merge_rows({"a": [row("old", epoch=1, started=1)], "b": [row("new", epoch=2, started=2)]})
    assert [(one["id"], one["state"], one["light"]) for one in rows] == [("new", "live", "ok"), ("old", "moved", "off")]


async def test_each_cloud_lists_the_sessions_of_all(clouds: Clouds) -> None:
    for at, stage in enumerate(clouds.stages):
        await stage.phone(user=f"user{at}@example.com", query=numbered(1, phone=f"phone-{at}"))
    for stage in clouds.stages:
        told = await ask(stage, "sessions?ended=false")
        where = {one["user"]: one["node"] for one in told["sessions"]}
        assert where == {f"user{at}@example.com": node_of(one) for at, one in enumerate(clouds.stages)}
        assert [(one["answered"], one["sessions"]) for one in told["nodes"]] == [(True, 1)] * 3
        assert {one["node"] for one in told["nodes"]} == {node_of(one) for one in clouds.stages}
        [only] = (await ask(stage, "sessions?user=user1@example.com"))["sessions"]
        assert only["node"] == node_of(clouds.stages[1])
        timeline = await ask(stage, f"sessions/{only['id']}/timeline")
        assert timeline["session"]["user"] == "user1@example.com"


@pytest.mark.slow
async def test_a_session_that_moves_is_listed_once(clouds: Clouds) -> None:
    """And is never missing, whichever cloud is asked."""
    await clouds.stages[0].phone(query=numbered(1))
    [session] = clouds.sessions_of()
    seen: list[str] = []
    moving = True

    async def look(stage: Stage) -> None:
        while moving:
            rows = (await ask(stage, "sessions"))["sessions"]
            assert [one["id"] for one in rows] == [session.id]
            seen.append(rows[0]["node"])

    lookers = [asyncio.create_task(look(stage)) for stage in clouds.stages]
    try:
        for attempt in range(2, 12):
            await clouds.stages[attempt % 3].phone(query=numbered(attempt))
    finally:
        moving = False
        await asyncio.gather(*lookers)
    assert len(set(seen)) == 3
    newest = clouds.stages[11 % 3]
    rows = (await ask(clouds.stages[0], "sessions"))["sessions"]
    assert [(one["node"], one["ended_ms"]) for one in rows] == [(node_of(newest), None)]


@pytest.mark.parametrize(
    "data", [{}, {"sessions": 1}, {"sessions": [{"id": "s"}]}, {"sessions": [row("s", epoch=1) | {"user": 7}]}]
)
async def test_a_cloud_of_another_version_is_named_and_hides_nobody_else(data: dict[str, Any]) -> None:
    async with clouds_of(MemoryDirectory, 1, admin_token=TOKEN) as clouds:
        [one] = clouds.stages
        await one.phone(query=numbered(1))
        other = Owner("another", "another-1", "127.0.0.1:1")
        one.cloud.sessions.keeper.met(other)

        async def whole(*_asked: Any) -> RelayedAnswer:
            return RelayedAnswer(200, {}, json.dumps({"data": data}).encode())

        one.cloud._relay.whole = whole  # type: ignore[method-assign,assignment]
        told = await ask(one, "sessions")
        assert [row["user"] for row in told["sessions"]] == [ANN]
        assert {row["node"]: row["answered"] for row in told["nodes"]} == {node_of(one): True, "another": False}


@pytest.mark.slow
async def test_a_cloud_that_does_not_answer_is_named_and_waited_for_no_longer(clouds: Clouds) -> None:
    one, two, _ = clouds.stages
    await two.phone(query=numbered(1))
    silent = await asyncio.start_server(lambda _reader, _writer: asyncio.sleep(9), "127.0.0.1", 0)
    keeper = one.cloud.sessions.keeper
    port = silent.sockets[0].getsockname()[1]
    address = clouds.stages[1].cloud.sessions.keeper.owner.address
    whole = one.cloud._relay.whole

    async def elsewhere(request: Any, to: str, *rest: Any) -> Any:
        return await whole(request, f"127.0.0.1:{port}" if to == address else to, *rest)

    one.cloud._relay.whole = elsewhere  # type: ignore[method-assign,assignment]
    begun = monotonic()
    told = await ask(one, "sessions")
    assert monotonic() - begun < patient(ASK_TIME + 0.25)
    assert {row["node"]: row["answered"] for row in told["nodes"]} == {
        node_of(stage): stage is not two for stage in clouds.stages
    }
    assert keeper.owner.node in {row["node"] for row in told["nodes"]}
    silent.close()


@pytest.mark.slow
async def test_a_cloud_that_lost_the_directory_is_listed_all_the_same(tmp_path: Path) -> None:
    """Its lease has ended, and its users speak on."""
    async with Valkey(tmp_path) as server, AsyncExitStack() as stack:
        way = await stack.enter_async_context(ByteLink())
        url = f"valkey://127.0.0.1:{await way.to(server.port)}"
        clouds = await stack.enter_async_context(clouds_of(lambda: opened(server.url), 1, admin_token=TOKEN))
        cut_off = await clouds.add(opened(url), admin_token=TOKEN)
        await cut_off.phone(query=numbered(1))
        stays = clouds.stages[0]
        await eventually(lambda: len(stays.cloud.sessions.keeper.nodes) == 2 or "alone", 10)
        way.drop()
        await eventually(lambda: len(stays.cloud.sessions.keeper.nodes) == 1 or "its lease goes on", 15)
        told = await ask(stays, "sessions?ended=false")
        assert [(row["user"], row["node"]) for row in told["sessions"]] == [(ANN, node_of(cut_off))]
        assert {row["node"]: row["answered"] for row in told["nodes"]} == {node_of(stays): True, node_of(cut_off): True}
        way.heal()


def opened(url: str) -> Directory:
    return ValkeyDirectory(read_address(url))


@pytest.mark.slow
async def test_the_live_view_shows_all_and_watches_any(clouds: Clouds) -> None:
    one, two, three = clouds.stages
    await two.phone(query=numbered(1))
    [session] = clouds.sessions_of()
    await three.phone(user="bob@example.com", query=numbered(1, phone="phone-of-bob"))
    url = f"{one.url}/api/admin/live?watch={session.id}"
    async with one.http.get(url, headers=BEARER) as response, deadline(10):
        users: set[str] = set()
        watched = None
        while not (users == {ANN, "bob@example.com"} and watched):
            line = await response.content.readline()
            assert line, "the stream has ended"
            if line.startswith(b"data: "):
                message = json.loads(line[6:])
                users |= {row["user"] for row in message["sessions"]}
                watched = message["watched"] or watched
                assert all(node["answered"] for node in (message["overview"] or {}).get("nodes", ()))
    assert watched["session"]["id"] == session.id


@pytest.mark.slow
async def test_a_sign_in_ends_everywhere(clouds: Clouds) -> None:
    one, two, three = clouds.stages
    async with one.http.post(f"{one.url}/api/admin/login", json={"token": TOKEN}) as answer:
        assert answer.status == 200
        id_ = (await answer.json())["data"]["id"]
        cookie = {"Cookie": f"glassbridge_admin={answer.cookies['glassbridge_admin'].value}"}
    await ask(two, "sessions", headers=cookie)
    assert [found["id"] for found in (await ask(three, "sign-ins"))["signIns"]] == [id_]
    await ask(three, f"sign-ins/{id_}", "DELETE")
    for stage in clouds.stages:
        async with stage.http.get(f"{stage.url}/api/admin/sessions", headers=cookie) as answer:
            assert answer.status == 401
