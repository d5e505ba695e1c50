"""A cloud with apps on real sockets: an app's server that keeps the webhooks it gets, bare app sockets, a bridge that
plays what a test tells it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from types import MappingProxyType
from typing import Any

import jwt
from aiohttp import web

from glassbridge.cloud.app import Cloud
from glassbridge.cloud.apps.registry import AppRecord, StaticRegistry
from glassbridge.cloud.apps_config import AppsConfig
from glassbridge.core.app_settings import Schema
from glassbridge.core.app_times import AppTimes
from glassbridge.core.connections import ConnectionLimits
from glassbridge.core.subscriptions import Permission
from glassbridge.speech.voice import Voice
from glassbridge.wire.app_keys import SIGNATURE_HEADER, hash_key, signer
from tests.cloud.client import Client
from tests.cloud.conftest import ANN, SECRET, ScriptedRecogniser, Stage, cloud_config
from tests.support.poll import eventually
from tests.support.scripted_bridge import ScriptedBridge, our_contract
from tests.support.scripted_rooms import ScriptedRooms

PACKAGE = "com.example.test-app"
DEAF = "com.example.deaf"
KEY = "the-api-key-of-the-test-app"
QUICK = AppTimes(grace=0.3, start=3.0, revival=6.0, connect=1.0, settled=30.0)


class AppsServer:
    """The server of all test apps."""

    def __init__(self) -> None:
        self.webhooks: list[dict[str, Any]] = []
        self.signed: list[bool] = []
        self.status = 200
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def start(self) -> None:
        """Listens; after stop() on the same port as before."""
        app = web.Application()
        app.router.add_post("/webhook", self._webhook)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        self._port = int(self._runner.addresses[0][1])
        self.url = f"http://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _webhook(self, request: web.Request) -> web.Response:
        body = await request.read()
        at = float(request.headers[SIGNATURE_HEADER].split(",")[0].removeprefix("t="))
        self.signed.append(signer(KEY).signed(body, request.headers[SIGNATURE_HEADER], at))
        self.webhooks.append(json.loads(body))
        return web.Response(status=self.status)

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [webhook for webhook in self.webhooks if webhook["type"] == kind]

    async def until(self, kind: str, count: int = 1, within: float = 5.0) -> dict[str, Any]:
        """The `count`-th webhook of this type, once it is there."""
        await eventually(lambda: len(self.of_type(kind)) >= count or f"{count} x {kind}: {self.webhooks}", within)
        return self.of_type(kind)[count - 1]


class App(Client):
    """A bare app socket."""

    def heard(self, stream: str) -> list[dict[str, Any]]:
        """What came of a stream."""
        return [message["data"] for message in self.of_type("data_stream") if message["data"]["type"] == stream]

    async def until_heard(self, stream: str, count: int = 1, within: float = 5.0) -> dict[str, Any]:
        """The `count`-th of a stream, once it is there."""
        await eventually(lambda: len(self.heard(stream)) >= count or f"{count} x {stream}; told {self.told}", within)
        return self.heard(stream)[count - 1]

    async def say(self, kind: str, **fields: Any) -> None:
        await self.socket.send_json({"type": kind, "packageName": PACKAGE, **fields})

    async def subscribe(self, *streams: str) -> dict[str, Any]:
        """Returns the acknowledgement."""
        number = len(self.of_type("subscription_ack")) + 1
        await self.say("subscription_update", subscriptions=list(streams), requestId=str(number))
        return await self.until("subscription_ack", number)


class PlayingBridge(ScriptedBridge):
    """Also takes PlayAudio and StopAudio: `plays` holds for each request the queue of what its stream does next: an
    event's fields, or None to end it."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []
        self.plays: dict[str, asyncio.Queue[dict[str, Any] | None]] = {}
        self.stops: list[Any] = []

    def _handlers(self) -> dict[str, Any]:
        import grpc

        c = our_contract()
        return super()._handlers() | {
            "PlayAudio": grpc.unary_stream_rpc_method_handler(
                self._play, c.PlayAudioRequest.FromString, type(self)._serialize
            ),
            "StopAudio": grpc.unary_unary_rpc_method_handler(
                self._stop, c.StopAudioRequest.FromString, type(self)._serialize
            ),
        }

    async def _play(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.requests.append(request)
        queue = self.plays[request.request_id] = asyncio.Queue()
        while (event := await queue.get()) is not None:
            yield our_contract().PlayAudioEvent(request_id=request.request_id, **event)

    async def _stop(self, request: Any, context: Any) -> Any:
        self.stops.append(request)
        if request.request_id in self.plays:
            self.plays[request.request_id].put_nowait({"type": 3, "error": "stopped"})
            self.plays[request.request_id].put_nowait(None)
        return our_contract().StopAudioResponse(success=True, stopped_request_id=request.request_id)


class AppStage(Stage):
    """A stage with an apps' server and a phone's bridge that plays."""

    def __init__(
        self,
        cloud: Cloud,
        bridge: PlayingBridge,
        recogniser: ScriptedRecogniser,
        rooms: ScriptedRooms,
        apps: AppsServer,
    ) -> None:
        super().__init__(cloud, bridge, recogniser, rooms)
        self.player = bridge
        self.apps = apps
        self.sockets: list[App] = []

    async def app_socket(self, headers: dict[str, str] | None = None, path: str = "/app-ws", read: bool = True) -> App:
        """Connected, but nothing said yet."""
        socket = await self.http.ws_connect(f"{self.url}{path}", headers=headers or {}, max_msg_size=0)
        app = App(socket)
        if read:
            app.read()
        self.sockets.append(app)
        return app

    async def app(self, user: str = ANN, package: str = PACKAGE, key: str = KEY, read: bool = True) -> App:
        """Connected and introduced."""
        app = await self.app_socket(read=read)
        await app.socket.send_json(
            {"type": "tpa_connection_init", "packageName": package, "sessionId": f"{user}-{package}", "apiKey": key}
        )
        return app

    def jwt_headers(
        self, user: str = ANN, package: str = PACKAGE, key: str = KEY, secret: str = SECRET
    ) -> dict[str, str]:
        """How a newer app signs in."""
        token = jwt.encode({"packageName": package, "apiKey": key}, secret, algorithm="HS256")
        return {"Authorization": f"Bearer {token}", "x-user-id": user, "x-session-id": f"{user}-{package}"}

    async def running(self, *streams: str, user: str = ANN) -> App:
        """An app that the phone has started, and that listens."""
        asked = len(self.apps.of_type("session_request"))
        await self.phones[-1].say(type="start_app", packageName=PACKAGE)
        await self.apps.until("session_request", asked + 1)
        app = await self.app(user)
        await app.until("tpa_connection_ack")
        if streams:
            await app.subscribe(*streams)
        return app

    async def close(self) -> None:
        for app in self.sockets:
            await app.close()
        await super().close()


Begin = Callable[..., Any]


@asynccontextmanager
async def app_stages() -> AsyncIterator[Begin]:
    """Gives what starts a stage with the given changes to the configuration of apps, and to that of the `cloud`; `url`
    is where the apps' own server is when it is not the scripted one."""
    async with AsyncExitStack() as stack:

        async def begin(
            times: AppTimes = QUICK,
            url: str = "",
            voice: Voice | None = None,
            recogniser: ScriptedRecogniser | None = None,
            captions: str = "en-US",
            admin_token: str = "",
            cloud: Mapping[str, Any] = MappingProxyType({}),
            body_time: float = 30.0,
            permissions: frozenset[Permission] = frozenset({Permission.MICROPHONE}),
            settings: Schema = (),
            **changes: Any,
        ) -> AppStage:
            bridge, apps = PlayingBridge(), AppsServer()
            await bridge.start()
            stack.push_async_callback(bridge.stop)
            await apps.start()
            stack.push_async_callback(apps.stop)
            at = url or apps.url
            records = [
                AppRecord(
                    package=PACKAGE,
                    url=at,
                    key_hash=hash_key(KEY),
                    permissions=permissions,
                    name="Test",
                    settings=settings,
                ),
                AppRecord(package=DEAF, url=at, key_hash=hash_key(KEY)),
            ]
            records = [record.with_key(KEY) for record in records]
            rooms = await stack.enter_async_context(ScriptedRooms())
            apps_config = AppsConfig(times=times, **changes)
            more = {"connections": ConnectionLimits(body_time=body_time)} | dict(cloud)
            config = cloud_config(bridge, rooms, apps=apps_config, captions=captions, admin_token=admin_token, **more)
            recogniser = recogniser or ScriptedRecogniser()
            running = await stack.enter_async_context(Cloud(config, recogniser, StaticRegistry(*records), voice))
            built = AppStage(running, bridge, recogniser, rooms, apps)
            stack.push_async_callback(built.close)
            return built

        yield begin
