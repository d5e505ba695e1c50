"""Whatever a LiveKit server says, a place ends or goes on with a typed reason; nothing leaks, grows or stalls the loop.

Bounded, and the seed is printed: FUZZ_SEED=N repeats it.
"""

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import thread_time
from typing import Any

import psutil
import pytest
import structlog
from aiohttp import web
from aiortc import RTCPeerConnection
from livekit.protocol import models, rtc

from glassbridge.core.values import LossReason
from glassbridge.livekit import signal
from glassbridge.livekit.own import OwnParticipant, connect, drain_closing
from glassbridge.livekit.participant import ConnectOptions, ParticipantError
from tests.support.livekit import token
from tests.support.participants import Recorder
from tests.support.patience import deadline, patient
from tests.support.poll import eventually
from tests.support.schema import SEED, one_of

TOKEN = token("ann", ttl=86_400.0)
ROUNDS = 10
AT_ONCE = 4
"""Servers of a round: most of it is waiting."""
LATER: Any = 250
"""A reason of a newer server."""
STALL = 0.25
"""Seconds of processor time without a turn for others."""
GROWTH_MB = 50.0
JOIN = rtc.JoinResponse(room=models.Room(name="room"), participant=models.ParticipantInfo(sid="PA_ann", identity="ann"))
OPTIONS = ConnectOptions(timeout=0.6, ping_interval=0.1, pong_timeout=0.4)


class Watch:
    """Over the loop: the most processor time that passed between two turns of it."""

    def __init__(self) -> None:
        self.worst = 0.0

    async def run(self) -> None:
        last = thread_time()
        while True:
            await asyncio.sleep(0)
            now = thread_time()
            self.worst, last = max(self.worst, now - last), now
            await asyncio.sleep(0.005)
            last = thread_time()


@asynccontextmanager
async def serving(messages: list[bytes]) -> AsyncIterator[str]:
    """A server that lets everybody in, says all this at once, and listens."""

    async def script(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        try:
            for number, said in enumerate(messages):
                await socket.send_bytes(said)
                if number % 20 == 0:
                    await asyncio.sleep(0)
        except ConnectionError:
            return socket
        async for _ in socket:
            pass
        return socket

    app = web.Application()
    app.router.add_get("/rtc", script)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextmanager
def no_defects() -> Iterator[None]:
    """Nothing is logged as a defect, and no task of a library dies unheard."""
    unheard: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: unheard.append(context))
    try:
        with structlog.testing.capture_logs() as said:
            yield
            gc.collect()
    finally:
        loop.set_exception_handler(None)
    defects = [line for line in said if line["log_level"] in ("error", "critical") or "exc_info" in line]
    assert not defects, defects
    assert not unheard, [(each.get("message"), each.get("exception")) for each in unheard]


async def outcome(messages: list[bytes]) -> LossReason | None:
    """Joins a server that says this, and leaves; returns why the place was not had or lost; None: it was neither."""
    async with serving(messages) as url:
        try:
            participant = await connect(url, TOKEN, Recorder(), OPTIONS)
        except ParticipantError as error:
            await drain_closing()
            return error.reason
        closed = participant.closed
        await participant.close()
        await drain_closing()
        return closed.reason if closed is not None else None


async def judged(messages: list[bytes], about: str) -> LossReason | None:
    """The same; fails on leaks, stalls and defects."""
    [found] = await all_judged([messages], about)
    return found


async def all_judged(scripts: list[list[bytes]], about: str) -> list[LossReason | None]:
    """The same of several servers at once."""
    watch = Watch()
    before = asyncio.all_tasks()
    watching = asyncio.create_task(watch.run())
    with no_defects():
        try:
            async with deadline(20):
                found = await asyncio.gather(*map(outcome, scripts))
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    def left() -> list[asyncio.Task[Any]]:
        return [task for task in asyncio.all_tasks() if task not in before and not task.done()]

    await eventually(lambda: not left() or f"{about}: tasks are left: {left()}")
    assert watch.worst < STALL, f"{about}: the loop stood still for {watch.worst:.3f} s"
    return found


# --- what it says ---------------------------------------------------------------------------------------------------


async def an_offer() -> str:
    """A real one."""
    connection = RTCPeerConnection()
    connection.createDataChannel(signal.RELIABLE_LABEL)
    connection.addTransceiver("audio", "sendonly")
    await connection.setLocalDescription(await connection.createOffer())
    sdp = connection.localDescription.sdp
    await connection.close()
    return sdp


def offer(sdp: str) -> bytes:
    return signal.encode_response(offer=rtc.SessionDescription(type="offer", sdp=sdp, id=1))


def trickle(init: str, target: int = rtc.SUBSCRIBER) -> bytes:
    return signal.encode_response(trickle=rtc.TrickleRequest(candidateInit=init, target=target))  # type: ignore[arg-type]


def update(*people: models.ParticipantInfo) -> bytes:
    return signal.encode_response(update=rtc.ParticipantUpdate(participants=people))


def person(number: int, **fields: Any) -> models.ParticipantInfo:
    return models.ParticipantInfo(sid=f"PA_{number}", identity=f"user-{number}", **fields)


def candidate(address: str) -> str:
    return f'{{"candidate": "candidate:1 1 udp 2130706431 {address} 5000 typ host", "sdpMLineIndex": 0}}'


DEEP = "[" * 400 + "]" * 400
REFUSAL = rtc.RequestResponse(add_track=rtc.AddTrackRequest(cid="x"), reason=rtc.RequestResponse.NOT_ALLOWED)
SECTION = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n"
TRACKS = [models.TrackInfo(sid=f"TR_{n}", type=models.AUDIO) for n in range(30_000)]


def line_at(index: int) -> str:
    return f'{{"candidate": "candidate:1 1 udp 1 127.0.0.1 1 typ host", "sdpMLineIndex": {index}}}'


def answer(sdp: str, kind: str = "answer") -> bytes:
    return signal.encode_response(answer=rtc.SessionDescription(type=kind, sdp=sdp))


EXTREMES: dict[str, Callable[[str], list[bytes]]] = {
    "deep JSON": lambda _: [trickle(DEEP)],
    "very deep JSON": lambda _: [trickle("[" * 500_000)],
    "deep JSON in a field": lambda _: [trickle('{"candidate": "", "x": ' + DEEP + "}")],
    "a candidate that is a number": lambda _: [trickle('{"candidate": 1e999}')],
    "an index beyond all": lambda sdp: [offer(sdp), trickle(line_at(99_999_999_999))],
    "a negative index": lambda sdp: [offer(sdp), trickle(line_at(-1))],
    "names to look up": lambda sdp: [offer(sdp), *(trickle(candidate(f"{n}.local")) for n in range(200))],
    "other names": lambda sdp: [offer(sdp), *map(trickle, map(candidate, ("host.example.invalid", "localhost")))],
    "names in an offer": lambda sdp: [offer(sdp + "a=candidate:1 1 udp 1 b.local 5 typ host\r\n")],
    "endless candidates": lambda sdp: [
        offer(sdp),
        *(trickle(candidate(f"127.0.{n % 8}.{n % 250}")) for n in range(2_000)),
    ],
    "candidates before all": lambda _: [
        trickle(candidate("127.0.0.1"), target) for target in (0, 1) for _ in range(500)
    ],
    "an empty offer": lambda _: [offer("")],
    "a huge offer": lambda sdp: [offer(sdp + "a=x\r\n" * 150_000)],
    "a huge line": lambda sdp: [offer(sdp + "a=" + "x" * 900_000 + "\r\n")],
    "endless sections": lambda sdp: [offer(sdp + SECTION * 2_000)],
    "as many sections as are read": lambda sdp: [offer(sdp + SECTION * (signal.MAX_SECTIONS - 2))],
    "endless tracks": lambda sdp: [offer(sdp + "".join(f"a=ssrc:{n} msid:PA|TR_{n} x\r\n" for n in range(3_000)))],
    "a track beyond all numbers": lambda sdp: [offer(sdp + "a=ssrc:" + "9" * 5_000 + " msid:a|b c\r\n")],
    "endless offers": lambda sdp: [offer(sdp)] * 200,
    "an answer to nothing": lambda sdp: [answer(sdp)],
    "an answer of garbage": lambda _: [answer("v=0\r\nm=\r\n")],
    "an offer for an answer": lambda sdp: [answer(sdp, "offer")] * 5,
    "joins again and again": lambda _: [signal.encode_response(join=JOIN)] * 500,
    "endless pongs": lambda _: [signal.encode_response(pong_resp=rtc.Pong())] * 20_000,
    "endless people": lambda _: [update(*map(person, range(k, k + 500))) for k in range(0, 20_000, 500)],
    "many people at once": lambda _: [update(*map(person, range(20_000)))],
    "people with baggage": lambda _: [update(person(n, metadata="x" * 900_000)) for n in range(100)],
    "a person of many tracks": lambda _: [update(person(1, tracks=TRACKS))],
    "an identity of a megabyte": lambda _: [update(models.ParticipantInfo(sid="PA", identity="x" * 900_000))],
    "a message of two megabytes": lambda _: [update(person(1, metadata="x" * (2 << 20)))],
    "refusals of tracks": lambda _: [signal.encode_response(request_response=REFUSAL)] * 100,
    "a leave of the future": lambda _: [signal.encode_response(leave=rtc.LeaveRequest(reason=LATER))],
    "no message": lambda _: [b"", b"\xff" * 1_000],
}


@pytest.mark.parametrize("joined", [True, False], ids=["joined", "not joined"])
@pytest.mark.parametrize("name", EXTREMES)
async def test_no_extreme_hurts(name: str, joined: bool) -> None:
    messages = EXTREMES[name](await an_offer())
    found = await judged([signal.encode_response(join=JOIN), *messages] if joined else messages, name)
    assert found is not None, "nobody connects to this server"


def a_response(chance: random.Random) -> bytes:
    return one_of(chance, rtc.SignalResponse(), "message").SerializeToString()


def torn(chance: random.Random, text: str) -> str:
    """A description with lines lost, doubled, moved and overwritten."""
    lines = text.splitlines()
    for _ in range(chance.randrange(1, 8)):
        at = chance.randrange(len(lines))
        match chance.randrange(5):
            case 0:
                del lines[at : at + chance.randrange(1, 4)]
            case 1:
                lines.insert(chance.randrange(len(lines)), lines[at])
            case 2:
                lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)]
            case 3:
                lines[at] = lines[at].replace(":", ": " + str(chance.randrange(-9, 1 << 40)), 1)
            case 4:
                chance.shuffle(lines)
        lines = lines or ["v=0"]
    return "\r\n".join(lines) + "\r\n"


def a_script(chance: random.Random, sdp: str) -> list[bytes]:
    """What one server says."""
    messages = [signal.encode_response(join=JOIN)] if chance.random() < 0.8 else []
    for _ in range(chance.randrange(1, 25)):
        match chance.randrange(6):
            case 0:
                messages.append(chance.randbytes(chance.choice((0, 1, 10, 1_000, 100_000))))
            case 1:
                messages.append(offer(torn(chance, sdp)))
            case 2:
                whole = a_response(chance)
                messages.append(whole[: chance.randrange(len(whole) + 1)])
            case 3:
                messages.append(offer(sdp))
            case _:
                messages.append(a_response(chance))
    return messages


async def test_whatever_it_says_the_place_has_a_typed_end_and_nothing_is_left() -> None:
    print(f"FUZZ_SEED={SEED}")
    chance = random.Random(SEED)
    sdp = await an_offer()
    process = psutil.Process()
    before = 0.0
    for number in range(ROUNDS):
        await all_judged([a_script(chance, sdp) for _ in range(AT_ONCE)], f"seed {SEED}, round {number}")
        if number == 1:
            gc.collect()
            before = process.memory_info().rss / (1 << 20)
    gc.collect()
    grown = process.memory_info().rss / (1 << 20) - before
    assert grown < GROWTH_MB, f"seed {SEED}: {grown:.0f} MB more after {ROUNDS * AT_ONCE} places"


async def test_many_people_with_baggage_are_not_kept() -> None:
    process = psutil.Process()
    people = [update(person(n, metadata="x" * 500_000)) for n in range(300)]
    async with serving([signal.encode_response(join=JOIN), *people]) as url:
        before = process.memory_info().rss
        options = ConnectOptions(timeout=patient(10.0), pong_timeout=patient(10.0))  # pongs come behind 150 MB
        participant = OwnParticipant(Recorder(), options)
        participant.start(url, TOKEN)
        await eventually(lambda: len(participant.remote) == 300 or f"{len(participant.remote)} are known", 20)
        gc.collect()
        grown = (process.memory_info().rss - before) / (1 << 20)
        await participant.close()
    assert grown < GROWTH_MB, f"{grown:.0f} MB for 300 people of whom little is needed"
