"""Our sockets frame by frame: what Autobahn's suite found (tools/autobahn.py), and rates."""

import asyncio
import base64
import json
import os
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import structlog

from glassbridge.cloud.apps_config import SocketRates
from glassbridge.cloud.auth import mint_core_token
from glassbridge.core.values import user_id
from glassbridge.wire.close_codes import CloseCode
from tests.cloud.app_stage import KEY, PACKAGE, AppStage, Begin, app_stages
from tests.cloud.conftest import ANN, SECRET
from tests.support.patience import deadline
from tests.support.poll import eventually

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
BOTH = pytest.mark.parametrize("kind", ["phone", "app"])


OPEN: list["Raw"] = []


@pytest.fixture
async def stage() -> AsyncIterator[Begin]:
    async with app_stages() as begin:
        yield begin
        for socket in OPEN:
            socket.writer.close()
            with suppress(ConnectionError):
                await socket.writer.wait_closed()
        OPEN.clear()


def frame(opcode: int, data: bytes = b"", *, fin: bool = True, masked: bool = True, rsv: int = 0) -> bytes:
    """One frame of a client."""
    head = bytes([fin << 7 | rsv << 4 | opcode])
    size, mark = len(data), masked << 7
    if size < 126:
        head += bytes([mark | size])
    else:
        head += (
            bytes([mark | 126]) + struct.pack(">H", size)
            if size < 1 << 16
            else bytes([mark | 127]) + struct.pack(">Q", size)
        )
    return head + (bytes(4) if masked else b"") + data


class Raw:
    """A socket of which each byte is ours."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        OPEN.append(self)
        self.texts: list[dict[str, Any]] = []
        self.pongs: list[bytes] = []

    def send(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))

    async def frame(self) -> tuple[int, bytes]:
        first, size = await self.reader.readexactly(2)
        if size == 126:
            [size] = struct.unpack(">H", await self.reader.readexactly(2))
        elif size == 127:
            [size] = struct.unpack(">Q", await self.reader.readexactly(8))
        return first & 15, await self.reader.readexactly(size)

    async def closed_with(self, within: float = 10.0) -> int:
        """The code of the server's close frame; -1: it went without one."""
        async with deadline(within):
            try:
                while True:
                    opcode, data = await self.frame()
                    if opcode == CLOSE:
                        return int.from_bytes(data[:2]) if data else 0
                    self.keep(opcode, data)
            except (asyncio.IncompleteReadError, ConnectionError):
                return -1

    async def until_pong(self, within: float = 10.0) -> bytes:
        async with deadline(within):
            while not self.pongs:
                self.keep(*await self.frame())
            return self.pongs.pop(0)

    def keep(self, opcode: int, data: bytes) -> None:
        if opcode == TEXT:
            self.texts.append(json.loads(data))
        elif opcode == PONG:
            self.pongs.append(data)

    def errors(self) -> list[str]:
        return [text["code"] for text in self.texts if text["type"].endswith("connection_error")]


async def handshake(built: AppStage, kind: str, version: str = "13", first: bytes = b"") -> tuple[Raw, bytes]:
    """`first` comes in the same segment as the request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", built.cloud.port)
    key = base64.b64encode(os.urandom(16)).decode()
    path = "/glasses-ws" if kind == "phone" else "/app-ws"
    lines = [
        f"GET {path} HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}", f"Sec-WebSocket-Version: {version}",
    ]  # fmt: skip
    if kind == "phone":
        lines.append(f"Authorization: Bearer {mint_core_token(user_id(ANN), SECRET, 60)}")
    writer.write("\r\n".join([*lines, "", ""]).encode() + first)
    head = await reader.readuntil(b"\r\n\r\n")
    return Raw(reader, writer), head


async def raw(built: AppStage, kind: str, *, signed_in: bool = True) -> Raw:
    """A phone, or an app."""
    if kind == "app" and signed_in:
        phone = await built.phone()
        await phone.say(type="start_app", packageName=PACKAGE)
        await built.apps.until("session_request")
    socket, head = await handshake(built, kind)
    assert b" 101 " in head
    if kind == "app" and signed_in:
        init = {"type": "tpa_connection_init", "packageName": PACKAGE, "sessionId": f"{ANN}-{PACKAGE}", "apiKey": KEY}
        socket.send(frame(TEXT, json.dumps(init).encode()))
    if signed_in:
        opcode, data = await socket.frame()
        assert opcode == TEXT
        assert json.loads(data)["type"].endswith("connection_ack")
    return socket


@BOTH
@pytest.mark.parametrize("version", ["7", "8", "12", "14", "x"])
async def test_only_version_13_is_spoken(stage: Begin, kind: str, version: str) -> None:
    _, head = await handshake(await stage(), kind, version)
    assert b" 426 " in head
    assert b"Sec-WebSocket-Version: 13" in head


@BOTH
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
async def test_frames_of_a_client_are_masked(stage: Begin, kind: str, opcode: int) -> None:
    socket = await raw(await stage(), kind)
    socket.send(frame(PING, b"x"), frame(opcode, b"\x03\xe8", masked=False))
    assert await socket.closed_with() == 1002


@BOTH
async def test_an_unmasked_frame_in_the_segment_of_the_handshake_is_seen(stage: Begin, kind: str) -> None:
    socket, head = await handshake(await stage(), kind, first=frame(PING, b"early") + frame(TEXT, b"{}", masked=False))
    assert b" 101 " in head
    assert await socket.closed_with() == 1002


@BOTH
@pytest.mark.parametrize(
    ("code", "answer"),
    [
        (1000, 1000), (1001, 1001), (1003, 1003), (1011, 1011), (3000, 3000), (4999, 4999),
        (0, 1002), (999, 1002), (1004, 1002), (1005, 1002), (1006, 1002), (1015, 1002), (1016, 1002), (2999, 1002),
        (5000, 1002), (65535, 1002),
    ],
)  # fmt: skip
async def test_a_close_is_answered_with_its_code_if_that_may_be_sent(
    stage: Begin, kind: str, code: int, answer: int
) -> None:
    socket = await raw(await stage(), kind)
    socket.send(frame(CLOSE, code.to_bytes(2)))
    assert await socket.closed_with() == answer


@BOTH
async def test_a_ping_is_answered_before_anybody_has_signed_in(stage: Begin, kind: str) -> None:
    socket = await raw(await stage(), kind, signed_in=False)
    socket.send(frame(PING, b"are you there"))
    assert await socket.until_pong(2.0) == b"are you there"


@BOTH
async def test_fragments_and_split_headers_are_one_message(stage: Begin, kind: str) -> None:
    """Each byte in a segment of its own: the guard must find each header."""
    socket = await raw(await stage(), kind)
    text = json.dumps({"type": "ping", "timestamp": "x" * 60, "padding": "y" * 300}).encode()
    for byte in frame(TEXT, text[:150], fin=False) + frame(PING, b"between") + frame(0, text[150:]):
        socket.send(bytes([byte]))
        await socket.writer.drain()
        await asyncio.sleep(0)
    assert await socket.until_pong() == b"between"
    async with deadline(5.0):
        while not any(text["type"] == "pong" for text in socket.texts):
            socket.keep(*await socket.frame())
    assert [text["timestamp"] for text in socket.texts if text["type"] == "pong"] == ["x" * 60]


# ---- rates

SLOW = SocketRates(messages=50, size=32 << 10)


@BOTH
@pytest.mark.parametrize("what", ["texts", "pings", "empty fragments", "bytes"])
async def test_a_flood_is_told_and_then_closed(stage: Begin, kind: str, what: str) -> None:
    """On 573a53e it was read to its end, however long it was."""
    built = await stage(cloud={"phone_rates": SLOW}, rates=SLOW)
    socket = await raw(built, kind)
    one = {
        "texts": frame(TEXT, b'{"type":"ping"}'),
        "pings": frame(PING),
        "empty fragments": frame(0, fin=False),
        "bytes": frame(TEXT, b'{"type":"ping","x":"%s"}' % (b"y" * 60_000)),
    }[what]
    begin = frame(TEXT, fin=False) if what == "empty fragments" else b""
    with structlog.testing.capture_logs() as lines:
        socket.send(begin, *[one] * (20 if what == "bytes" else 2_000))
        assert await socket.closed_with() == CloseCode.TOO_FAST
        assert "RATE_LIMITED" in socket.errors()
        socket.writer.transport.abort()  # it never answers our close
        await eventually(lambda: any(line["event"] == f"{kind} socket closed" for line in lines))
    assert [line["code"] for line in lines if line["event"] == f"{kind} socket closed"] == [CloseCode.TOO_FAST]


@BOTH
async def test_a_short_excess_is_told_and_loses_nothing(stage: Begin, kind: str) -> None:
    built = await stage(cloud={"phone_rates": SLOW}, rates=SLOW)
    socket = await raw(built, kind)
    pings = [frame(TEXT, json.dumps({"type": "ping", "timestamp": n}).encode()) for n in range(240)]
    socket.send(*pings)
    socket.send(frame(PING, b"the last"))
    assert await socket.until_pong() == b"the last"
    socket.send(frame(CLOSE, (1000).to_bytes(2)))
    assert await socket.closed_with() == 1000
    assert [text["timestamp"] for text in socket.texts if text["type"] == "pong"] == list(range(240))
    assert socket.errors() == ["RATE_LIMITED"]


async def test_a_new_socket_begins_with_what_the_former_one_left(stage: Begin) -> None:
    built = await stage(cloud={"phone_rates": SLOW})
    first = await raw(built, "phone")
    first.send(*[frame(PING)] * 190)
    first.send(frame(PING, b"x"))
    while await first.until_pong() != b"x":
        pass
    second = await raw(built, "phone")
    second.send(*[frame(TEXT, b'{"type":"ping"}')] * 60)
    second.send(frame(PING, b"y"))
    assert await second.until_pong() == b"y"
    assert second.errors() == ["RATE_LIMITED"]


async def test_a_flood_before_signing_in_is_closed(stage: Begin) -> None:
    built = await stage(rates=SLOW)
    socket = await raw(built, "app", signed_in=False)
    socket.send(*[frame(PING)] * 2_000)
    assert await socket.closed_with() == CloseCode.TOO_FAST


async def test_a_few_wrong_messages_end_a_socket_that_has_not_signed_in(stage: Begin) -> None:
    built = await stage()
    socket = await raw(built, "app", signed_in=False)
    socket.send(*[frame(TEXT, b"{}")] * 20)
    assert await socket.closed_with() == CloseCode.POLICY
    assert socket.errors() == ["MALFORMED_MESSAGE"] * 10


@BOTH
async def test_a_peer_that_never_stops_sending_reads_why_it_is_closed(stage: Begin, kind: str) -> None:
    """A connection that ends with bytes that nobody has read is reset: what was on its way to the peer is lost."""
    socket = await raw(await stage(), kind)
    socket.send(*[frame(TEXT, b'{"type":"ping"}')] * 300_000)
    await asyncio.sleep(0)
    while not socket.errors():
        socket.keep(*await socket.frame())
    assert socket.errors() == ["RATE_LIMITED"]
    await asyncio.sleep(0.3)  # it reads late
    assert await socket.closed_with() == CloseCode.TOO_FAST
