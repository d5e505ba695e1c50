"""A3 to A6, A12: a phone and an app that are let in, and send too much."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, Final

import aiohttp

from glassbridge.lab.attacker import http
from glassbridge.lab.bystander import Assault, attack, needs_of
from glassbridge.lab.hostile_app import PACKAGE
from glassbridge.lab.scenario import most
from glassbridge.wire.apps import app_session_id

USER: Final = "attacker@example.org"
PER_SECOND: Final = 30_000
FLOODS: Final = 5.0
"""Seconds."""
BATCH: Final = 200
MIB: Final = (1 << 20) - 1_000
"""Bytes of a text that is just no longer than a message may be."""
UNTYPED: Final = {"MALFORMED_MESSAGE", "INTERNAL_ERROR"}
"""What the answers to a flood say must be something else: which limit it was."""
WITH_APP: Final = needs_of(app=True)


@attack(
    "A3",
    "a phone floods its socket",
    story=f"{PER_SECOND:,} messages/s of eight kinds for {FLOODS:.0f} s, coming back at once",
)
async def phone_flood(assault: Assault) -> dict[str, float]:
    told = await assault.by(flood_as_phone, url=assault.url, token=assault.token(), seconds=_seconds(assault))
    return {"refused": assault.small or _refused(told)}


@attack(
    "A4", "an app floods its socket", story=f"{PER_SECOND:,} messages/s of six kinds for {FLOODS:.0f} s", needs=WITH_APP
)
async def app_flood(assault: Assault) -> dict[str, float]:
    told = await assault.by(flood_as_app, **app_of(assault), seconds=_seconds(assault))
    return {"refused": assault.small or _refused(told)}


@attack(
    "A5",
    "subscriptions of a megabyte",
    story="10 lists of 1 MiB at 2/s, coming back after each close",
    needs=WITH_APP,
    must=(most("answer_kb", 256),),
)
async def megabyte_subscription(assault: Assault) -> dict[str, float]:
    told = await assault.by(subscribe_to_much, **app_of(assault), count=assault.count(10))
    return {"answer_kb": told["bytes"] / 1024, "refused": bool(told["errors"]) or set(told["closes"]) == {"1009"}}


@attack("A6", "transcripts of a mebibyte", story="150 of 1 MiB at 20/s, then 1,000 of 60 KiB at 200/s")
async def long_transcripts(assault: Assault) -> dict[str, float]:
    told = await assault.by(
        transcripts, url=assault.url, token=assault.token(), large=assault.count(150), small=assault.count(1_000)
    )
    return {"refused": bool(told["errors"]) or "1009" in told["closes"]}


@attack("A12", "an app is started and stopped", story="4,000 pairs at 800/s", needs=WITH_APP)
async def start_stop_storm(assault: Assault) -> dict[str, float]:
    told = await assault.by(start_and_stop, url=assault.url, token=assault.token(), count=assault.count(4_000))
    return {"refused": assault.small or bool(set(told["errors"]) - UNTYPED)}


def _seconds(assault: Assault) -> float:
    return 0.2 if assault.small else FLOODS


def app_of(assault: Assault) -> dict[str, Any]:
    return {"url": assault.url, "token": assault.token(), "key": assault.system.hostile_app.key}


def _refused(told: dict[str, Any]) -> bool:
    """It was told which limit, and closed with a code of ours. A close code that is overtaken by what the attacker has
    on the way is lost with the connection: not every close has one."""
    return bool(set(told["errors"]) - UNTYPED) and any(code > "1006" for code in told["closes"])


# ---- inside of the attacker


class Told:
    """What an attacker was answered."""

    def __init__(self) -> None:
        self.errors: Counter[str] = Counter()
        """By code: connection_error, tpa_connection_error, apps that could not be started, refused handshakes."""
        self.closes: Counter[str] = Counter()
        self.bytes = 0
        """Of the largest answer."""
        self.sent = 0

    async def read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Until the socket is closed."""
        while True:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                self._hear(message.data)
                if '"type":"ping"' in message.data[:100]:
                    await send(socket, '{"type":"pong"}')
            elif message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                break
        code = message.data if message.type is aiohttp.WSMsgType.CLOSE else socket.close_code
        self.closes[str(code or 1006)] += 1

    def _hear(self, text: str) -> None:
        self.bytes = max(self.bytes, len(text))
        said = json.loads(text)
        if said["type"] in ("connection_error", "tpa_connection_error"):
            self.errors[said.get("code") or "no code"] += 1
        elif said["type"] == "app_stopped" and said.get("error"):
            self.errors["APP_STOPPED"] += 1

    def result(self) -> dict[str, Any]:
        return {"sent": self.sent, "errors": self.errors, "closes": self.closes, "bytes": self.bytes}


async def send(socket: aiohttp.ClientWebSocketResponse, text: str) -> bool:
    """False: it is closed."""
    try:
        async with asyncio.timeout(10.0):
            await socket.send_str(text)
    except (ConnectionError, TimeoutError, aiohttp.ClientError):
        return False
    return not socket.closed


@asynccontextmanager
async def _reading(socket: aiohttp.ClientWebSocketResponse, told: Told) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(told.read(socket))
    try:
        yield task
        await asyncio.wait([task], timeout=1.0)  # what it is told last
    finally:
        task.cancel()
        await asyncio.wait([task])
        await socket.close()


async def _phone(client: aiohttp.ClientSession, url: str, token: str) -> aiohttp.ClientWebSocketResponse:
    return await client.ws_connect(
        f"{url}/glasses-ws?livekit=true", headers={"Authorization": f"Bearer {token}"}, max_msg_size=0
    )


async def _phone_let_in(
    client: aiohttp.ClientSession, url: str, token: str, told: Told
) -> aiohttp.ClientWebSocketResponse | None:
    """None if the handshake was refused, which is counted; after a pause."""
    try:
        return await _phone(client, url, token)
    except aiohttp.ClientError as error:
        told.errors[f"handshake {getattr(error, 'status', '')}"] += 1
        await asyncio.sleep(0.5)
        return None


async def app_socket(client: aiohttp.ClientSession, url: str, key: str) -> aiohttp.ClientWebSocketResponse:
    socket = await client.ws_connect(f"{url}/app-ws", max_msg_size=0)
    session = app_session_id(USER, PACKAGE)
    await socket.send_json({"type": "tpa_connection_init", "packageName": PACKAGE, "sessionId": session, "apiKey": key})
    return socket


@asynccontextmanager
async def started(client: aiohttp.ClientSession, url: str, token: str) -> AsyncIterator[Told]:
    """A phone that has started the app, and answers pings."""
    told = Told()
    socket = await _phone(client, url, token)
    async with _reading(socket, told):
        await socket.send_json({"type": "start_app", "packageName": PACKAGE})
        await asyncio.sleep(0.5)
        yield told
        await socket.close()


async def _flood(socket: aiohttp.ClientWebSocketResponse, texts: Sequence[str], told: Told, until: float) -> None:
    while monotonic() < until:
        begun = monotonic()
        for _ in range(BATCH):
            if not await send(socket, texts[told.sent % len(texts)]):
                return
            told.sent += 1
        await asyncio.sleep(max(0.0, BATCH / PER_SECOND - (monotonic() - begun)))


async def _flood_again_and_again(
    connect: Callable[[], Awaitable[aiohttp.ClientWebSocketResponse]], texts: Sequence[str], told: Told, until: float
) -> None:
    """On a new socket after each close."""
    while monotonic() < until:
        try:
            socket = await connect()
        except aiohttp.ClientError as error:
            told.errors[f"handshake {getattr(error, 'status', '')}"] += 1
            await asyncio.sleep(0.2)
            continue
        async with _reading(socket, told):
            await _flood(socket, texts, told, until)


async def flood_as_phone(url: str, token: str, seconds: float) -> dict[str, Any]:
    texts = [
        json.dumps(message)
        for message in (
            {"type": "ping", "timestamp": 1},
            {"type": "VAD", "status": True},
            {"type": "network_state_change"},
            {"type": "glasses_connection_state", "status": "CONNECTED"},
            {"type": "microphone_state_change", "isMicrophoneEnabled": True},
            {"type": "a_type_that_is_new"},
            {"type": "local_transcription", "text": "word", "isFinal": True},
            {"type": "start_app"},
        )
    ]
    told, until = Told(), monotonic() + seconds
    async with http() as client:
        await _flood_again_and_again(lambda: _phone(client, url, token), texts, told, until)
    return told.result()


async def flood_as_app(url: str, token: str, key: str, seconds: float) -> dict[str, Any]:
    texts = [
        json.dumps({"packageName": PACKAGE, **message})
        for message in (
            {"type": "ping", "timestamp": 1},
            {"type": "subscription_update", "subscriptions": ["audio_chunk", "transcription:en-US"]},
            {"type": "display_event", "layout": {"layoutType": "text_wall", "text": "again"}},
            {"type": "audio_stop_request"},
            {"type": "a_type_that_is_new"},
            {"type": "subscription_update"},
        )
    ]
    told = Told()
    async with http() as client, started(client, url, token):
        until = monotonic() + seconds
        await _flood_again_and_again(lambda: app_socket(client, url, key), texts, told, until)
    return told.result()


async def subscribe_to_much(url: str, token: str, key: str, count: int) -> dict[str, Any]:
    names = [f"transcription:x{number:06d}-US" for number in range(MIB // 28)]
    text = json.dumps({"type": "subscription_update", "packageName": PACKAGE, "subscriptions": names})[:MIB]
    text = text if text.endswith("}") else text[: text.rindex(",")] + "]}"
    told = Told()
    async with http() as client, started(client, url, token):
        while told.sent < count:
            socket = await app_socket(client, url, key)
            async with _reading(socket, told):
                while told.sent < count:
                    told.sent += 1
                    if not await send(socket, text):
                        break
                    await asyncio.sleep(0.5)
                    if socket.closed:
                        break
    return told.result()


async def transcripts(url: str, token: str, large: int, small: int) -> dict[str, Any]:
    """On a new socket after each close; at most for 20 s each."""
    told = Told()
    async with http() as client:
        for count, size, pause in ((large, MIB, 0.05), (small, 60 << 10, 0.005)):
            text = json.dumps({"type": "local_transcription", "text": "word " * (size // 5), "isFinal": True})
            sent, until = 0, monotonic() + 20.0
            while sent < count and monotonic() < until:
                if (socket := await _phone_let_in(client, url, token, told)) is None:
                    continue
                async with _reading(socket, told):
                    while sent < count and await send(socket, text):
                        sent += 1
                        await asyncio.sleep(pause)
                await asyncio.sleep(0.1)
            told.sent += sent
    return told.result()


async def start_and_stop(url: str, token: str, count: int) -> dict[str, Any]:
    pair = [json.dumps({"type": kind, "packageName": PACKAGE}) for kind in ("start_app", "stop_app")]
    told, sent, until = Told(), 0, monotonic() + 15.0
    async with http() as client:
        while sent < count and monotonic() < until:
            if (socket := await _phone_let_in(client, url, token, told)) is None:
                continue
            async with _reading(socket, told):
                while sent < count and await send(socket, pair[0]) and await send(socket, pair[1]):
                    sent += 1
                    if sent % 16 == 0:
                        await asyncio.sleep(0.02)
        told.sent = sent
    return told.result()
