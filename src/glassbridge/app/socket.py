"""The app's socket to its cloud (`/app-ws`)."""

import asyncio
from collections.abc import Callable

import aiohttp
import structlog

from glassbridge.core.app_times import GOODBYE, OPEN_WITHIN, PING_AFTER, SILENCE
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.runtime.world import World, close_http, is_sent
from glassbridge.wire import apps as wire
from glassbridge.wire.close_codes import CloseCode
from glassbridge.wire.codec import MalformedMessage, Message, UnknownMessage, encode
from glassbridge.wire.phone import Ping, Pong

log = structlog.get_logger()

SEND_TIMEOUT = 5.0
MAX_MESSAGE = 4 << 20

OnMessage = Callable[[wire.FromCloud | UnknownMessage], None]
OnAudio = Callable[[bytes], None]


class Unreachable(Exception):
    """No cloud answers there."""


class AppSocket:
    """One connection, used once."""

    def __init__(
        self, http: aiohttp.ClientSession, ws: aiohttp.ClientWebSocketResponse, clock: Callable[[], float]
    ) -> None:
        self._http = http
        self._ws = ws
        self._clock = clock
        self._heard_at = clock()
        self._answers = False
        """The cloud answers pings, by its word or by a first answer: its silence means something."""

    @classmethod
    async def open(cls, url: str, init: wire.ConnectionInit, world: World) -> "AppSocket":
        """Connects and introduces the app. Raises Unreachable. When cancelled, nothing is left behind."""
        http = world.http(trust_env=True)
        ws: aiohttp.ClientWebSocketResponse | None = None
        try:
            async with asyncio.timeout(OPEN_WITHIN):
                ws = await http.ws_connect(
                    url, max_msg_size=MAX_MESSAGE, compress=0, timeout=aiohttp.ClientWSTimeout(ws_close=GOODBYE)
                )
                await ws.send_str(encode(init))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            await close_http(http, ws)
            raise Unreachable(type(error).__name__) from None
        except BaseException:
            await close_http(http, ws)
            raise
        return cls(http, ws, world.monotonic)

    async def listen(self, on_message: OnMessage, on_audio: OnAudio) -> int:
        """Hands on what the cloud says until the socket ends; returns the close code. Releases everything, also when
        cancelled."""
        tasks = TaskGroup("app")
        tasks.spawn(self._ping(), "ping")
        try:
            async for message in self._ws:  # it answers pings, which fails on a socket that has just broken
                self._heard_at = self._clock()
                if message.type is aiohttp.WSMsgType.TEXT:
                    await self._hear(message.data, on_message)
                elif message.type is aiohttp.WSMsgType.BINARY:
                    on_audio(message.data)
        except (aiohttp.ClientError, ConnectionError) as error:
            log.info("app socket broken", error=type(error).__name__)
        finally:
            await tasks.close()
            await close_http(self._http, self._ws)
        return self._ws.close_code or CloseCode.ABNORMAL

    async def say(self, message: Message) -> bool:
        """Sends a message; False when the socket is gone or blocked. Safe to cancel."""
        return await is_sent(self._ws.send_str(encode(message)), SEND_TIMEOUT)

    async def close(self, code: CloseCode) -> None:
        """Says goodbye; `listen` returns then."""
        await is_sent(self._ws.close(code=code), SEND_TIMEOUT)

    async def release(self) -> None:
        """Releases everything, also where `listen` was cancelled while it did so; idempotent."""
        await close_http(self._http, self._ws)

    async def _hear(self, text: str, on_message: OnMessage) -> None:
        try:
            said = wire.decode_from_cloud(text)
        except MalformedMessage as error:
            log.warning("the cloud sent a malformed message", error=str(error))
            return
        match said:
            case Ping():
                await self.say(Pong(timestamp=said.timestamp))
            case Pong():
                self._answers = True
            case _:
                if isinstance(said, wire.ConnectionAck):
                    self._answers = said.pings
                on_message(said)

    async def _ping(self) -> None:
        while True:
            before = self._clock()
            await asyncio.sleep(PING_AFTER / 2)
            now = self._clock()
            stalled = now - before > PING_AFTER  # data that came meanwhile is still unread
            silent = now - self._heard_at
            if self._answers and silent > SILENCE and not stalled:
                log.warning("the cloud is silent", seconds=round(silent, 1))
                await self._http.close()
                return
            if silent >= PING_AFTER:
                await self.say(Ping())
