"""A phone by script: it holds a socket to one cloud, starts its apps there and speaks sentences."""

import asyncio
from contextlib import suppress
from typing import Final
from urllib.parse import quote

import aiohttp

from glassbridge.lab.weeks.ledger import Ledger
from glassbridge.lab.weeks.process import Process
from glassbridge.runtime.tasks import cancelled
from glassbridge.wire.phone import (
    AppStopped,
    ConnectionAck,
    LocalTranscription,
    Message,
    Ping,
    StartApp,
    StopApp,
    decode_from_cloud,
    encode,
)

EVERY: Final = 2.0
"""Seconds between two sentences, and two pings."""
SILENCE: Final = 6.0
"""A cloud that says nothing for so long is left."""
WITHIN: Final = 5.0
"""For a connection to open."""
AGAIN: Final = 0.3, 1.0
"""Seconds until it tries again: at least and at most."""
PORT: Final = 8002


class Phone:
    """`main` is its program. All other methods are called from outside, as its user does."""

    def __init__(self, user: str, token: str, ledger: Ledger, beside: tuple[Message, ...] = ()) -> None:
        """It says `beside` after each sentence."""
        self.user = user
        self._beside = beside
        self._token = token
        self._ledger = ledger
        self._target = ""
        """The cloud that it wants to be connected to; empty: none."""
        self._silently = False
        """It leaves without a close."""
        self._changed = asyncio.Event()
        self._orders: list[Message] = []
        """For the cloud, as soon as it is connected."""
        self._attempt = 0
        self._sentence = 0
        self._heard_at = 0.0
        self.process: Process

    # ---- what its user does

    def go(self, target: str, *, silently: bool = False) -> None:
        """To this cloud, or to none; `silently`: the network it was in is gone."""
        self._target, self._silently = target, silently
        self._changed.set()

    def order(self, message: Message) -> None:
        """Says it to the cloud."""
        self._orders.append(message)

    # ---- its program

    async def main(self, process: Process) -> None:
        """Runs for ever."""
        self._changed = asyncio.Event()
        while True:
            self._changed.clear()
            if self._target:
                async with process.world.http() as http:
                    if await self._connection(http, self._target):
                        continue
                await asyncio.sleep(process.chance.uniform(*AGAIN))
            else:
                await self._changed.wait()

    async def _connection(self, http: aiohttp.ClientSession, target: str) -> bool:
        """One connection to its end; whether its user has ended it."""
        self._attempt += 1
        url = f"http://{target}:{PORT}/glasses-ws?token={self._token}&phone={quote(self.user)}&attempt={self._attempt}"
        try:
            async with asyncio.timeout(WITHIN):
                socket = await http.ws_connect(url)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return self._changed.is_set()
        self._heard_at = self.process.world.monotonic()
        tasks = [
            asyncio.create_task(self._listen(socket), name="listen"),
            asyncio.create_task(self._speak(socket), name="speak"),
            asyncio.create_task(self._changed.wait(), name="changed"),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._ledger.disconnected(self.user)
            await cancelled(*tasks)
        if self._silently:
            self.process.network.sever(self.process)
        with suppress(TimeoutError, aiohttp.ClientError, ConnectionError):
            async with asyncio.timeout(1.0):
                await socket.close()
        return self._changed.is_set()

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            self._heard_at = self.process.world.monotonic()
            if message.type is aiohttp.WSMsgType.TEXT:
                await self._hear(socket, message.data)

    async def _hear(self, socket: aiohttp.ClientWebSocketResponse, text: str) -> None:
        match decode_from_cloud(text):
            case ConnectionAck():
                peer = socket.get_extra_info("peername")[0]
                self._ledger.connected(self.user, peer)
                self._orders.clear()
                for package, wanted in self._ledger.wishes(self.user).items():
                    await self._say(socket, StartApp(package_name=package) if wanted else StopApp(package_name=package))
            case AppStopped(package_name=package, reason=reason):
                self._ledger.phone_told_of_stop(self.user, package, reason)

    async def _speak(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        clock = self.process.world.monotonic
        while clock() - self._heard_at < SILENCE:
            try:
                await socket.send_str(encode(Ping(every=EVERY)))
                while self._orders:
                    await self._say(socket, self._orders.pop(0))
                if self._ledger.is_connected(self.user):
                    self._sentence += 1
                    self._ledger.said(self.user, self._sentence)
                    said = LocalTranscription(text=str(self._sentence), transcribe_language="en-US")
                    await socket.send_str(encode(said))
                    for message in self._beside:
                        await socket.send_str(encode(message))
            except (ConnectionError, aiohttp.ClientError):
                return
            await asyncio.sleep(EVERY)

    async def _say(self, socket: aiohttp.ClientWebSocketResponse, message: Message) -> None:
        if isinstance(message, StopApp):
            self._ledger.stop_said(self.user, message.package_name)
        await socket.send_str(encode(message))

    def stop_app(self, package: str) -> None:
        """Its user stops an app."""
        self.order(StopApp(package_name=package))

    def start_app(self, package: str) -> None:
        """Its user starts an app."""
        self.order(StartApp(package_name=package))
