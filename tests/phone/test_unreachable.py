"""What stands between a phone and its cloud: sign-in pages, proxies, certificates. One sentence names it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from glassbridge.lab.certificate import make_certificate
from glassbridge.livekit.upgrade import open_socket
from glassbridge.phone.room import MAX_ANSWER, NoTicket, fetch_ticket
from glassbridge.phone.socket import CloudSocket, Refused, Unreachable, base_url
from glassbridge.runtime import socket_errors, unreachable
from glassbridge.runtime.world import REAL
from tests.support.livekit import token
from tests.support.tls import tls_front

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[int]:
    """The port of a server that answers everything so."""
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def page(status: int, kind: str = "text/html; charset=utf-8", **headers: str) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=status, body=b"<html>Welcome to the hotel</html>", headers=headers | {"Content-Type": kind}
        )

    return answer


async def cloud(request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.receive()
    return socket


async def dial(base: str) -> CloudSocket:
    return await CloudSocket.open(REAL, base, "a-secret-token", livekit=False, numbered=True, phone="me", attempt=1)


async def failure(base: str) -> Unreachable | Refused:
    with pytest.raises((Unreachable, Refused)) as caught:
        await dial(base)
    error = caught.value
    assert isinstance(error, Unreachable | Refused)
    assert "a-secret-token" not in str(error)
    return error


@pytest.mark.parametrize(
    "answer",
    [
        page(200),
        page(401),
        page(403),
        page(404),
        page(511, "text/plain"),
        page(302, Location="https://login.hotel.example/?token=secret"),
        page(307, Location="//10.0.0.1/"),
        page(303, Location="http://[broken"),
        page(302, Location=""),
    ],
)
async def test_a_network_that_wants_a_sign_in(answer: Answer) -> None:
    """It ends no phone: once somebody has signed in, the cloud answers."""
    async with answering(answer) as port:
        error = await failure(f"http://127.0.0.1:{port}")
        assert isinstance(error, Unreachable)
        assert error.why == unreachable.SIGN_IN
        with pytest.raises(NoTicket):
            await fetch_ticket(REAL, f"http://127.0.0.1:{port}", "a-secret-token")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (page(502), "status 502"),
        (page(503, "text/plain"), "status 503"),
        (
            page(301, Location="https://127.0.0.1:8443/glasses-ws?x=1"),
            "it is at https://127.0.0.1:8443: use that address",
        ),
    ],
)
async def test_a_cloud_that_is_away_or_elsewhere(answer: Answer, said: str) -> None:
    async with answering(answer) as port:
        error = await failure(f"http://127.0.0.1:{port}")
    assert isinstance(error, Unreachable)
    assert error.why == said


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_cloud_that_refuses_ends_the_phone(status: int) -> None:
    async with answering(page(status, "text/plain")) as port:
        assert isinstance(await failure(f"http://127.0.0.1:{port}"), Refused)


@pytest.mark.parametrize(
    ("host", "days", "said"),
    [
        ("127.0.0.1", 1, socket_errors.NOT_TRUSTED),
        ("10.9.8.7", 1, socket_errors.OTHER_NAME),
        ("127.0.0.1", -1, socket_errors.EXPIRED),
    ],
)
async def test_certificates(host: str, days: float, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem, key = make_certificate(tmp_path, days, host)
    if said != socket_errors.NOT_TRUSTED:
        trust(pem, monkeypatch)
    async with answering(cloud) as port, tls_front(port, pem, key, []) as url:
        error = await failure(url)
    assert isinstance(error, Unreachable)
    assert error.why == said


async def test_plain_http_where_tls_is_expected() -> None:
    async with answering(page(200)) as port:
        error = await failure(f"https://127.0.0.1:{port}")
    assert isinstance(error, Unreachable)
    assert error.why == socket_errors.NO_TLS


async def test_a_private_authority_through_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem, key = make_certificate(tmp_path)
    trust(pem, monkeypatch)
    async with AsyncExitStack() as clean:
        port = await clean.enter_async_context(answering(cloud))
        url = await clean.enter_async_context(tls_front(port, pem, key, []))
        asked: list[str] = []
        monkeypatch.setenv("https_proxy", await clean.enter_async_context(proxy(asked)))
        socket = await dial(base_url(url))
        await socket.vanish()
        http, signalling = await open_socket(url, token("ann"), {})
        await signalling.close()
        await http.close()
        assert asked == [f"CONNECT {url.removeprefix('wss://')} HTTP/1.1"] * 2


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (407, unreachable.PROXY_LOGIN),
        (403, unreachable.PROXY_REFUSES.format(403)),
        (None, unreachable.PROXY_ABSENT),
    ],
)
async def test_a_proxy_that_does_not_help(status: int | None, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxy([], status) as where:
        monkeypatch.setenv("https_proxy", where if status else "http://127.0.0.1:9")
        error = await failure("https://127.0.0.1:4")
    assert isinstance(error, Unreachable)
    assert error.why == said


@pytest.mark.parametrize(
    "where",
    ["proxy:3128", "127.0.0.1:3128", "http://:3128", "http://127.0.0.1:99999", "http://[::1", "ht!tp://proxy:3128"],
)
async def test_what_is_no_address_of_a_proxy_ends_no_phone(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", where)
    error = await failure("https://127.0.0.1:4")
    assert isinstance(error, Unreachable)
    assert error.why == unreachable.PROXY_ODD
    with pytest.raises(NoTicket, match=unreachable.PROXY_ODD):
        await fetch_ticket(REAL, "https://127.0.0.1:4", "a-secret-token")


CONNECTED = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", unreachable.BROKEN_OFF),
        (b"HTTP/1.1 200", unreachable.BROKEN_OFF),
        (b"\0 SSH-2.0 \r\n\r\n", unreachable.NO_HTTP),
        (b"HTTP/1.1 200 OK\r\nX: " + bytes(100_000) + b"\r\n\r\n", unreachable.NO_HTTP),
        (CONNECTED, unreachable.BROKEN_OFF),
        (CONNECTED + b"no TLS at all", unreachable.BROKEN_OFF),
    ],
    ids=["closes", "half", "no HTTP", "large", "closes once connected", "no TLS once connected"],
)
async def test_a_proxy_that_breaks_off_is_named(answer: bytes, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with saying(answer) as port:
        monkeypatch.setenv("https_proxy", f"http://user:a-secret-password@127.0.0.1:{port}")
        error = await failure("https://127.0.0.1:4")
    assert isinstance(error, Unreachable)
    assert error.why == said


async def test_a_cloud_that_speaks_something_else_is_named() -> None:
    async with saying(b"220 mail.example ESMTP\r\n\r\n") as port:
        error = await failure(f"http://127.0.0.1:{port}")
    assert isinstance(error, Unreachable)
    assert error.why == unreachable.NO_HTTP


@pytest.mark.parametrize("content", [None, b"no certificate"])
async def test_authorities_that_cannot_be_read(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.pem"
    if content is not None:
        own.write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(own))
    pem, key = make_certificate(tmp_path, 1, "127.0.0.1")
    async with answering(cloud) as port, tls_front(port, pem, key, []) as url:
        error = await failure(url)
    assert isinstance(error, Unreachable)
    assert error.why == socket_errors.CA_UNREADABLE


async def test_an_answer_without_an_end_fills_no_memory() -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            while sent < 64 << 20:
                await response.write(bytes(MAX_ANSWER))
                sent += MAX_ANSWER
        return response

    async with answering(endless) as port:
        with pytest.raises(NoTicket, match="no LiveKit token"):
            await fetch_ticket(REAL, f"http://127.0.0.1:{port}", "a-secret-token")
    assert sent < 32 << 20, "what the kernel holds, and no more"


@asynccontextmanager
async def saying(answer: bytes) -> AsyncIterator[int]:
    """The port of a server that answers a head so, and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with suppress(ConnectionError):
            writer.write(answer)
            await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()


def trust(pem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with SSL_CERT_FILE: aiohttp reads it once, when it is imported."""
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", ssl.create_default_context(cafile=str(pem)))


@asynccontextmanager
async def proxy(asked: list[str], status: int | None = 200) -> AsyncIterator[str]:
    """An HTTP proxy for CONNECT; collects the first lines."""
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(head.splitlines()[0])
        writer.write(f"HTTP/1.1 {status} Told\r\nContent-Length: 0\r\n\r\n".encode() if status != 200 else b"")
        if status == 200:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            host, _, port = head.split()[1].partition(":")
            answers, server = await asyncio.open_connection(host, int(port))
            tasks.add(asyncio.ensure_future(pump(reader, server)))
            tasks.add(asyncio.ensure_future(pump(answers, writer)))
        else:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
