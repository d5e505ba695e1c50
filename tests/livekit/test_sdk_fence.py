"""The fence: through while it is open, never again once it is shut; TLS and names as the server wants them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from yarl import URL

from glassbridge.core.values import LossReason
from glassbridge.lab.certificate import make_certificate
from glassbridge.livekit import own
from glassbridge.livekit.sdk_fence import Fence
from glassbridge.livekit.server import free_port
from glassbridge.livekit.websocket_edges import MASKED_PING
from tests.support.livekit import LiveKit, token
from tests.support.participants import Recorder
from tests.support.poll import eventually
from tests.support.process import Program
from tests.support.tls import tls_front


class Echo:
    """A server that answers each line with it."""

    def __init__(self) -> None:
        self.connections = 0
        self.lines = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(ConnectionError):
            while line := await reader.readline():
                self.lines += 1
                writer.write(line)
        writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Echo, URL]]:
    echo = Echo()
    async with await asyncio.start_server(echo.serve, "127.0.0.1", 0) as server:
        yield echo, URL(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/path")


async def dial(fence: Fence) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = URL(fence.url)
    return await asyncio.open_connection(url.host, url.port)


async def test_it_names_the_real_server_and_is_shut_for_good(echo: tuple[Echo, URL]) -> None:
    served, server = echo
    fence = Fence(server)
    await fence.open()
    assert URL(fence.url).path == "/path"
    reader, writer = await dial(fence)
    writer.write(b"GET /path/rtc HTTP/1.1\r\nhost: 127.0.0.1:1\r\nX: host: y\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head == f"GET /path/rtc HTTP/1.1\r\nHost: {server.authority}\r\nX: host: y\r\n\r\n".encode()
    fence.shut()
    with pytest.raises(ConnectionRefusedError):
        await dial(fence)
    writer.write(b"still\n")
    assert await reader.readline() == b"still\n"
    writer.close()
    await fence.close()
    await fence.close()
    assert served.connections == 1


async def test_the_last_words_get_through(echo: tuple[Echo, URL]) -> None:
    served, server = echo
    fence = Fence(server)
    await fence.open()
    _, writer = await dial(fence)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await eventually(lambda: served.lines == 2)
    writer.write(b"goodbye\n")
    writer.close()
    await fence.close()
    await eventually(lambda: served.lines == 3 or f"{served.lines} lines")


async def test_closing_breaks_what_is_there(echo: tuple[Echo, URL]) -> None:
    fence = Fence(echo[1])
    await fence.open()
    reader, writer = await dial(fence)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    await fence.close()
    with suppress(ConnectionError):
        assert await reader.read() == b""
    assert reader.at_eof() or reader.exception() is not None
    writer.close()


async def test_it_asks_for_signs_of_life_between_the_frames_of_the_sdk() -> None:
    """A half frame is left whole; only an answer is a sign of life, as the way to the server may be dead alone."""
    asked, arrived, frame = asyncio.Event(), bytearray(), b"\x82\x83\0\0\0\0abc"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        writer.write(b"HTTP/1.1 101 OK\r\n\r\n")
        while data := await reader.read(1 << 10):
            arrived.extend(data)
            writer.write(b"\x8a\x00" if arrived.endswith(MASKED_PING) else b"\x82\x01?")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        fence = Fence(URL(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
        await fence.open()
        reader, writer = await dial(fence)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await asked.wait()
        writer.write(frame[:4])
        await eventually(lambda: bytes(arrived) == frame[:4] or f"{arrived!r}")
        assert fence.silent_for == 0.0
        fence.ask()
        await eventually(lambda: fence.silent_for > 0.2 or "nobody was asked")
        writer.write(frame[4:])
        await eventually(lambda: bytes(arrived) == frame or f"{arrived!r}")
        assert await reader.readuntil(b"?\x82\x01?")
        assert fence.silent_for > 0.2
        fence.ask()
        await eventually(lambda: fence.silent_for == 0.0 or "the answer was not heard")
        assert arrived == frame + MASKED_PING
        assert await reader.readexactly(2) == b"\x8a\x00"
        writer.close()
        await fence.close()


@pytest.mark.parametrize(
    ("server", "why"),
    [
        (f"ws://127.0.0.1:{free_port()}", "Connection refused"),
        ("ws://no-such-host.invalid:1", "no-such-host.invalid:1: "),
    ],
    ids=["nobody listens", "no such host"],
)
async def test_it_says_why_the_server_cannot_be_reached(server: str, why: str) -> None:
    fence = Fence(URL(server))
    await fence.open()
    _, writer = await dial(fence)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await eventually(lambda: fence.failure is not None)
    assert fence.failure is not None
    assert fence.failure.reason is LossReason.UNREACHABLE
    assert why in fence.failure.detail
    writer.close()
    await fence.close()


JOIN = """
import asyncio, sys
from importlib import import_module
from glassbridge.livekit.participant import ParticipantError
from tests.support.participants import Recorder

async def main():
    module = import_module(f"glassbridge.livekit.{sys.argv[1]}")
    try:
        place = await module.connect(sys.argv[2], sys.argv[3], Recorder())
        await place.send(b"over TLS")
        await asyncio.sleep(0.3)
        await place.close()
    except ParticipantError as error:
        print(error)
    await module.drain_closing()

asyncio.run(main())
"""


@pytest.mark.sdk
@pytest.mark.parametrize("kind", ["own", "sdk"])
async def test_signalling_over_tls(kind: str, embedded_livekit: LiveKit, tmp_path: Path) -> None:
    pem, key = make_certificate(tmp_path)
    heads: list[bytes] = []
    heard = Recorder()
    bob = await own.connect(embedded_livekit.url, token("bob"), heard)
    async with tls_front(embedded_livekit.port, pem, key, heads) as url:
        async with Program.python(JOIN, kind, url, token("ann"), env={"SSL_CERT_FILE": str(pem)}) as trusting:
            await trusting.ends()
        assert heard.payloads == [b"over TLS"], trusting.out + trusting.err
        assert all(f"Host: {URL(url).authority}".encode() in head for head in heads)
        async with Program.python(JOIN, kind, url, token("ann")) as doubting:
            await doubting.says("is not trusted")
            await doubting.ends()
    await bob.close()
