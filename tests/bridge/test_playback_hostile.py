"""A server of sounds that means harm: it learns nothing, reaches nothing, and fills nothing."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import ThreadedResolver, web
from aiohttp.abc import ResolveResult

from glassbridge.bridge import fetch
from glassbridge.bridge.config import PlaybackLimits
from glassbridge.bridge.lifeline import resident_mb
from glassbridge.bridge.public_address import is_public
from tests.bridge.conftest import joined
from tests.bridge.site import Event, encoded, events_of, kinds, request, wav
from tests.bridge.sounds import Growth, png, with_covers, written
from tests.support.fake_participant import FakeLiveKit
from tests.support.patience import patient

Answer = Callable[[web.Request], Any]


class Server:
    """Answers every path with `answer`; counts who came."""

    def __init__(self, answer: Answer) -> None:
        self.visits = 0
        self.sent = 0
        self.port = 0
        self._answer = answer

    async def handle(self, asked: web.Request) -> web.StreamResponse:
        self.visits += 1
        answer: web.StreamResponse = await self._answer(asked)
        return answer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/clip"


@asynccontextmanager
async def serving(answer: Answer, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Server]:
    server = Server(answer)
    app = web.Application()
    app.router.add_get("/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


def bodies(body: bytes, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    return answer


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as entered:
        yield entered


Play = Callable[..., Any]


@pytest.fixture
def play(start: Callable[..., Any], fake: FakeLiveKit) -> Play:
    """Plays what a server gives; only that server's port may be fetched from."""

    bridges: list[Any] = []

    async def run(server: Server, url: str = "", track_ids: Iterable[int] = (0,), **limits: Any) -> list[Any]:
        if not bridges:
            _, bridge = await start(playback=PlaybackLimits(hosts=(f"127.0.0.1:{server.port}",), **limits))
            await joined(bridge)
            bridges.append(bridge)
        calls = (
            events_of(
                bridges[0].PlayAudio(request(url or server.url, f"r{track}", track_id=track), timeout=patient(30))
            )
            for track in track_ids
        )
        return [event for events in await asyncio.gather(*calls) for event in events]

    return run


def reason(events: list[Any]) -> str:
    last = events[-1]
    assert last.type == Event.FAILED, kinds(events)
    code: str = last.metadata["reason"]
    return code


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_leads_nowhere_inside(play: Play, stack: AsyncExitStack, status: int) -> None:
    secret = await stack.enter_async_context(serving(bodies(wav(0.1))))

    async def elsewhere(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": secret.url})

    server = await stack.enter_async_context(serving(elsewhere))
    assert reason(await play(server)) == "forbidden_address"
    assert (server.visits, secret.visits) == (1, 0)


async def test_a_name_that_changes_its_address_is_caught(
    play: Play, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that was checked is the one that is connected to; asked again, the name is checked again.

    127.0.0.2 stands for the public address of somebody who owns the name, 127.0.0.1 for what is inside.
    """
    answers = ["127.0.0.2", "127.0.0.1"]
    asked: list[str] = []

    async def resolve(
        self: ThreadedResolver, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = answers[min(len(asked), 1)]
        asked.append(address)
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST
            )
        ]

    monkeypatch.setattr(ThreadedResolver, "resolve", resolve)
    monkeypatch.setattr(fetch, "is_public", lambda address: address == "127.0.0.2" or is_public(address))
    secret = await stack.enter_async_context(serving(bodies(wav(0.1))))

    async def first_a_sound_then_home(asked_for: web.Request) -> web.Response:
        if asked_for.path == "/home":
            return web.Response(status=302, headers={"Location": f"http://rebind.test:{secret.port}/x"})
        return web.Response(body=wav(0.1))

    outside = await stack.enter_async_context(serving(first_a_sound_then_home, "127.0.0.2", secret.port))
    once = f"http://rebind.test:{outside.port}/sound"
    assert kinds(await play(outside, once)) == ["STARTED", "COMPLETED"]
    assert asked == ["127.0.0.2"]
    asked.clear()
    assert reason(await play(outside, f"http://rebind.test:{outside.port}/home")) == "forbidden_address"
    assert asked == ["127.0.0.2", "127.0.0.1"]
    assert secret.visits == 0


async def test_the_address_that_is_connected_to_is_judged(
    play: Play, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the checks before let through: no connection is made to what is inside."""

    async def resolve(self: object, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST
            )
        ]

    monkeypatch.setattr(fetch._PublicResolver, "resolve", resolve)
    secret = await stack.enter_async_context(serving(bodies(wav(0.1))))
    server = await stack.enter_async_context(serving(bodies(wav(0.1))))
    assert reason(await play(server, f"http://fooled.test:{secret.port}/x")) == "forbidden_address"
    assert secret.visits == 0


SIGNED = (
    "/voice.wav?response-content-type=audio%2Fwav&s=1",
    "/foo%27bar%28test%29.wav?at=12%3A30&sig=a%7Eb",
    "/dir%2Fvoice.wav?",
    "/a+b/../c.wav?d+e=%2B&f=~'()*!",
)


async def test_signed_urls_arrive_as_written(play: Play, stack: AsyncExitStack) -> None:
    """Each redirect leads to the next URL; a signature covers every byte of it."""
    asked: list[str] = []

    async def follow(request: web.Request) -> web.Response:
        asked.append(request.raw_path)
        if len(asked) < len(SIGNED):
            return web.Response(status=302, headers={"Location": SIGNED[len(asked)]})
        return web.Response(body=wav(0.1))

    server = await stack.enter_async_context(serving(follow))
    begin = f"http://127.0.0.1:{server.port}"
    assert kinds(await play(server, begin + SIGNED[0])) == ["STARTED", "COMPLETED"]
    assert asked == list(SIGNED)


async def test_covers_in_a_sound_take_no_memory_of_the_worker(play: Play, stack: AsyncExitStack) -> None:
    """An MP3 of 5.8 MB took it to 6.2 GB."""
    server = await stack.enter_async_context(
        serving(bodies(with_covers(encoded("mp3", "libmp3lame", 1.0, 44100, 2), png(15_700), 8)))
    )
    async with Growth() as growth:
        assert kinds(await play(server))[-1] == "COMPLETED"
    assert growth.mb < 50
    async with Growth() as growth:  # the allocator keeps what one took (26 MB, late in a long run), not what each takes
        assert kinds(await play(server))[-1] == "COMPLETED"
    assert growth.kept_mb < 10


async def test_sounds_that_must_be_kept_whole_share_a_bound(play: Play, stack: AsyncExitStack) -> None:
    """Ten endless bodies of a user that promise an index at their end fill no worker."""
    head = written("m4a")[:48]

    async def endless(asked: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(asked)
        with suppress(ConnectionError):
            await response.write(head[:40] + b"\x7f\xff\xff\xffmdat")
            while True:
                await response.write(bytes(1 << 16))
        return response

    server = await stack.enter_async_context(serving(endless))
    async with Growth() as growth:
        await play(server, "", track_ids=range(8))
    assert growth.mb < 50


async def test_a_body_without_an_end_is_taken_as_it_is_played(play: Play, stack: AsyncExitStack) -> None:
    async def endless(asked: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(asked)
        with suppress(ConnectionError):
            await response.write(wav(0)[:40] + b"\xff\xff\xff\xff")
            while True:
                await response.write(bytes(1 << 16))
                server.sent += 1 << 16
        return response

    server = await stack.enter_async_context(serving(endless))
    assert reason(await play(server, max_seconds=1.0)) == "too_long"
    assert server.sent < 32 << 20, "TCP's own buffers and a window of ours"


async def test_a_body_without_an_end_that_is_no_sound(play: Play, stack: AsyncExitStack) -> None:
    async def endless(asked: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(asked)
        with suppress(ConnectionError):
            while True:
                await response.write(b"no sound at all, " * 4096)
        return response

    server = await stack.enter_async_context(serving(endless))
    assert reason(await play(server, max_kept=4 << 20)) in ("undecodable", "too_large")


async def test_a_header_that_promises_48_hours(play: Play, stack: AsyncExitStack) -> None:
    size = 48 * 3600 * 16000 * 2 & 0xFFFFFFFF
    clip = bytearray(wav(0.3))
    clip[4:8] = clip[40:44] = size.to_bytes(4, "little")
    server = await stack.enter_async_context(serving(bodies(bytes(clip))))
    events = await play(server)
    assert kinds(events) == ["STARTED", "COMPLETED"]
    assert [event.duration_ms for event in events] == [0, 300], "nobody waits 48 hours for the end"


async def test_hours_in_a_small_file(play: Play, stack: AsyncExitStack) -> None:
    """Silence in FLAC: 40 minutes in 0.2 MB, 77 MB when unpacked."""
    bomb = encoded("flac", "flac", 2400.0, 16000, 1, silent=True)
    assert len(bomb) < 1 << 20
    server = await stack.enter_async_context(serving(bodies(bomb)))
    before = resident_mb()
    assert reason(await play(server, max_seconds=1.0)) == "too_long"
    assert resident_mb() - before < 40


async def test_what_is_packed_twice_is_not_unpacked(play: Play, stack: AsyncExitStack) -> None:
    packed = gzip.compress(bytes(50 << 20))
    server = await stack.enter_async_context(serving(bodies(packed, **{"Content-Encoding": "gzip"})))
    assert reason(await play(server)) == "bad_encoding"


@pytest.mark.parametrize(("at_once", "begins_with"), [(40, "FAILED"), (20000, "STARTED")])
async def test_a_slow_drip_is_given_up(play: Play, stack: AsyncExitStack, at_once: int, begins_with: str) -> None:
    """Never silent for long enough to be taken for dead."""
    clip = encoded("mp3", "libmp3lame", 5.0, 44100, 2)

    async def drip(asked: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(asked)
        with suppress(ConnectionError):
            await response.write(clip[:at_once])
            for at in range(at_once, len(clip)):
                await response.write(clip[at : at + 1])
                await asyncio.sleep(0.05)
        return response

    server = await stack.enter_async_context(serving(drip))
    events = await play(server, patience=patient(1.5), stall_timeout=patient(5.0))
    assert kinds(events)[0] == begins_with
    assert reason(events) == "too_slow"


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {secret}\n",
        '<?xml version="1.0"?><MPD><Period><BaseURL>{secret}</BaseURL></Period></MPD>',
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        "[playlist]\nFile1={secret}\n",
    ],
    ids=["hls", "concat", "dash", "sdp", "pls"],
)
async def test_a_file_that_names_others_opens_none(play: Play, stack: AsyncExitStack, playlist: str) -> None:
    """FFmpeg would fetch them itself, past every check."""
    secret = await stack.enter_async_context(serving(bodies(wav(0.1))))
    server = await stack.enter_async_context(serving(bodies(playlist.format(secret=secret.url).encode())))
    assert reason(await play(server)) == "undecodable"
    assert secret.visits == 0


async def test_more_than_is_kept_is_played_as_it_arrives(
    play: Play, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was played is forgotten."""
    monkeypatch.setattr(fetch, "AHEAD", 32 << 10)
    clip = wav(1.5, 96000, 2)
    server = await stack.enter_async_context(serving(bodies(clip)))
    events = await play(server, max_kept=200 << 10)
    assert len(clip) > 500 << 10
    assert kinds(events)[-1] == "COMPLETED", events[-1].error
    assert events[-1].duration_ms == 1500
