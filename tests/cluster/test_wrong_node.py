"""Requests that reach a cloud which does not have their user, or their sound: served all the same."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from time import time
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp.test_utils import make_mocked_request

from glassbridge.cloud import relay, user_requests
from glassbridge.cloud.auth import mint_core_token
from glassbridge.cloud.reference import OPERATIONS
from glassbridge.cloud.relay import HEADER
from glassbridge.cluster.directory import Directory, DirectoryAway
from glassbridge.cluster.memory import MemoryDirectory
from glassbridge.core import moving
from glassbridge.core.app_session import AppState
from glassbridge.core.lease import LeaseState
from glassbridge.core.ownership import Owner
from glassbridge.core.values import user_id
from glassbridge.runtime.world import REAL
from glassbridge.wire.app_keys import DIGEST_HEADER, SIGNATURE_HEADER, signer, sound_claim
from tests.cloud.app_stage import KEY, PACKAGE, App, AppsServer
from tests.cloud.conftest import ANN, SECRET, Stage
from tests.cluster.clouds import Clouds, clouds_of, clouds_with_app
from tests.cluster.conftest import Connect
from tests.cluster.test_late import owns
from tests.cluster.test_moving import numbered
from tests.support.patience import deadline, patient
from tests.support.poll import eventually

# Made when the suite is collected: it has to outlive that.
BEARER = {"Authorization": f"Bearer {mint_core_token(user_id(ANN), SECRET, 86_400.0)}"}


UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
           "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip


class Scene:
    """Some clouds, and a server of apps."""

    def __init__(self, clouds: Clouds, apps: AppsServer) -> None:
        self.clouds = clouds
        self.apps = apps

    @property
    def stages(self) -> list[Stage]:
        return self.clouds.stages

    async def ask(self, at: int, path: str, method: str = "GET", **options: Any) -> tuple[int, Any]:
        stage = self.stages[at]
        async with stage.http.request(method, stage.url + path, headers=BEARER, **options) as answer:
            return answer.status, await answer.json()

    async def has_app(self, at: int = 0) -> None:
        phone = await self.stages[at].phone(query=numbered(1))
        await phone.say(type="start_app", packageName=PACKAGE)
        await self.apps.until("session_request")


@pytest.fixture
async def scene(connect: Connect) -> AsyncIterator[Scene]:
    """The clock of the third cloud is wrong by an hour."""
    worlds = [REAL, REAL, replace(REAL, wall=lambda: time() + 3600)]
    async with clouds_with_app(worlds, connect) as (clouds, stages):
        await eventually(lambda: all(len(one.cloud.sessions.keeper.nodes) == 3 for one in stages) or "alone", 10)
        yield Scene(clouds, stages[0].apps)


async def test_each_cloud_serves_the_rest_of_each_user(scene: Scene) -> None:
    await scene.has_app()
    [session] = scene.clouds.sessions_of()
    session.audio.transcripts.add("said before", ["en-US"], 0, 500)
    for at in range(3):
        status, told = await scene.ask(at, "/api/client/transcripts")
        assert (status, [one["text"] for one in told["data"]["segments"]]) == (200, ["said before"])
        model = {"modelName": f"Glasses {at}", "connected": True}
        status, told = await scene.ask(at, "/api/client/device/state", "POST", json=model)
        assert (status, told["data"]["modelName"]) == (200, f"Glasses {at}")
        assert session.apps.devices.glasses.model == f"Glasses {at}"
        status, told = await scene.ask(at, "/api/client/apps")
        assert (status, told["data"][0]["state"]) != (200, "absent"), "it is told where the app is not"
        assert (await scene.ask(at, "/api/client/location", "POST", json={"lat": 1, "lng": 2}))[0] == 200
    assert (await scene.ask(2, f"/apps/{PACKAGE}/stop", "POST"))[0] == 200
    assert session.apps.states().get(PACKAGE) in (None, AppState.STOPPED)


@pytest.mark.slow
async def test_a_user_of_no_cloud_is_told_so_at_once(scene: Scene) -> None:
    status, told = await scene.ask(1, "/api/client/transcripts")
    assert (status, told["error"]["code"]) == (503, "SESSION_NOT_FOUND")
    assert (await scene.ask(1, "/api/client/apps"))[0] == 200
    stage = scene.stages[1]
    async with stage.http.get(f"{stage.url}/api/client/transcripts") as answer:
        assert answer.status == 401


@pytest.mark.slow
async def test_while_the_user_moves_each_request_is_served(scene: Scene) -> None:
    """The phone goes from cloud to cloud, and a program of the user's asks all of them all the time."""
    await scene.has_app()
    asked: list[int] = []
    moving = True

    async def keep_asking(at: int) -> None:
        while moving:
            status, told = await scene.ask(at, "/api/client/location", "POST", json={"lat": 1, "lng": 2})
            assert status == 200, told
            asked.append(at)

    askers = [asyncio.create_task(keep_asking(at)) for at in range(3)]
    try:
        for attempt in range(2, 14):
            await scene.stages[attempt % 3].phone(query=numbered(attempt))
            await asyncio.sleep(0)
    finally:
        moving = False
        await asyncio.gather(*askers)
    assert {0, 1, 2} == set(asked)


@pytest.mark.slow
async def test_while_the_directory_is_away_all_clouds_are_asked(scene: Scene) -> None:
    await scene.has_app()
    for stage in scene.stages:
        stage.cloud.sessions.keeper._lease.state = LeaseState.AWAY
    for at in range(3):
        assert (await scene.ask(at, "/api/client/transcripts"))[0] == 200
    scene.stages[0].cloud.sessions.keeper._lease.state = LeaseState.AWAY
    status, _ = await scene.ask(2, f"/apps/{PACKAGE}/stop", "POST")
    assert status == 200


class Away:
    """A directory that one cloud cannot reach."""

    def __init__(self, directory: Directory) -> None:
        self.close = directory.close

    def __getattr__(self, name: str) -> Any:
        async def refuse(*_args: object) -> None:
            raise DirectoryAway(name)

        return refuse


@pytest.mark.slow
async def test_a_user_who_moved_to_a_cloud_without_the_directory_is_found(scene: Scene) -> None:
    """The directory still names the former owner, which knows better."""
    await scene.has_app()
    keeper = scene.stages[1].cloud.sessions.keeper
    keeper._directory = Away(keeper._directory)
    await eventually(lambda: keeper.state is not LeaseState.HELD or "still trusted", 10)
    await scene.stages[1].phone(query=numbered(2))
    await eventually(lambda: scene.stages[1].cloud.sessions.is_here(user_id(ANN)) or "not moved")
    for at in range(3):
        assert (await scene.ask(at, "/api/client/transcripts"))[0] == 200


async def test_an_answer_that_ends_half_way_ends_the_connection() -> None:
    """What was missing of a sound was an error of ours in JSON, with a head of its own."""

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: 1000\r\n\r\nhalf of it")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(half, "127.0.0.1", 0)
    async with clouds_of(MemoryDirectory, 1) as clouds:
        [stage] = clouds.stages
        stage.cloud._forwarding.elsewhere = lambda *_: f"127.0.0.1:{server.sockets[0].getsockname()[1]}"  # type: ignore[method-assign]
        async with stage.http.get(f"{stage.url}/api/sounds/x.wav") as answer:
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
    server.close()


@pytest.mark.parametrize("told", ["nowhere:99999", "no address", "[::1:80", "a/b:1"])
async def test_what_is_no_address_of_a_cloud_is_a_cloud_that_cannot_be_reached(told: str) -> None:
    async with clouds_of(MemoryDirectory, 1) as clouds:
        [stage] = clouds.stages
        stage.cloud._forwarding.elsewhere = lambda *_: told  # type: ignore[method-assign]
        async with stage.http.get(f"{stage.url}/api/sounds/x.wav") as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (502, "CLOUD_UNREACHABLE")
        request = make_mocked_request("GET", "/api/client/transcripts", headers=BEARER)
        assert await stage.cloud._relay.whole(request, told, b"", patient(5.0)) is None


@pytest.mark.slow
async def test_an_owner_that_is_dead_is_told_of_in_time(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory names a cloud that was killed."""
    monkeypatch.setattr(user_requests, "FIND_TIME", 0.3)
    async with clouds_of(connect, count=2) as clouds:
        [one, _] = clouds.stages
        await one.phone(query=numbered(1))
        await one.cloud._cluster.aclose()
        scene = Scene(clouds, AppsServer())
        begun = asyncio.get_running_loop().time()
        status, told = await scene.ask(1, "/api/client/transcripts")
        assert (status, told["error"]["code"]) == (503, "SESSION_NOT_FOUND")
        assert asyncio.get_running_loop().time() - begun < patient(2.0)


async def test_an_owner_that_never_answers_is_left_once_the_user_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was killed with its machine, or frozen, and the phone came here meanwhile: the request took 40 s."""
    monkeypatch.setattr(user_requests, "LOOK_FOR_MOVE", 0.1)
    monkeypatch.setattr(user_requests, "ANSWER_TIME", 1e4)
    asked = asyncio.Event()

    async def never(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        if b"/transcripts" in await reader.readuntil(b"\r\n\r\n"):
            asked.set()

    silent = await asyncio.start_server(never, "127.0.0.1", 0)
    owner = Owner("deaf", "deaf-1", f"127.0.0.1:{silent.sockets[0].getsockname()[1]}")
    shared = MemoryDirectory()
    async with clouds_of(lambda: shared, 1) as clouds, deadline(10.0):
        [stage] = clouds.stages
        await owns(shared, owner, stage)
        asking = asyncio.create_task(Scene(clouds, AppsServer()).ask(0, "/api/client/transcripts"))
        await asked.wait()
        await stage.phone(query=numbered(1))
        status, _ = await asking
        assert status == 200
    silent.close()


async def test_a_client_that_takes_no_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cloud that answers has given it up by then; nobody else would."""
    monkeypatch.setattr(relay, "ANSWER_TIMEOUT", 0.3)

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\n\r\n")
        with suppress(ConnectionError):
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()

    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    async with clouds_of(MemoryDirectory, 1) as clouds, deadline(10.0):
        [stage] = clouds.stages
        stage.cloud._forwarding.elsewhere = lambda *_: f"127.0.0.1:{server.sockets[0].getsockname()[1]}"  # type: ignore[method-assign]
        _, writer = await asyncio.open_connection("127.0.0.1", stage.cloud.port, limit=1)
        writer.write(b"GET /api/sounds/x.wav HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(lambda: len(stage.cloud._gate) == 1 or "not there")
        await eventually(lambda: len(stage.cloud._gate) == 0 or "still served", 8)
        writer.close()
    server.close()


@pytest.mark.slow
async def test_nothing_is_relayed_twice_and_nothing_unsigned_is_served(scene: Scene) -> None:
    await scene.has_app()
    status, _ = await scene.ask(1, "/api/client/transcripts")
    assert status == 200
    one, two = scene.stages[:2]
    async with two.http.get(f"{two.url}/api/client/transcripts", headers=BEARER | {HEADER: "1"}) as answer:
        assert answer.status == 503, "a request that says it was relayed was relayed again"
    inside = f"http://{one.cloud.sessions.keeper.owner.address}"
    for headers in (BEARER, BEARER | {HEADER: "0" * 64}, BEARER | {HEADER: "0" * 64, "X-Forwarded-For": "1.2.3.4"}):
        for path in ("/api/client/transcripts", "/livez", "/metrics", "/console"):
            async with one.http.get(inside + path, headers=headers) as answer:
                assert answer.status == 401


@pytest.mark.slow
async def test_the_limits_of_an_address_are_those_of_the_client(scene: Scene) -> None:
    """A cloud that relays is no client."""
    await scene.has_app()
    seen: list[str | None] = []
    routes = scene.stages[0].cloud.api._transcripts
    user_of = routes._user_of

    async def note(request: Any) -> Any:
        seen.append(request.remote)
        return await user_of(request)

    routes._user_of = note
    stage = scene.stages[1]
    headers = BEARER | {"X-Forwarded-For": "9.9.9.9"}
    async with stage.http.get(f"{stage.url}/api/client/transcripts", headers=headers) as answer:
        assert answer.status == 200
    assert seen == ["127.0.0.1"]


def app_headers() -> dict[str, str]:
    token = jwt.encode({"packageName": PACKAGE, "apiKey": KEY}, SECRET, algorithm="HS256")
    return {"Authorization": f"Bearer {token}", "x-user-id": ANN, "x-session-id": f"{ANN}-{PACKAGE}"}


async def open_app(stage: Stage, headers: dict[str, str]) -> App:
    app = App(await stage.http.ws_connect(stage.url.replace("http", "ws") + "/app-ws", headers=headers))
    app.read()
    return app


@pytest.mark.slow
@pytest.mark.parametrize("by_headers", [True, False])
async def test_an_apps_socket_at_the_wrong_cloud_serves_the_app(scene: Scene, by_headers: bool) -> None:
    await scene.has_app()
    app = await open_app(scene.stages[1], app_headers() if by_headers else {})
    if not by_headers:
        init = {"packageName": PACKAGE, "sessionId": f"{ANN}-{PACKAGE}", "apiKey": KEY}
        await app.socket.send_json({"type": "tpa_connection_init", **init})
    assert (await app.until("tpa_connection_ack"))["sessionId"] == f"{ANN}-{PACKAGE}"
    await app.subscribe("VAD")
    await scene.stages[0].phones[-1].say(type="VAD", status=True)
    assert (await app.until_heard("VAD"))["status"] is True


async def test_a_cloud_that_does_not_open_an_apps_socket_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay, "HANDSHAKE_TIME", 0.2)
    silent = await asyncio.start_server(lambda _reader, _writer: asyncio.sleep(0), "127.0.0.1", 0)
    owner = Owner("deaf", "deaf-1", f"127.0.0.1:{silent.sockets[0].getsockname()[1]}")
    shared = MemoryDirectory()
    async with clouds_with_app([REAL], lambda: shared) as (_, [stage]):
        await owns(shared, owner, stage)
        async with deadline(5.0), stage.http.get(f"{stage.url}/app-ws", headers=app_headers() | UPGRADE) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (502, "CLOUD_UNREACHABLE")
    silent.close()


@pytest.mark.slow
async def test_clouds_say_to_each_other_why_they_refuse(scene: Scene) -> None:
    await scene.has_app()
    one, two = scene.stages[:2]
    one.cloud.sessions.stage = moving.CloudStage.DRAINING
    async with two.http.get(f"{two.url}/app-ws", headers=app_headers() | UPGRADE) as answer:
        error = (await answer.json())["error"]
    one.cloud.sessions.stage = moving.CloudStage.SERVING
    assert (answer.status, error["code"]) == (503, "NOT_LET_IN"), error
    request = make_mocked_request("GET", "/api/client/transcripts", headers=BEARER)
    address = two.cloud.sessions.keeper.owner.address
    asked = await one.cloud._relay.whole(request, address, b"", patient(5.0))
    assert asked is not None
    assert (asked.status, json.loads(asked.body)["error"]["code"]) == (421, "MISPLACED")


@pytest.mark.slow
async def test_an_app_that_may_not_in_is_not_let_in_by_another_cloud(scene: Scene) -> None:
    await scene.has_app()
    wrong = app_headers() | {"x-user-id": "bob@example.com"}
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await open_app(scene.stages[1], wrong)
    assert refused.value.status == 401


@pytest.mark.slow
async def test_a_cloud_whose_clock_is_wrong_signs_for_apps_all_the_same(scene: Scene) -> None:
    """A signature counts for five minutes: the directory's clock says when."""
    await scene.has_app(at=2)
    asked = await scene.apps.until("session_request")
    assert abs(asked["timestamp"] / 1000 - time()) < 60


@pytest.mark.slow
async def test_a_sound_is_found_at_any_cloud(scene: Scene) -> None:
    data = b"a sound"
    digest = sha256(data).hexdigest()
    claim = sound_claim(PACKAGE, len(data), digest)
    headers = {SIGNATURE_HEADER: signer(KEY).sign(claim, int(time())), DIGEST_HEADER: digest}
    one = scene.stages[0]
    async with one.http.post(f"{one.url}/api/sounds?app={PACKAGE}", data=data, headers=headers) as answer:
        path = (await answer.json())["data"]["path"]
    for stage in scene.stages:
        for base in ("", stage.cloud._forwarding.base):
            async with one.http.get(f"{stage.url}{base}{path}") as answer:
                assert (answer.status, await answer.read()) == (200, data)
    _, _, name = path.rpartition(".")
    async with one.http.get(f"{scene.stages[1].url}/api/sounds/{name}") as answer:
        assert answer.status == 404


def test_each_route_of_a_user_is_known() -> None:
    """A route that a core token opens belongs to the user's cloud, or is here for a reason."""
    anywhere = {"/api/client/livekit/token"}
    by_token = {path for (_, path), operation in OPERATIONS.items() if operation.auth == "user"}
    assert by_token - anywhere == user_requests.OF_USER


async def test_livekit_tokens_count_by_the_clock_of_the_cluster(scene: Scene) -> None:
    """LiveKit refused those of a cloud whose own clock is an hour off: its users spoke by their sockets alone."""
    phone = await scene.stages[2].socket(query=numbered(1))
    greeting = await phone.until("connection_ack")
    _, told = await scene.ask(2, "/api/client/livekit/token")
    joins = scene.clouds.bridge.joins
    await eventually(lambda: bool(joins) or "the bridge was not asked to join")
    for token in (greeting["livekit"]["token"], told["data"]["token"], joins[0].token):
        begins = jwt.decode(token, options={"verify_signature": False})["nbf"]
        assert abs(begins - time()) < 60
