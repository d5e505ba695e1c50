"""Media through TURN, where UDP does not pass: a real livekit-server with its TURN server, by TLS, TCP and UDP."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aioice import Connection, stun
from aioice.ice import StunProtocol
from aioice.turn import TurnTransport
from livekit.protocol import rtc

from glassbridge.core.values import LossReason
from glassbridge.lab.certificate import make_certificate
from glassbridge.lab.turn import base62, embedded_turn
from glassbridge.livekit import relay
from glassbridge.livekit.own import connect, drain_closing
from glassbridge.livekit.participant import ConnectOptions, Participant, ParticipantError, RelayUse
from glassbridge.livekit.relay import RelayServer, relay_servers
from glassbridge.livekit.server import LOOPBACK, LiveKitServer, free_port
from tests.support.livekit import KEYS, real_server, token
from tests.support.participants import Recorder
from tests.support.poll import eventually, stays

STUN_SERVERS = {"stun_servers": ["127.0.0.1:9"]}


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    relay._context.cache_clear()
    return certificate


@pytest.fixture
def no_udp(monkeypatch: pytest.MonkeyPatch) -> None:
    """No datagram of ours leaves but through TURN."""
    send = StunProtocol.send_stun

    def send_by_relay(self: StunProtocol, message: stun.Message, addr: tuple[str, int]) -> None:
        if isinstance(self.transport, TurnTransport):
            send(self, message, addr)

    monkeypatch.setattr(StunProtocol, "send_stun", send_by_relay)


@asynccontextmanager
async def server(by: str, certificate: tuple[Path, Path] | None = None) -> AsyncIterator[LiveKitServer]:
    turn = embedded_turn(KEYS, LOOPBACK, free_port(), by, certificate)
    async with real_server(turn=turn.turn, rtc={"turn_servers": turn.servers}) as running:
        yield running


async def join(running: LiveKitServer, name: str, ears: Recorder, **options: Any) -> Participant:
    return await connect(running.url, token(name), ears, ConnectOptions(timeout=8.0, **options))


async def hear_each_other(running: LiveKitServer, **options: Any) -> list[Participant]:
    ears = Recorder()
    ann = await join(running, "ann", Recorder(), **options)
    bob = await join(running, "bob", ears, **options)
    for reliable in (True, False):
        await ann.send(b"by relay", reliable=reliable)
    await eventually(lambda: ears.payloads == [b"by relay"] * 2 or f"it heard {ears.payloads}")
    return [ann, bob]


def used(participant: Any) -> set[str]:
    """By what it is in the room."""
    sides = (participant._subscriber.ice, participant._publisher.ice)
    return {type(pair.protocol.transport).__name__ for side in sides for pair in side._nominated.values()}


@pytest.mark.real
@pytest.mark.parametrize("by", ["tls", "tcp", "udp"])
async def test_a_place_by_relay_alone(by: str, trusted: tuple[Path, Path]) -> None:
    async with server(by, trusted) as running:
        people = await hear_each_other(running, relay=RelayUse.ONLY)
        assert [used(person) for person in people] == [{"TurnTransport"}] * 2
        for person in people:
            await person.close()
        await drain_closing()


@pytest.mark.real
async def test_without_udp_the_relay_is_used(trusted: tuple[Path, Path], no_udp: None) -> None:
    async with server("tls", trusted) as running:
        people = await hear_each_other(running)
        assert [used(person) for person in people] == [{"TurnTransport"}] * 2
        for person in people:
            await person.close()
        await drain_closing()


@pytest.mark.real
async def test_with_udp_no_relay_is_asked(trusted: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[RelayServer] = []
    monkeypatch.setattr(relay, "_allocate", lambda server, _ice: asked.append(server))
    monkeypatch.setattr(relay, "AFTER", 0.2)
    async with server("tls", trusted) as running:
        people = await hear_each_other(running)
        assert [used(person) for person in people] == [{"_SelectorDatagramTransport"}] * 2
        for person in people:
            await person.close()
        await drain_closing()
    assert not asked


@pytest.mark.real
@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda turn: turn.servers[0].update(credential="wrong"), "it does not accept LiveKit's credential"),
        (lambda turn: turn.servers[0].update(port=free_port()), "connection refused"),
        (lambda turn: turn.servers.clear(), "its certificate is not trusted"),
    ],
)
async def test_a_relay_that_cannot_be_had_says_why(prepare: Callable[[Any], Any], said: str, tmp_path: Path) -> None:
    relay._context.cache_clear()
    turn = embedded_turn(KEYS, LOOPBACK, free_port(), "tls", make_certificate(tmp_path))
    if said != "its certificate is not trusted":
        turn = embedded_turn(KEYS, LOOPBACK, free_port(), "tcp")
        prepare(turn)
    async with real_server(turn=turn.turn, rtc={"turn_servers": turn.servers}) as running:
        with pytest.raises(ParticipantError) as caught:
            await join(running, "ann", Recorder(), relay=RelayUse.ONLY)
        await drain_closing()
    assert caught.value.reason is LossReason.MEDIA_FAILED
    assert said in caught.value.detail
    assert turn.servers[0]["credential"] not in caught.value.detail


class HastyServer(asyncio.DatagramProtocol):
    """Grants an address for no time at all."""

    def __init__(self) -> None:
        self.asked: Counter[stun.Method] = Counter()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        request = stun.parse_message(data)
        self.asked[request.message_method] += 1
        answer = stun.Message(request.message_method, stun.Class.RESPONSE, transaction_id=request.transaction_id)
        answer.attributes.update({"LIFETIME": 0, "XOR-MAPPED-ADDRESS": addr, "XOR-RELAYED-ADDRESS": (LOOPBACK, 9)})
        self.transport.sendto(bytes(answer), addr)


async def test_an_address_that_lasts_for_no_time_is_not_renewed_without_a_pause() -> None:
    where, hasty = await asyncio.get_running_loop().create_datagram_endpoint(HastyServer, local_addr=(LOOPBACK, 0))
    port = where.get_extra_info("sockname")[1]
    ice = Connection(ice_controlling=True)
    granted = await relay._allocate(RelayServer(LOOPBACK, port, "udp", "ann", "a-secret"), ice)
    await stays(lambda: hasty.asked[stun.Method.REFRESH] == 0 or f"{hasty.asked}", 0.2)
    await granted.close()
    await ice.close()
    where.close()


@pytest.mark.real
async def test_without_a_named_server_there_is_none() -> None:
    async with real_server() as running:
        with pytest.raises(ParticipantError, match="names no TURN server"):
            await join(running, "ann", Recorder(), relay=RelayUse.ONLY)
        await drain_closing()


def test_what_is_named_is_read_with_care() -> None:
    urls = [
        "turn:a:1?transport=udp",
        "turn:b.example?transport=tcp",
        "turns:c.example:443?transport=tcp",
        "turns:[::1]:443",
        "turns:d:443?transport=udp",
        "turn:e:99999",
        "turn:f:1?transport=sctp",
        "stun:g:1",
        "turn:h h:1",
        "turns:" + "i" * 3 + "/../x",
        "",
        *(f"turn:many{number}:1" for number in range(20)),
    ]
    found = relay_servers([rtc.ICEServer(urls=urls, username="ann", credential="a-secret")])
    assert [(server.host, server.port, server.by) for server in found] == [
        ("c.example", 443, "tls"),
        ("::1", 443, "tls"),
        ("b.example", 3478, "tcp"),
        ("a", 1, "udp"),
    ]
    assert "a-secret" not in repr(found) + str(found[0])


@pytest.mark.parametrize(
    ("data", "spelled"),
    [
        (b"\xff\xff\xff", "ffffP"),
        (b"\0", "AA"),
        (b"\x1e", "eA"),
        (b"testkey|lab|1893456000", "wADM2UDNzkDOxwnYhxGfyrs1obuyoD"),
    ],
)
def test_credentials_are_spelled_as_livekit_does(data: bytes, spelled: str) -> None:
    assert base62(data) == spelled
