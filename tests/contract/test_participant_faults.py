"""The contract of a place in a room under faults: cancelled, over and over, frozen, cut off."""

import asyncio
import gc
import json
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from time import monotonic, sleep
from typing import Any

import psutil
import pytest

from glassbridge.core.values import LossReason
from glassbridge.lab.link_breaker import ClientLink, LinkBreaker, Path, behind_breaker
from glassbridge.lab.links import Way
from glassbridge.livekit.connectors import connector
from glassbridge.livekit.participant import FRAME_BYTES, ConnectOptions, ParticipantError
from glassbridge.runtime.child import Child
from tests.support.livekit import LiveKit, real_server, token
from tests.support.participants import Recorder
from tests.support.patience import patient, soon
from tests.support.places import OWN, ROOM, SDK, Kind, Seat, Seats, nobody_is_left, present
from tests.support.poll import eventually

TOLD = 4.0
"""Seconds in which a lost place must be known to be lost."""
PONG_TIMEOUT, MEDIA_TIMEOUT = ConnectOptions().pong_timeout, ConnectOptions().media_timeout
NEWS = 4.0
"""Seconds in which others must be known to be gone: the server tells of those without a track each 3 s only."""

# --- cancelled ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "times"), [(OWN, 300), pytest.param(SDK, 4, marks=pytest.mark.sdk)], ids=["own", "sdk"]
)
async def test_a_join_can_be_cancelled_at_any_moment(kind: Kind, times: int, livekit: LiveKit) -> None:
    """Nothing stays: no participant on the server, and (conftest.py) no task, socket or file here."""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    slowest, cancelled = 0.0, 0
    for _ in range(times):
        joining = asyncio.create_task(connector(kind.name)(livekit.url, token("ann", ROOM), Recorder()))
        await asyncio.wait([joining], timeout=chance.uniform(0, 0.06))
        joining.cancel()
        begun = asyncio.get_running_loop().time()
        [outcome] = await asyncio.gather(joining, return_exceptions=True)
        match outcome:
            case asyncio.CancelledError():
                cancelled += 1
                slowest = max(slowest, asyncio.get_running_loop().time() - begun)
            case ParticipantError():  # the server took its predecessor, which is leaving, for its successor
                assert outcome.reason is LossReason.SUPERSEDED, f"seed {seed}: {outcome}"
            case BaseException():
                raise outcome
            case place:
                await place.close()
    await kind.drain()
    assert cancelled > times / 10, f"seed {seed}: only {cancelled} were cancelled"
    assert slowest < patient(0.5), f"seed {seed}: cancelling took {slowest:.2f} s"
    await nobody_is_left(livekit.url, kind, f"seed {seed}")


async def test_a_bystander_knows_who_is_left(kind: Kind, livekit: LiveKit, seats: Seats) -> None:
    """The server says nothing of the end of a session whose successor has come: also when that one was given up."""
    bystander = await seats.join(kind, "bob")
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    for _ in range(20):
        joining = asyncio.create_task(connector("own")(livekit.url, token("ann", ROOM), Recorder()))
        await asyncio.wait([joining], timeout=chance.uniform(0, 0.08))
        joining.cancel()
        [outcome] = await asyncio.gather(joining, return_exceptions=True)
        if not isinstance(outcome, BaseException):
            await outcome.close()
    await OWN.drain()

    async def agrees() -> bool | str:
        listed = {who.identity: who.sid for who in await present(livekit.url) if who.identity != "bob"}
        seen = {identity: who.sid for identity, who in bystander.place.remote.items()}
        return listed == seen == {} or f"seed {seed}: on the server {listed}, bob sees {seen}"

    await eventually(agrees, NEWS, every=0.2)


async def test_a_publish_can_be_cancelled_at_any_moment(seats: Seats) -> None:
    ann, bob = await seats.join(OWN, "ann"), await seats.join(OWN, "bob")
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    for _ in range(20):  # each takes a line of its own: the descriptions grow with the square
        publishing = asyncio.create_task(ann.place.publish("speaker"))
        await asyncio.wait([publishing], timeout=chance.uniform(0, 0.04))
        publishing.cancel()
        with suppress(asyncio.CancelledError):
            await (await publishing).unpublish()
    track = await ann.place.publish("speaker")

    def only_this() -> bool | str:
        seen = bob.place.remote.get("ann")
        return (seen is not None and seen.publishing) or f"seed {seed}: {seen}"

    await eventually(only_this)
    await track.unpublish()
    await eventually(lambda: not bob.place.remote["ann"].publishing or f"seed {seed}: a track was left behind", 10)


# --- over and over --------------------------------------------------------------------------------------------------


async def cycle(kind: Kind, livekit: LiveKit, times: int) -> tuple[int, int]:
    """Joins and leaves so often; returns the growth in objects and in bytes of memory, once it is warm."""
    warm = 20 if kind is OWN else 3
    process = psutil.Process()
    objects = memory = 0
    for round_ in range(warm + times):
        if round_ == warm:
            gc.collect()
            objects, memory = len(gc.get_objects()), process.memory_info().rss
        place = await connector(kind.name)(livekit.url, token("ann", ROOM), Recorder())
        await place.send(b"here")
        await place.close()
    await kind.drain()
    gc.collect()
    return len(gc.get_objects()) - objects, process.memory_info().rss - memory


@pytest.mark.parametrize(
    ("kind", "times"), [(OWN, 60), pytest.param(SDK, 6, marks=pytest.mark.sdk)], ids=["own", "sdk"]
)
async def test_joining_and_leaving_leaves_nothing(kind: Kind, times: int, livekit: LiveKit) -> None:
    limit = (10 if kind is OWN else 50) * times
    growth = []
    for _ in range(3):  # a leak grows each time; what a library sets up once, or frees late, does not
        growth.append((await cycle(kind, livekit, times))[0])
        if growth[-1] < limit:
            break
    assert min(growth) < limit, f"objects stay behind with each join: {growth}"
    await nobody_is_left(livekit.url, kind)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_thousand_joins_need_no_more_memory_than_a_few(livekit: LiveKit) -> None:
    objects, memory = await cycle(OWN, livekit, 1000)
    assert objects < 2000
    assert memory < 10 << 20
    await nobody_is_left(livekit.url, OWN)


# --- frozen ---------------------------------------------------------------------------------------------------------


class Sitter:
    """A participant in a process of its own."""

    def __init__(self, process: Child) -> None:
        self.process = process
        self.told: list[dict[str, Any]] = []

    async def listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.told.append(json.loads(line))

    def all(self, what: str) -> list[Any]:
        return [told[what] for told in self.told if what in told]

    def send(self, number: signal.Signals) -> None:
        self.process.signal(number)


@asynccontextmanager
async def sitting(kind: Kind, url: str, identity: str, **options: float) -> AsyncIterator[Sitter]:
    words = [sys.executable, "-m", "tests.support.sitter", kind.name, url, token(identity, ROOM), json.dumps(options)]
    process = await Child.start(words, stdout=asyncio.subprocess.PIPE)
    sitter = Sitter(process)
    listening = asyncio.create_task(sitter.listen())
    try:
        await eventually(lambda: bool(sitter.all("joined")) or "the sitter does not join", 15)
        yield sitter
    finally:
        await process.stop(grace=0)
        await listening


async def beside(kinds: tuple[Kind, ...], proof: Callable[[Kind], Coroutine[Any, Any, None]]) -> None:
    """One proof for all kinds at once: most of it is waiting."""
    async with asyncio.TaskGroup() as proofs:
        for kind in kinds:
            proofs.create_task(proof(kind))


@pytest.fixture
async def real_seats(real_livekit: LiveKit) -> AsyncIterator[Seats]:
    seats = Seats(real_livekit.url)
    yield seats
    await seats.leave_all()


@pytest.mark.real
async def test_a_short_freeze_is_survived(kinds: tuple[Kind, ...], real_seats: Seats) -> None:
    """Shorter than others need to take over: all that was said meanwhile comes late."""

    async def proof(kind: Kind) -> None:
        async with sitting(kind, real_seats.url, kind.name) as ann:
            bob = await real_seats.join(OWN, f"beside {kind.name}")
            await bob.place.send(b"before", to=(kind.name,))
            await eventually(lambda: "before" in ann.all("packet") or f"{ann.told}")
            ann.send(signal.SIGSTOP)
            for number in range(30):
                await bob.place.send(b"%d" % number, to=(kind.name,))
                await asyncio.sleep(0.1)
            ann.send(signal.SIGCONT)
            expected = [str(number) for number in range(30)]
            await eventually(lambda: ann.all("packet")[1:] == expected or f"{ann.told}")
            assert ann.all("closed") == []

    await beside(kinds, proof)


@pytest.mark.real
@pytest.mark.parametrize("frozen", [8.0, *(pytest.param(longer, marks=pytest.mark.slow) for longer in (20.0, 30.0))])
async def test_who_wakes_superseded_leaves_the_successor_in_peace(
    frozen: float, kinds: tuple[Kind, ...], real_seats: Seats
) -> None:
    async def proof(kind: Kind) -> None:
        async with sitting(kind, real_seats.url, kind.name) as old:
            old.send(signal.SIGSTOP)
            new = await real_seats.join(OWN, kind.name)
            await asyncio.sleep(frozen)
            old.send(signal.SIGCONT)
            await eventually(lambda: bool(old.all("closed")) or "it does not notice", TOLD)
            # The SDK's word may come later than our own judgement of the gap.
            assert old.all("closed") in ([["superseded"]] if kind is OWN else [["superseded"], ["frozen"], ["network"]])
            await soon(old.process.wait(), 10)
            assert new.place.closed is None
            await only(new, real_seats.url)

    await beside(kinds, proof)


async def only(seat: Seat, url: str) -> None:
    """Nobody else has the identity of this seat, on the server."""
    here = [who.sid for who in await present(url) if who.identity == seat.place.identity]
    assert here == [seat.place.sid]


@pytest.mark.real
async def test_who_stood_still_too_long_leaves_unasked(kinds: tuple[Kind, ...], real_livekit: LiveKit) -> None:
    async def proof(kind: Kind) -> None:
        async with sitting(kind, real_livekit.url, kind.name, loop_gap=2.0) as ann:
            ann.send(signal.SIGSTOP)
            await asyncio.sleep(4.0)
            ann.send(signal.SIGCONT)
            await eventually(lambda: ann.all("closed") == ["frozen"] or f"{ann.told}", TOLD)
            await soon(ann.process.wait(), 10)

    await beside(kinds, proof)
    await nobody_is_left(real_livekit.url, SDK)


# --- superseded -----------------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("times", [25, pytest.param(100, marks=pytest.mark.slow)])
async def test_who_is_superseded_while_it_speaks_says_so(times: int, real_seats: Seats) -> None:
    """What it sends meanwhile fails before it has read why: the loop stands still while the server's word arrives."""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    seats, speakers = [await real_seats.join(OWN, "ann")], []
    for number in range(times):
        speakers.append(asyncio.create_task(speak(seats[-1], by_track=number % 2 == 1)))
        joining = asyncio.create_task(real_seats.join(OWN, "ann"))
        await asyncio.sleep(chance.uniform(0, 0.03))
        sleep(chance.uniform(0, 0.2))
        seats.append(await joining)
        await eventually(ended(seats[-2], "superseded"))
    assert [seat.heard.reason for seat in seats] == ["superseded"] * times + [""], f"seed {seed}"
    for error in await asyncio.gather(*speakers):
        # The channels close some time before the server says why.
        assert error.reason in (LossReason.SUPERSEDED, LossReason.MEDIA_FAILED), f"seed {seed}: {error}"


async def speak(seat: Seat, *, by_track: bool) -> ParticipantError:
    """50 frames a second, until there is no place any more."""
    try:
        track = await seat.place.publish("microphone") if by_track else None
        while True:
            if track is not None:
                await track.write(bytes(FRAME_BYTES))
            else:
                await seat.place.send(bytes(FRAME_BYTES), reliable=False)
                await asyncio.sleep(0.02)
    except ParticipantError as error:
        return error


# --- cut off --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def breaker() -> AsyncIterator[LinkBreaker]:
    async with real_server(rtc=behind_breaker()) as server, LinkBreaker(server) as broken:
        yield broken


@pytest.fixture
async def behind(breaker: LinkBreaker) -> AsyncIterator[Seats]:
    seats = Seats(f"ws://127.0.0.1:{breaker.signal_port}")
    yield seats
    await seats.leave_all()


def ended(seat: Seat, *reasons: str) -> Callable[[], bool | str]:
    return lambda: seat.heard.reason in reasons or f"ended: {seat.heard.closed}"


CUTS: dict[str, Callable[[ClientLink], None]] = {
    "hold": ClientLink.hold,
    "drop": ClientLink.drop,
    "hold up": partial(ClientLink.hold, ways=Way.UP),
    "hold down": partial(ClientLink.hold, ways=Way.DOWN),
    "reset": ClientLink.refuse,
    "reset once": ClientLink.cut,
}


@pytest.mark.real
@pytest.mark.parametrize(
    ("fault", "held"),
    [
        ("hold", 8.0),
        ("reset once", 2.0),
        *(pytest.param("hold", longer, marks=pytest.mark.slow) for longer in (20.0, 30.0)),
        *(pytest.param(fault, 8.0, marks=pytest.mark.slow) for fault in ("drop", "hold up", "hold down", "reset")),
    ],
)
async def test_who_was_cut_off_tells_and_never_takes_the_place_back(
    fault: str, held: float, kinds: tuple[Kind, ...], breaker: LinkBreaker, behind: Seats
) -> None:
    async def proof(kind: Kind) -> None:
        link = await breaker.link()
        old = await behind.join(kind, kind.name, url=link.url)
        CUTS[fault](link)
        cut = monotonic()
        new = await behind.join(OWN, kind.name)
        await eventually(ended(old, "network", "media_failed", "superseded"), TOLD)
        await asyncio.sleep(max(0.0, cut + held - monotonic()))
        link.heal()
        await asyncio.sleep(2.0)
        assert new.place.closed is None
        assert len(old.heard.closed) == 1
        await only(new, behind.url)

    await beside(kinds, proof)


@pytest.mark.real
async def test_a_cut_and_a_dead_media_path_are_told_apart(
    kinds: tuple[Kind, ...], breaker: LinkBreaker, behind: Seats
) -> None:
    async def proof(kind: Kind, path: Path, reasons: tuple[str, ...]) -> None:
        link = await breaker.link()
        # The signs of life over the media path are due later than the pongs; so they are on a slow machine.
        late: dict[str, Any] = {"media_timeout": patient(MEDIA_TIMEOUT)} if path is Path.BOTH else {}
        ann = await behind.join(kind, f"{kind.name} {path}", url=link.url, **late)
        link.drop(path)
        await eventually(ended(ann, *reasons), TOLD if kind is OWN or path is Path.BOTH else 15)

    await beside(kinds, lambda kind: proof(kind, Path.MEDIA, ("media_failed",)))
    await beside(kinds, lambda kind: proof(kind, Path.BOTH, ("network",)))


@pytest.mark.real
async def test_a_blip_is_no_reason_to_go(kinds: tuple[Kind, ...], breaker: LinkBreaker, behind: Seats) -> None:
    async def proof(kind: Kind) -> None:
        link = await breaker.link()
        ann = await behind.join(
            kind, kind.name, url=link.url, pong_timeout=patient(PONG_TIMEOUT), media_timeout=patient(MEDIA_TIMEOUT)
        )
        bob = await behind.join(OWN, f"beside {kind.name}")
        await asyncio.sleep(1.0)
        link.hold()
        await asyncio.sleep(1.0)
        link.heal()
        await bob.place.send(b"after", to=(kind.name,))
        await eventually(lambda: ann.heard.payloads == [b"after"] or f"{ann.heard}", 5)
        await asyncio.sleep(3.0)
        assert ann.place.closed is None

    await beside(kinds, proof)


@pytest.mark.real
@pytest.mark.parametrize("paths", [Path.BOTH, Path.MEDIA], ids=["both", "media"])
async def test_a_join_into_nothing_has_its_deadline(
    paths: Path, kinds: tuple[Kind, ...], breaker: LinkBreaker, behind: Seats
) -> None:
    async def proof(kind: Kind) -> None:
        link = await breaker.link()
        link.hold(paths)
        joining = connector(kind.name)(link.url, token(kind.name, ROOM), Recorder(), ConnectOptions(timeout=2.0))
        with pytest.raises(ParticipantError) as caught:
            await joining
        expected = "unreachable" if paths is Path.BOTH or kind is SDK else "media_failed"
        assert caught.value.reason.code == expected
        link.heal()
        await kind.drain()

    await beside(kinds, proof)
    await nobody_is_left(behind.url, SDK)
