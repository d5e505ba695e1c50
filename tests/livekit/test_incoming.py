"""What comes in on a connection, without aiortc's queue; holes, repeats and damage by aiortc."""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiortc import RTCDataChannel, RTCPeerConnection
from aiortc.mediastreams import AudioStreamTrack
from aiortc.rtcsctptransport import (
    SCTP_DATA_FIRST_FRAG,
    SCTP_DATA_LAST_FRAG,
    SCTP_DATA_UNORDERED,
    SCTP_TSN_MODULO,
    WEBRTC_BINARY,
    WEBRTC_DCEP,
    DataChunk,
    RTCSctpTransport,
    serialize_packet,
)

from glassbridge.livekit import aiortc_quirks as quirks
from glassbridge.livekit.incoming import MAX_OVERRUN, Incoming
from glassbridge.livekit.media import parse_rtp
from tests.livekit.test_aiortc_quirks import connect_prepared, connections, renegotiate
from tests.support.poll import eventually

LARGE = bytes(range(256)) * 12
"""Three datagrams."""
WINDOW = 1 << 20
"""Bytes that may wait for the ends of their messages."""


def sctp_of(connection: RTCPeerConnection) -> RTCSctpTransport:
    assert connection.sctp is not None
    return connection.sctp


@dataclass
class Ear:
    one: RTCPeerConnection
    other: RTCPeerConnection
    lossy: RTCDataChannel
    reliable: RTCDataChannel
    incoming: Incoming
    heard: list[tuple[str, bytes]] = field(default_factory=list)
    queued: list[bytes] = field(default_factory=list)
    """Datagrams that went aiortc's way."""
    acknowledged: int = 0

    def packet(self, data: bytes, protocol: int = WEBRTC_BINARY) -> bytes:
        """As the server would send it next."""
        return serialize_packet(5000, 5000, sctp_of(self.other)._local_verification_tag, self.chunk(data, protocol))

    def chunk(self, data: bytes, protocol: int = WEBRTC_BINARY) -> DataChunk:
        """One message, whole and unordered."""
        chunk = DataChunk(flags=SCTP_DATA_FIRST_FRAG | SCTP_DATA_LAST_FRAG | SCTP_DATA_UNORDERED)
        chunk.tsn = (self.last + 1) % SCTP_TSN_MODULO
        chunk.stream_id, chunk.protocol, chunk.user_data = self.lossy.id or 0, protocol, data
        return chunk

    @property
    def last(self) -> int:
        return sctp_of(self.other)._last_received_tsn or 0

    async def hears(self, *expected: tuple[str, bytes]) -> None:
        await eventually(lambda: len(self.heard) >= len(expected) or f"{len(self.heard)} of {len(expected)}")
        assert self.heard == list(expected)

    async def rests(self) -> None:
        """Everything is acknowledged."""
        await eventually(lambda: not sctp_of(self.one)._sent_queue or "not all is acknowledged")


@asynccontextmanager
async def listening() -> AsyncIterator[Ear]:
    """Two channels of data from one to the other, where it is taken as it comes."""
    async with connections() as (one, other):
        lossy = one.createDataChannel("lossy", ordered=False, maxRetransmits=0)
        reliable = one.createDataChannel("reliable")
        await connect_prepared(one, other)
        ear = Ear(one, other, lossy, reliable, Incoming(quirks.dtls_of(other), print, lambda *_: None))
        ear.incoming._on_message = lambda label, data: ear.heard.append((label, data))
        sctp = sctp_of(other)
        ice = quirks.ice_of(other)
        send = ice.sendto

        async def counted(datagram: bytes, component: int) -> None:
            ear.acknowledged += 1  # it sends nothing else
            await send(datagram, component)

        ice.sendto = counted  # type: ignore[method-assign, assignment]
        for _ in range(2):  # after each offer
            ear.incoming.take_data(sctp)
        queue = ear.incoming._leave_to_aiortc

        def noted(datagram: bytes, component: int) -> None:
            ear.queued.append(datagram)
            queue(datagram, component)

        ear.incoming._leave_to_aiortc = noted  # type: ignore[assignment]
        await eventually(lambda: {lossy.readyState, reliable.readyState} == {"open"} or "channels are not open")
        await ear.rests()
        ear.queued.clear()
        ear.acknowledged = 0
        yield ear


def losing(connection: RTCPeerConnection, loses: Callable[[int], bool]) -> None:
    """Loses some of the packets of data that the connection sends, by their number."""
    sctp = sctp_of(connection)
    send = sctp._send_chunk
    number = -1

    async def send_or_lose(chunk: Any) -> None:
        nonlocal number
        if isinstance(chunk, DataChunk):
            number += 1
            if loses(number):
                return
        await send(chunk)

    sctp._send_chunk = send_or_lose  # type: ignore[method-assign]


async def test_messages_arrive_whole_and_none_waits_in_a_queue() -> None:
    async with listening() as ear:
        for number in range(5):
            ear.lossy.send(b"%d" % number + LARGE)
            ear.reliable.send(b"%d" % number)
        sent = [[("lossy", b"%d" % number + LARGE), ("reliable", b"%d" % number)] for number in range(5)]
        await ear.hears(*(message for pair in sent for message in pair))
        await ear.rests()
        assert sctp_of(ear.other)._advertised_rwnd == WINDOW
        assert ear.queued == []
        assert ear.incoming.silent() < 5.0


async def test_what_is_lost_is_told_at_once_and_sent_again() -> None:
    async with listening() as ear:
        losing(ear.one, lambda number: number in (1, 8))
        for number in range(8):
            ear.reliable.send(b"%d" % number + LARGE)
        await ear.hears(*(("reliable", b"%d" % number + LARGE) for number in range(8)))
        await ear.rests()
        assert ear.queued == []
        ear.reliable.send(b"more")
        await ear.hears(*(("reliable", b"%d" % number + LARGE) for number in range(8)), ("reliable", b"more"))


async def test_a_lossy_message_with_a_hole_is_passed_over() -> None:
    async with listening() as ear:
        losing(ear.one, lambda number: number == 4)
        for number in range(4):
            ear.lossy.send(b"%d" % number + LARGE)
        await ear.hears(*(("lossy", b"%d" % number + LARGE) for number in (0, 2, 3)))
        await ear.rests()


async def test_a_datagram_is_acknowledged_with_its_message_and_several_together() -> None:
    async with listening() as ear:
        for number in range(1, 11):
            ear.lossy.send(LARGE)
            await ear.hears(*[("lossy", LARGE)] * number)
            await ear.rests()
        assert 10 <= ear.acknowledged <= 12, "three datagrams each"
        ear.acknowledged = 0
        for _ in range(10):  # in one turn of the loop
            ear.incoming._take(sctp_of(ear.other), ear.packet(b"small"))
        await eventually(lambda: ear.acknowledged > 0 or "nothing is acknowledged")
        assert ear.acknowledged == 1
        assert ear.heard[10:] == [("lossy", b"small")] * 10


async def test_the_beginning_of_a_message_is_acknowledged_soon() -> None:
    async with listening() as ear:
        losing(ear.one, lambda number: number > 1)
        ear.lossy.send(LARGE)
        await eventually(lambda: ear.acknowledged == 1 or f"{ear.acknowledged} acknowledgements", 0.9)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda packet, _: packet[:20] + bytes((packet[20] ^ 1,)) + packet[21:], id="checksum"),
        pytest.param(lambda packet, _: packet[:15], id="short"),
        pytest.param(lambda _, chunk: serialize_packet(5000, 5000, 1, chunk), id="tag"),
    ],
)
async def test_damage_costs_itself(damage: Callable[[bytes, DataChunk], bytes]) -> None:
    async with listening() as ear:
        far = sctp_of(ear.other)
        packet = ear.packet(b"forged")
        ear.incoming._take(far, damage(packet, ear.chunk(b"forged")))
        ear.lossy.send(b"true")
        await ear.hears(("lossy", b"true"))
        ear.incoming._take(far, packet)  # by now it is a repetition
        ear.lossy.send(b"and more")
        await ear.hears(("lossy", b"true"), ("lossy", b"and more"))


async def test_a_packet_that_breaks_aiortc_ends_the_connection() -> None:
    async with listening() as ear:
        opening = ear.packet(b"\x03" + bytes(11), protocol=WEBRTC_DCEP)  # a channel that is open
        ear.incoming._take(sctp_of(ear.other), opening)
        await eventually(lambda: ear.other.connectionState == "closed" or ear.other.connectionState)


@pytest.mark.parametrize("ahead", [1, 2], ids=["in order", "behind a hole"])
async def test_messages_that_never_end_end_the_connection(ahead: int) -> None:
    async with listening() as ear:
        far = sctp_of(ear.other)
        first = ear.last + ahead
        for number in range(2 * WINDOW // 1_000):
            chunk = ear.chunk(bytes(1_000))
            chunk.flags, chunk.tsn = SCTP_DATA_FIRST_FRAG, (first + number) % SCTP_TSN_MODULO
            ear.incoming._take(far, serialize_packet(5000, 5000, far._local_verification_tag, chunk))
            if far._advertised_rwnd < -MAX_OVERRUN:
                break
        assert far._advertised_rwnd > -WINDOW
        await eventually(lambda: ear.other.connectionState == "closed" or ear.other.connectionState)


async def test_an_empty_datagram_of_a_relay_is_passed_over() -> None:
    async with listening() as ear:
        ear.incoming._arrived(b"", 1)
        ear.lossy.send(b"heard")
        await ear.hears(("lossy", b"heard"))
        assert ear.queued == []


async def test_a_goodbye_is_aiortcs() -> None:
    async with listening() as ear:
        await ear.one.close()
        await eventually(lambda: ear.other.connectionState == "closed" or ear.other.connectionState)


async def test_rtp_comes_to_us_and_starts_no_decoder() -> None:
    async with connections() as (one, other):
        await connect_prepared(one, other)
        heard: list[bytes] = []
        one.addTrack(AudioStreamTrack())
        Incoming(quirks.dtls_of(other), heard.append, lambda _label, _data: None)
        for _ in range(2):
            await renegotiate(one, other)
        await eventually(lambda: len(heard) >= 5 or f"{len(heard)} packets")
        packets = [parse_rtp(data) for data in heard]
        assert all(packet is not None and packet.payload for packet in packets)
        assert not [thread for thread in threading.enumerate() if "decoder" in thread.name]
