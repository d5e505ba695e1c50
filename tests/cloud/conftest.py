"""A cloud in this process with real sockets, a scripted bridge and a scripted recogniser; phones to connect to it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from glassbridge.cloud.app import Cloud
from glassbridge.cloud.auth import mint_core_token
from glassbridge.cloud.config import CloudConfig, CloudKeys
from glassbridge.core.admission import Limits
from glassbridge.core.recogniser import Reason, StreamTimes
from glassbridge.core.subscriptions import AUTO
from glassbridge.core.values import user_id
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.speech.base import RecogniserError, Transcript, Want
from tests.cloud.client import Client
from tests.support.grpc_runtime import grpc_is_here
from tests.support.poll import eventually
from tests.support.scripted_bridge import ScriptedBridge
from tests.support.scripted_rooms import ScriptedRooms

__all__ = ["grpc_is_here"]

SECRET = "a-core-token-secret-of-the-tests-0123"
KEYS = LiveKitKeys("testkey", "a-livekit-secret-of-the-tests-0123456")
ANN = "ann@example.com"


class ScriptedStream:
    """Keeps what it is fed; `say` gives a transcript, `fail` ends it."""

    def __init__(
        self, want: Want, on_transcript: Callable[[Transcript], None], on_lost: Callable[[RecogniserError], None]
    ) -> None:
        self.want = want
        self.fed = bytearray()
        self.finished = 0
        self.closed = False
        self.final_text = ""
        """Given as the final transcript by finish()."""
        self._on_transcript = on_transcript
        self.fail = on_lost
        self.dropped_bytes = 0
        self.stalled = self.behind = 0.0
        self.partials: float | None = 0.0

    def feed(self, pcm: bytes) -> None:
        assert len(pcm) % 2 == 0
        self.fed += pcm

    def say(self, text: str, final: bool, original: str | None = None) -> None:
        self._on_transcript(Transcript(text, final, 0, len(self.fed) // 32, original=original))

    async def finish(self) -> None:
        self.finished += 1
        await asyncio.sleep(0)
        if self.final_text:
            self.say(self.final_text, final=True)

    async def close(self) -> None:
        self.closed = True


class ScriptedRecogniser:
    """`refuse` makes open() fail. Knows `languages`, and translates between them once `translates` is true."""

    name = "scripted"
    limits = Limits()
    fits: int | None = None
    stuck = 10.0

    def __init__(self, *languages: str, translates: bool = False, times: StreamTimes | None = None) -> None:
        self.times = times or StreamTimes()
        self.languages = languages or ("en-US",)
        self.translates = translates
        self.streams: list[ScriptedStream] = []
        self.refuse: RecogniserError | None = None

    def serves(self, want: Want) -> Want:
        if want.target is not None and not (self.translates and want.target in self.languages):
            raise RecogniserError("there is no translation here", Reason.UNSUPPORTED)
        if want.language == AUTO:
            return Want(self.languages[0], want.target)
        if want.language not in self.languages:
            raise RecogniserError(f"the recogniser here understands {', '.join(self.languages)}", Reason.UNSUPPORTED)
        return want

    async def open(
        self, want: Want, on_transcript: Callable[[Transcript], None], on_lost: Callable[[RecogniserError], None]
    ) -> ScriptedStream:
        if self.refuse is not None:
            raise self.refuse
        self.streams.append(ScriptedStream(want, on_transcript, on_lost))
        return self.streams[-1]

    def warm_up(self) -> None:
        pass

    async def close(self) -> None:
        pass

    @property
    def fed(self) -> bytes:
        """Everything that any stream was fed."""
        return b"".join(bytes(stream.fed) for stream in self.streams)


class Phone(Client):
    """A bare phone socket."""

    def audio_states(self) -> list[tuple[str, str]]:
        return [(m["state"], m.get("code", "")) for m in self.of_type("audio_state")]

    async def until_state(self, state: str, code: str = "", within: float = 5.0) -> None:
        """Until the newest audio_state is this one."""
        await eventually(
            lambda: self.audio_states()[-1:] == [(state, code)] or f"({state}, {code}); told {self.audio_states()}",
            within,
        )

    async def say(self, **message: Any) -> None:
        await self.socket.send_json(message)


class Stage:
    """The cloud under test and what stands around it."""

    def __init__(
        self, cloud: Cloud, bridge: ScriptedBridge, recogniser: ScriptedRecogniser, rooms: ScriptedRooms
    ) -> None:
        self.cloud = cloud
        self.bridge = bridge
        self.rooms = rooms
        self.recogniser = recogniser
        self.http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self.phones: list[Phone] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.cloud.port}"

    async def phone(self, user: str = ANN, *, query: str = "", path: str = "/glasses-ws", **kwargs: Any) -> Phone:
        """A connected phone that was greeted."""
        phone = await self.socket(user, query=query, path=path, **kwargs)
        await phone.until("connection_ack")
        return phone

    async def socket(self, user: str = ANN, *, query: str = "", path: str = "/glasses-ws", **kwargs: Any) -> Phone:
        token = mint_core_token(user_id(user), SECRET, 60)
        headers = {"Authorization": f"Bearer {token}"} | kwargs.pop("headers", {})
        socket = await self.http.ws_connect(
            f"{self.url}{path}{query}", headers=headers, max_msg_size=0, autoclose=True, **kwargs
        )
        phone = Phone(socket)
        phone.read()
        self.phones.append(phone)
        return phone

    async def close(self) -> None:
        for phone in self.phones:
            await phone.close()
        await self.http.close()


def cloud_config(bridge: ScriptedBridge, rooms: ScriptedRooms | None = None, **changes: Any) -> CloudConfig:
    """A configuration for tests: ports of its own, quick timers."""
    values: dict[str, Any] = {
        "keys": CloudKeys((SECRET,), KEYS),
        "livekit_url": rooms.url if rooms is not None else "ws://livekit.test",
        "livekit_public_url": "ws://livekit.test",
        "bridges": (bridge.target,),
        "port": 0,
        "bridge_poll": 0.1,
        "bridge_timeout": 1.0,
    }
    return CloudConfig(**(values | changes))


@pytest.fixture
async def stage() -> AsyncIterator[Callable[..., Any]]:
    """Starts a stage with the given changes to the configuration; `bridge` may be given, and another one."""
    async with AsyncExitStack() as stack:

        async def begin(
            bridge: ScriptedBridge | None = None,
            running: bool = True,
            and_bridge: ScriptedBridge | None = None,
            **changes: Any,
        ) -> Stage:
            bridge = bridge or ScriptedBridge()
            await bridge.start()
            stack.push_async_callback(bridge.stop)
            rooms = await stack.enter_async_context(ScriptedRooms())
            if and_bridge is not None:
                changes["bridges"] = (bridge.target, and_bridge.target)
            config = cloud_config(bridge, rooms, **changes)
            if not running:
                await bridge.stop()
            recogniser = ScriptedRecogniser()
            cloud = await stack.enter_async_context(Cloud(config, recogniser))
            built = Stage(cloud, bridge, recogniser, rooms)
            stack.push_async_callback(built.close)
            return built

        yield begin
