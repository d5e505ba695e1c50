"""The link breaker breaks what it is told to break, for whom, and nothing else."""

import asyncio
import struct
from collections.abc import AsyncIterator
from socket import SO_LINGER, SOCK_DGRAM, SOL_SOCKET
from types import SimpleNamespace
from typing import cast

import pytest
from yarl import URL

from glassbridge.lab.link_breaker import ClientLink, LinkBreaker, Path, behind_breaker
from glassbridge.lab.links import Way
from glassbridge.livekit import own
from glassbridge.livekit.own import OwnParticipant
from glassbridge.livekit.participant import ConnectOptions, ParticipantError
from glassbridge.livekit.server import LiveKitServer, free_port
from tests.support.livekit import real_server, token
from tests.support.participants import Recorder
from tests.support.poll import eventually

pytestmark = pytest.mark.real

PATIENT = ConnectOptions(ping_interval=0.2, pong_timeout=60, media_timeout=60)
"""So that the participants do not leave while we look at what gets through."""


class Guest:
    """A participant and what it hears."""

    def __init__(self, place: OwnParticipant, heard: Recorder) -> None:
        self.place = place
        self.heard = heard

    async def gets(self, sender: "Guest", payload: bytes, within: float = 5.0) -> None:
        await sender.place.send(payload, to=(self.place.identity,))
        await eventually(lambda: payload in self.heard.payloads or f"{payload!r} did not arrive", within)


@pytest.fixture
async def breaker() -> AsyncIterator[LinkBreaker]:
    async with real_server(rtc=behind_breaker()) as server, LinkBreaker(server) as breaker:
        yield breaker


async def guest(breaker: LinkBreaker, name: str) -> tuple[Guest, ClientLink]:
    link, heard = await breaker.link(), Recorder()
    return Guest(await own.connect(link.url, token(name), heard, PATIENT), heard), link


@pytest.fixture
async def two(breaker: LinkBreaker) -> AsyncIterator[tuple[Guest, ClientLink, Guest]]:
    """Ann with her link, and Bob, whose link stays whole."""
    (ann, link), (bob, _) = await guest(breaker, "ann"), await guest(breaker, "bob")
    await ann.gets(bob, b"first")
    await bob.gets(ann, b"first")
    yield ann, link, bob
    link.heal()
    await asyncio.gather(ann.place.close(), bob.place.close())


async def blind_for(guest: Guest, sender: Guest, seconds: float) -> None:
    """Nothing that is sent meanwhile arrives."""
    before = len(guest.heard.packets)
    for _ in range(10):
        await sender.place.send(b"lost?", to=(guest.place.identity,), reliable=False)
        await asyncio.sleep(seconds / 10)
    assert len(guest.heard.packets) == before


async def test_held_media_comes_late_and_complete(two: tuple[Guest, ClientLink, Guest]) -> None:
    ann, link, bob = two
    link.hold(Path.MEDIA)
    await blind_for(ann, bob, 0.5)
    link.heal()
    await eventually(lambda: ann.heard.payloads.count(b"lost?") == 10 or f"{ann.heard.payloads}")
    assert ann.place.closed is None


async def test_dropped_media_is_gone(two: tuple[Guest, ClientLink, Guest]) -> None:
    ann, link, bob = two
    link.drop(Path.MEDIA)
    await blind_for(ann, bob, 0.5)
    link.heal()
    await ann.gets(bob, b"after", within=10)
    assert ann.heard.payloads.count(b"lost?") == 0


@pytest.mark.parametrize("way", [Way.UP, Way.DOWN])
async def test_one_direction_alone(two: tuple[Guest, ClientLink, Guest], way: Way) -> None:
    ann, link, bob = two
    link.drop(Path.MEDIA, way)
    deaf, heard_by = (ann, bob) if way is Way.DOWN else (bob, ann)
    await blind_for(deaf, heard_by, 0.5)


async def test_others_are_not_touched(two: tuple[Guest, ClientLink, Guest], breaker: LinkBreaker) -> None:
    ann, link, bob = two
    link.drop()
    cid, _ = await guest(breaker, "cid")
    await bob.gets(cid, b"hello")
    await cid.gets(bob, b"hello")
    await cid.place.close()
    assert b"hello" not in ann.heard.payloads


async def test_held_signalling_stays_silent_and_goes_on(
    two: tuple[Guest, ClientLink, Guest], breaker: LinkBreaker
) -> None:
    ann, link, bob = two
    link.hold(Path.SIGNAL)
    cid, _ = await guest(breaker, "cid")
    await eventually(lambda: "cid" in bob.place.remote or "bob does not know cid")
    assert "cid" not in ann.place.remote
    link.heal()
    await eventually(lambda: "cid" in ann.place.remote or "ann does not know cid")
    await cid.place.close()
    assert ann.heard.closed == []


async def test_dropped_signalling_is_reset_when_healed(two: tuple[Guest, ClientLink, Guest]) -> None:
    ann, link, _ = two
    link.drop(Path.SIGNAL)
    await asyncio.sleep(0.3)
    assert ann.heard.closed == []
    link.heal()
    await eventually(lambda: ann.heard.reason == "network" or f"{ann.heard.closed}")


async def test_cut_signalling_lets_the_next_join_through(two: tuple[Guest, ClientLink, Guest]) -> None:
    ann, link, _ = two
    link.cut()
    await eventually(lambda: ann.heard.reason == "network" or f"{ann.heard.closed}")
    again = await own.connect(link.url, token("ann"), Recorder())
    await again.close()


async def test_a_refusing_link_refuses(two: tuple[Guest, ClientLink, Guest]) -> None:
    ann, link, _ = two
    link.refuse()
    await eventually(lambda: ann.heard.reason == "network" or f"{ann.heard.closed}")
    with pytest.raises(ParticipantError):
        await own.connect(link.url, token("ann"), Recorder())
    link.heal()
    again = await own.connect(link.url, token("ann"), Recorder())
    await again.close()


async def test_what_was_said_before_a_reset_is_delivered_when_healed() -> None:
    """A held goodbye arrives, as it would out of a network that comes back, whatever its sender has become."""
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read())
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        stand_in = SimpleNamespace(port=server.sockets[0].getsockname()[1], udp_port=free_port(SOCK_DGRAM))
        async with LinkBreaker(cast(LiveKitServer, stand_in)) as breaker:
            link = await breaker.link()
            url = URL(link.url)
            _, writer = await asyncio.open_connection(url.host, url.port)
            writer.write(b"hello, ")
            await eventually(lambda: heard != b"" or link.connections != 0)
            link.hold()
            for part in (b"good", b"bye"):
                writer.write(part)
                await asyncio.sleep(0.05)
            # Closed without lingering: a reset, not a goodbye of TCP.
            writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            await asyncio.sleep(0.05)
            link.heal()
            await eventually(lambda: heard == b"hello, goodbye" or f"{bytes(heard)!r}")
