"""Connections over real sockets: those that say nothing, too much, or take nothing."""

import asyncio
import json
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import structlog
import uvloop
from aiohttp import web

from glassbridge.core.addresses import TrustedProxies
from glassbridge.core.connections import ConnectionLimits
from glassbridge.telemetry import listener, metrics
from glassbridge.telemetry.listener import Gate, GuardedHandler, HttpListener, know_client, sign_in
from tests.support.patience import soon
from tests.support.poll import eventually

pytestmark = pytest.mark.usefixtures("libuv_is_awake")

QUICK = ConnectionLimits(header_time=0.3, sign_in_time=0.3, body_time=0.5, idle_time=30.0)
HEAD = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"
BIG = b"x" * (64 << 20)


def limits(**changes: Any) -> ConnectionLimits:
    return ConnectionLimits(**({name: getattr(QUICK, name) for name in QUICK.__slots__} | changes))


class Served:
    def __init__(self, port: int, gate: Gate, release: asyncio.Event) -> None:
        self.port = port
        self.gate = gate
        self.release = release
        self.writers: list[asyncio.StreamWriter] = []

    async def connect(
        self, sent: bytes = b"", address: str = "127.0.0.1"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))
        self.writers.append(writer)
        writer.write(sent)
        return reader, writer

    async def ask(self, path: bytes, address: str = "127.0.0.1") -> int:
        reader, _ = await self.connect(HEAD % path, address)
        return int((await soon(reader.readline(), 5)).split()[1])


async def fine(_request: web.BaseRequest) -> web.Response:
    return web.Response(text="fine")


@asynccontextmanager
async def serving(found: ConnectionLimits, *proxies: str) -> AsyncIterator[Served]:
    release = asyncio.Event()

    async def remote(request: web.Request) -> web.Response:
        return web.Response(text=str(request.remote))

    async def known(request: web.Request) -> web.Response:
        sign_in(request)
        return web.Response(text="fine")

    async def slow(_request: web.Request) -> web.Response:
        await release.wait()
        return web.Response(text="fine")

    async def big(_request: web.Request) -> web.Response:
        return web.Response(body=BIG)

    app = web.Application(middlewares=[know_client])
    for handler in (fine, remote, known, slow, big):
        app.router.add_get(f"/{handler.__name__}", handler)
    gate = Gate(found, TrustedProxies(proxies))
    server = HttpListener(app, gate, grace=0.2)
    async with AsyncExitStack() as stack:
        port = await server.open("127.0.0.1", 0)
        stack.push_async_callback(server.close)
        served = Served(port, gate, release)
        yield served
        release.set()
        for writer in served.writers:
            writer.close()


def cut_off() -> float:
    return metrics.CONNECTIONS_TIMED_OUT.cell("answer").count


def typed(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Server: glassbridge\r\n" in head
    assert b"nosniff" in head
    return int(head.split()[1]), json.loads(body)["error"]["code"]


@pytest.mark.parametrize("sent", [b"", b"GET /fine HTTP/1.1\r\nHost: x\r\nX: "], ids=["silent", "half a header"])
async def test_a_connection_without_a_request_is_told_and_closed(sent: bytes) -> None:
    async with serving(QUICK) as served:
        readers = [(await served.connect(sent))[0] for _ in range(20)]
        answers = [await soon(reader.read(), 5) for reader in readers]
        assert {typed(answer) for answer in answers} == {(408, "REQUEST_TIMEOUT")}
        await eventually(lambda: len(served.gate) == 0 or f"{len(served.gate)} are left")


async def test_a_friend_that_may_wait_long_gives_strangers_no_time() -> None:
    """The timer rang for it, after 75 s: 2,000 silent sockets stayed open until then."""
    async with serving(limits(idle_time=75.0)) as served:
        friend, _ = await served.connect(HEAD % b"known")
        await soon(friend.readuntil(b"fine"), 5)
        now = asyncio.get_running_loop().time
        await eventually(lambda: (served.gate._timer.due or 0.0) > now() + 60)
        reader, _ = await served.connect()
        assert typed(await soon(reader.read(), 5)) == (408, "REQUEST_TIMEOUT")


def test_a_deadline_that_has_come_is_no_error_under_uvloop() -> None:
    """Its handle has no `when()`: while connections expired, innocent ones were closed without an answer, one in a
    hundred (lab A2)."""

    async def open_two() -> None:
        gate = Gate(limits(header_time=0.0))
        for _ in range(2):
            handler = GuardedHandler(web.Server(fine), gate)
            assert gate.open(handler, "127.0.0.1", 9) is None
        await eventually(lambda: gate.waiting == 0)
        gate.stop()

    uvloop.run(open_two())


async def test_bytes_that_trickle_in_win_no_time() -> None:
    async with serving(QUICK) as served:
        reader, writer = await served.connect(b"GET /fine HTTP/1.1\r\n")
        gone = asyncio.ensure_future(reader.read())

        async def drip() -> bool:
            writer.write(b"X")
            return gone.done()

        assert await eventually(drip, within=3.0) < 1.5
        if gone.exception() is None:  # what trickled in after the answer may have reset the connection
            assert typed(gone.result()) == (408, "REQUEST_TIMEOUT")


async def test_a_second_request_has_its_own_time() -> None:
    async with serving(limits(sign_in_time=5.0)) as served:
        reader, writer = await served.connect(HEAD % b"fine")
        await soon(reader.readuntil(b"fine"), 5)
        writer.write(b"GET /fine HTTP/1.1\r\nHo")
        assert b"408" in await soon(reader.read(), 3)


async def test_an_idle_connection_of_a_stranger_is_closed_and_that_of_a_friend_is_not() -> None:
    async with serving(QUICK) as served:
        stranger, _ = await served.connect(HEAD % b"fine")
        friend, writer = await served.connect(HEAD % b"known")
        await soon(friend.readuntil(b"fine"), 5)
        assert (await soon(stranger.read(), 5)).endswith(b"fine")
        writer.write(HEAD % b"fine")
        await soon(friend.readuntil(b"fine"), 5)


async def test_a_request_that_takes_long_is_not_cut_off_even_behind_another() -> None:
    async with serving(QUICK) as served:
        reader, _ = await served.connect(HEAD % b"fine" + HEAD % b"slow")
        await soon(reader.readuntil(b"fine"), 5)
        others = [await served.connect() for _ in range(2)]
        for other, _ in others:
            await soon(other.read(), 5)  # longer than the times of the first one
        served.release.set()
        await soon(reader.readuntil(b"fine"), 5)


async def test_a_peer_that_takes_no_answer_is_cut_off() -> None:
    before = cut_off()
    async with serving(QUICK) as served:
        await served.connect(HEAD % b"big")
        await eventually(lambda: cut_off() == before + 1 or "it lives")
        await eventually(lambda: len(served.gate) == 0 or "it is still counted")


async def test_one_address_that_is_full_keeps_nobody_out_itself_included() -> None:
    async with serving(limits(per_address=5, connections=100, header_time=30.0)) as served:
        readers = [(await served.connect())[0] for _ in range(12)]
        answers = [await soon(reader.read(), 5) for reader in readers[:7]]
        assert {typed(answer) for answer in answers} == {(429, "TOO_MANY_CONNECTIONS")}
        assert await served.ask(b"fine") == 200
        assert await served.ask(b"fine", "127.0.0.2") == 200
        assert len(served.gate) <= 6


async def test_requests_that_run_are_not_pushed_out() -> None:
    async with serving(limits(per_address=3, connections=100)) as served:
        running = [(await served.connect(HEAD % b"slow"))[0] for _ in range(3)]
        await eventually(lambda: served.gate.waiting == 0 or "not all run")
        reader, _ = await served.connect()
        assert typed(await soon(reader.read(), 5)) == (429, "TOO_MANY_CONNECTIONS")
        assert await served.ask(b"fine", "127.0.0.2") == 200
        served.release.set()
        for reader in running:
            await soon(reader.readuntil(b"fine"), 5)


async def test_a_full_server_serves_newcomers_and_says_it_once() -> None:
    with structlog.testing.capture_logs() as lines:
        async with serving(limits(connections=6, per_address=3, header_time=30.0)) as served:
            first, _ = await served.connect(address="127.0.2.1")
            for number in range(60):
                await served.connect(address=f"127.0.1.{number}")
            assert typed(await soon(first.read(), 5)) == (503, "TOO_MANY_CONNECTIONS")
            assert await served.ask(b"fine") == 200
            assert len(served.gate) <= 6
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["connections refused"]


async def test_a_process_without_descriptors_says_so_and_lives_on(monkeypatch: pytest.MonkeyPatch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(listener, "SPARE_DESCRIPTORS", soft - 3)
    async with serving(QUICK) as served:
        reader, _ = await served.connect()
        assert typed(await soon(reader.read(), 5)) == (503, "TOO_MANY_CONNECTIONS")
        monkeypatch.setattr(listener, "SPARE_DESCRIPTORS", 64)
        assert await served.ask(b"fine") == 200
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


@pytest.mark.parametrize(("proxies", "client"), [((), "127.0.0.1"), (("127.0.0.0/8",), "198.51.100.7")])
async def test_a_client_is_known_behind_a_trusted_proxy_only(proxies: tuple[str, ...], client: str) -> None:
    async with serving(QUICK, *proxies) as served:
        reader, _ = await served.connect(b"GET /remote HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n")
        await soon(reader.readuntil(client.encode()), 5)


async def test_clients_behind_a_proxy_are_counted_apart() -> None:
    head = b"GET /slow HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: %s\r\n\r\n"
    async with serving(limits(per_address=2, connections=100), "127.0.0.1") as served:
        for _ in range(2):
            await served.connect(head % b"198.51.100.7")
        await eventually(lambda: (len(served.gate) == 2 and served.gate.waiting == 0) or "not here yet")
        reader, _ = await served.connect(head % b"198.51.100.7")
        assert b"429" in await soon(reader.readline(), 5)
        other, _ = await served.connect((head % b"198.51.100.8").replace(b"slow", b"fine"))
        assert b"200" in await soon(other.readline(), 5)


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\r\n\r\n", b"GET / HTTP/1.1\r\nbroken header\r\n\r\n", b"G\0T\r\n\r\n"])
async def test_what_is_no_http_gets_a_typed_answer_without_a_version(sent: bytes) -> None:
    async with serving(QUICK) as served:
        reader, _ = await served.connect(sent)
        assert typed(await soon(reader.read(), 5)) == (400, "BAD_REQUEST")


async def test_the_backlog_holds_more_connections_than_aiohttp_does() -> None:
    async with serving(limits(connections=1000, per_address=1000)) as served:
        waiting = []
        for _ in range(400):  # in one go: the server's loop does not turn meanwhile
            waiting.append(socket.create_connection(("127.0.0.1", served.port), timeout=2.0))
        for one in waiting:
            one.close()
