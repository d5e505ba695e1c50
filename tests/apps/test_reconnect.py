"""The SDK against a cloud that is killed, started anew, and does not know what it knew: scripted, frame by frame."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from glassbridge.app import AppServer, PlaybackFailed, Session
from glassbridge.app import link as app_link
from glassbridge.app import socket as app_socket
from glassbridge.runtime.tasks import TaskGroup, cancelled
from glassbridge.runtime.world import REAL
from glassbridge.wire import apps as wire
from tests.support.patience import patient
from tests.support.poll import eventually, stays

PACKAGE, SESSION = "com.example.app", "ann-com.example.app"


class ScriptedCloud:
    """Answers each connection with the next of `script`: "ack", "anew" (an ack of a cloud that was started anew),
    "pings" (an ack that promises pongs), "silence", or the code of an error. Says nothing more, no pong either."""

    def __init__(self) -> None:
        self.script: list[str] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.heard: list[dict[str, Any]] = []
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/app-ws", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            self.cut()
            await runner.cleanup()

    def cut(self) -> None:
        """As a kill does: no close frame."""
        for socket in self.sockets:
            transport = socket.get_extra_info("transport") or getattr(socket._req, "transport", None)
            if transport is not None:
                transport.abort()

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.heard if message["type"] == kind]

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        what = self.script.pop(0) if self.script else "ack"
        if what in ("ack", "anew", "pings"):
            resumed = len(self.sockets) > 1 and what != "anew"
            ack = {"type": "tpa_connection_ack", "sessionId": SESSION, "resumed": resumed, "pings": what == "pings"}
            await socket.send_json(ack)
        elif what != "silence":
            await socket.send_json({"type": "tpa_connection_error", "code": what, "message": "no"})
            await socket.close(code=1008)
        async for message in socket:
            self.heard.append(json.loads(message.data))
        return socket


class Scene:
    def __init__(self, cloud: ScriptedCloud, server: AppServer, http: aiohttp.ClientSession) -> None:
        self.cloud, self.server, self.http = cloud, server, http
        self.begun: list[Session] = []
        self.ended: list[str] = []
        server.on_session(self.begun.append)
        server.on_stop(lambda _session, why: self.ended.append(why))

    async def ask(self, kind: str = "session_request", **fields: Any) -> None:
        """The cloud's webhook."""
        asked = {"type": kind, "sessionId": SESSION, "userId": "ann", **fields}
        asked["mentraOSWebsocketUrl"] = f"ws://127.0.0.1:{self.cloud.port}/app-ws"
        async with self.http.post(f"http://127.0.0.1:{self.server.port}/webhook", json=asked) as answer:
            assert answer.status == 200

    async def begin(self) -> Session:
        """A session that has begun."""
        await self.ask()
        await eventually(lambda: len(self.begun) == 1 or "it does not begin")
        return self.begun[0]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    cloud = ScriptedCloud()
    await cloud.start()
    server = AppServer(PACKAGE, "key", port=0, unsigned_from=("127.0.0.1",))
    async with server, aiohttp.ClientSession() as http:
        yield Scene(cloud, server, http)
    await cloud.stop()


@pytest.mark.parametrize("code", ["SESSION_NOT_FOUND", "APP_NOT_STARTED"])
async def test_a_cloud_that_was_started_anew_asks_and_the_session_goes_on(scene: Scene, code: str) -> None:
    session = await scene.begin()
    voices = list[bool]()
    session.on_vad(voices.append)
    await eventually(lambda: len(scene.cloud.of_type("subscription_update")) == 1 or "not subscribed")
    playing = asyncio.create_task(session.play("http://x.test/a.wav"))
    await eventually(lambda: len(scene.cloud.of_type("audio_play_request")) == 1 or "not asked")
    scene.cloud.script = [code, "anew"]
    scene.cloud.cut()
    await eventually(lambda: len(scene.cloud.sockets) == 2 or "it does not try")
    # it does not try again by itself: it was told that nobody waits for it
    await stays(lambda: len(scene.cloud.sockets) == 2 or "it tries again", 0.3)
    await scene.ask()
    await eventually(lambda: session.connected or "it does not come when asked")
    await eventually(lambda: len(scene.cloud.of_type("subscription_update")) == 2 or "not subscribed again")
    with pytest.raises(PlaybackFailed, match="anew"):
        await playing
    assert scene.begun == [session]
    assert not scene.ended


async def test_a_cloud_that_is_down_is_tried_until_it_is_back(scene: Scene) -> None:
    session = await scene.begin()
    await scene.cloud.stop()
    await eventually(lambda: not session.connected or "not noticed")
    sending = asyncio.create_task(session.layouts.show_text("still here"))
    await scene.cloud.start()
    await sending
    await eventually(lambda: len(scene.cloud.of_type("display_event")) == 1 or "not shown")


async def test_a_cloud_that_never_comes_back_ends_the_session(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_link, "GIVE_UP", 0.3)
    await scene.begin()
    await scene.cloud.stop()
    await eventually(lambda: len(scene.ended) == 1 or "it goes on for ever")
    assert not scene.server.sessions


async def test_a_stop_by_webhook_ends_only_what_is_not_connected_and_not_newer(scene: Scene) -> None:
    await scene.ask(timestamp=1000)
    await eventually(lambda: len(scene.begun) == 1 or "it does not begin")
    await scene.ask("stop_request", reason="user_disabled", timestamp=2000)
    assert scene.begun[0].connected  # its socket would have told it
    await scene.cloud.stop()
    await eventually(lambda: not scene.begun[0].connected or "not noticed")
    await scene.ask("stop_request", reason="user_disabled", timestamp=999)
    assert not scene.ended
    await scene.ask("stop_request", reason="user_disabled", timestamp=3000)
    await eventually(lambda: scene.ended == ["user_disabled"] or str(scene.ended))


async def test_a_cloud_that_says_nothing_is_left_and_tried_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_link, "ACKNOWLEDGED_WITHIN", patient(0.2))
    scene.cloud.script = ["silence", "ack"]
    session = await scene.begin()
    assert session.connected
    assert len(scene.cloud.sockets) == 2


@pytest.mark.parametrize("promised", [True, False])
async def test_only_a_cloud_that_answers_pings_is_missed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, promised: bool
) -> None:
    """It is gone right after it let the app in, before any pong."""
    monkeypatch.setattr(app_socket, "PING_AFTER", 0.2)
    monkeypatch.setattr(app_socket, "SILENCE", 0.5)
    scene.cloud.script = ["pings" if promised else "ack"]
    await scene.begin()
    if promised:
        await eventually(lambda: len(scene.cloud.sockets) == 2 or "it is not missed")
    else:
        await eventually(lambda: len(scene.cloud.of_type("ping")) >= 5 or "it does not ping")
        assert len(scene.cloud.sockets) == 1


async def test_a_socket_that_is_left_is_released_even_if_it_was_closing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listening has ended, and is cancelled while it cleans up."""
    close = TaskGroup.close

    async def close_slowly(tasks: TaskGroup) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await close(tasks)

    monkeypatch.setattr(TaskGroup, "close", close_slowly)
    init = wire.ConnectionInit(package_name=PACKAGE, session_id=SESSION, api_key="k")
    link = app_link.CloudLink(f"ws://127.0.0.1:{scene.cloud.port}/app-ws", init, lambda _: None, lambda _: None, REAL)
    socket = await app_socket.AppSocket.open(link._url, init, REAL)
    link._leave.set()
    await link._attend(socket)
    assert socket._http.closed
    monkeypatch.undo()


@pytest.mark.parametrize("gone_while", ["opening", "listening"])
async def test_a_socket_that_breaks_leaves_no_connection_for_the_collector(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, gone_while: str
) -> None:
    """aiohttp complains of each that it finds, and holds it until then."""
    sockets = []
    connections: list[Any] = []
    connect = aiohttp.BaseConnector.connect

    async def counted(*args: Any, **options: Any) -> Any:
        connections.append(await connect(*args, **options))
        return connections[-1]

    async def broken(socket: Any, *_: Any) -> None:
        sockets.append(socket)  # as a traceback holds it
        raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")

    monkeypatch.setattr(aiohttp.BaseConnector, "connect", counted)
    init = wire.ConnectionInit(package_name=PACKAGE, session_id=SESSION, api_key="k")
    url = f"ws://127.0.0.1:{scene.cloud.port}/app-ws"
    if gone_while == "opening":
        monkeypatch.setattr(aiohttp.ClientWebSocketResponse, "send_str", broken)
        with pytest.raises(app_socket.Unreachable):
            await app_socket.AppSocket.open(url, init, REAL)
    else:
        socket = await app_socket.AppSocket.open(url, init, REAL)
        listening = asyncio.create_task(socket.listen(lambda _: None, lambda _: None))
        await asyncio.sleep(0)
        await cancelled(listening)
        await socket.release()
    assert {connection.protocol for connection in connections} == {None}
