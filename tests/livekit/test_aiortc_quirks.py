"""One test for each private name that we reach in aiortc and aioice: who raises the pins sees here what has changed."""

import asyncio
import gc
import random
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from itertools import pairwise
from math import inf
from time import monotonic, time
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from aioice import Connection
from aioice.ice import StunProtocol
from aiortc import RTCPeerConnection
from aiortc.mediastreams import AudioStreamTrack

from glassbridge.livekit import aiortc_quirks as quirks
from glassbridge.livekit.incoming import Incoming
from tests.support.patience import patient, soon
from tests.support.poll import eventually

INTERVAL = 0.1


@asynccontextmanager
async def connections() -> AsyncIterator[tuple[RTCPeerConnection, RTCPeerConnection]]:
    """One that will offer, with channels and no candidates yet, and one that will answer."""
    offering, answering = quirks.new_connection(), quirks.new_connection()
    offering.createDataChannel("data")
    try:
        yield offering, answering
    finally:
        await offering.close()
        await answering.close()


def prepare(connection: RTCPeerConnection, on_alive: Callable[[float], None] = lambda _: None) -> Connection:
    ice = quirks.ice_of(connection)
    quirks.prepare_ice(ice, loopback=True, consent_interval=INTERVAL, on_alive=on_alive)
    return ice


async def connect(offering: RTCPeerConnection, answering: RTCPeerConnection) -> float:
    """Seconds from the answer to the connection."""
    await offering.setLocalDescription(await offering.createOffer())
    await answering.setRemoteDescription(offering.localDescription)
    prepare(answering)
    await answering.setLocalDescription(await answering.createAnswer())
    begun = monotonic()
    await offering.setRemoteDescription(answering.localDescription)
    states = (offering, answering)
    await eventually(lambda: {c.connectionState for c in states} == {"connected"} or "not connected", every=0.001)
    return monotonic() - begun


def test_the_pins_hold() -> None:
    assert (version("aiortc"), version("aioice")) == ("1.16.0", "0.13.0")


async def test_all_connections_share_one_certificate_and_one_tls_context() -> None:
    async with connections() as (one, other):
        await connect_prepared(one, other)
        first, second = quirks.dtls_of(one), quirks.dtls_of(other)
        assert first.getLocalParameters().fingerprints == second.getLocalParameters().fingerprints
        assert quirks._certificate()._context is not None
        assert first._ssl is not None
        assert second._ssl is not None
        assert first._ssl.get_context() is second._ssl.get_context() is quirks._certificate()._context


async def connect_prepared(one: RTCPeerConnection, other: RTCPeerConnection) -> float:
    prepare(one)
    return await connect(one, other)


async def renegotiate(one: RTCPeerConnection, other: RTCPeerConnection) -> None:
    await one.setLocalDescription(await one.createOffer())
    await other.setRemoteDescription(one.localDescription)
    quirks.silence_receivers(other.getTransceivers())
    await other.setLocalDescription(await other.createAnswer())
    await one.setRemoteDescription(other.localDescription)


async def test_everything_goes_over_one_transport() -> None:
    """With aiortc's default policy the second of two new tracks stays on a closed transport."""
    async with connections() as (one, other):
        await connect_prepared(one, other)
        heard: list[bytes] = []
        Incoming(quirks.dtls_of(other), heard.append, lambda _label, _data: None)
        for _ in range(2):
            one.addTrack(AudioStreamTrack())
        await renegotiate(one, other)
        for connection in (one, other):
            transports = {transceiver.sender.transport for transceiver in connection.getTransceivers()}
            assert transports == {quirks.dtls_of(connection)}
            assert quirks.ice_of(connection) is quirks.dtls_of(connection).transport._connection
        await eventually(lambda: len({data[8:12] for data in heard}) == 2 or "not both are heard")


@pytest.mark.parametrize("loopback", [True, False])
async def test_127_0_0_1_is_offered_only_to_this_machine(loopback: bool) -> None:
    async with connections() as (one, _):
        quirks.prepare_ice(quirks.ice_of(one), loopback=loopback, consent_interval=1.0, on_alive=lambda _: None)
        await one.setLocalDescription(await one.createOffer())
        assert (" 127.0.0.1 " in one.localDescription.sdp) is loopback


async def test_gathering_that_is_cancelled_forgets_no_socket() -> None:
    def sockets() -> int:
        return sum(connection.fd >= 0 for connection in psutil.Process().net_connections("udp"))

    before = sockets()
    for turns in range(12):
        async with connections() as (one, _):
            ice = prepare(one)
            gathering = asyncio.create_task(ice.gather_candidates())
            for _ in range(turns):
                await asyncio.sleep(0)
            gathering.cancel()
            await asyncio.gather(gathering, return_exceptions=True)
        await eventually(lambda turns=turns: sockets() == before or f"sockets are left after {turns} turns", 1)  # type: ignore[misc]


async def test_checks_do_not_wait_for_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[bool] = []
    check_all = quirks._check_all_now

    def noted(ice: Connection) -> bool:
        waits.append(check_all(ice))
        return waits[-1]

    monkeypatch.setattr(quirks, "_check_all_now", noted)
    async with connections() as (one, other):
        await connect_prepared(one, other)
    assert waits, "aioice does not ask"
    assert not any(waits), "aioice waits 20 ms before the next check"


async def test_a_candidate_that_comes_late_is_checked_too() -> None:
    async with connections() as (one, other):
        prepare(one)
        await one.setLocalDescription(await one.createOffer())
        await other.setRemoteDescription(one.localDescription)
        prepare(other)
        await other.setLocalDescription(await other.createAnswer())
        sdp = other.localDescription
        candidates = [line for line in sdp.sdp.splitlines() if line.startswith("a=candidate")]
        # A path that leads nowhere is known from the start; the true ones are told afterwards.
        useless = candidates[0].replace(candidates[0].split()[4], "127.0.0.1").replace(candidates[0].split()[5], "9")
        without = "\r\n".join(
            useless if line == candidates[0] else line
            for line in sdp.sdp.splitlines()
            if line not in (*candidates[1:], "a=end-of-candidates")
        )
        ice = quirks.ice_of(one)
        ignore_incoming_checks(ice)
        await one.setRemoteDescription(type(sdp)(without + "\r\n", "answer"))
        await eventually(lambda: ice._early_checks_done or "the checks have not begun")
        for candidate in quirks.ice_of(other).local_candidates:
            await ice.add_remote_candidate(candidate)
        quirks.check_late_candidate(ice)
        await eventually(lambda: one.connectionState == "connected" or one.connectionState)


def ignore_incoming_checks(ice: Connection) -> None:
    """Else the far end's checks would make a path by themselves."""
    ice.check_incoming = lambda message, addr, protocol: None  # type: ignore[method-assign]


async def test_who_is_asked_asks_back(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, bytes]] = []
    send = StunProtocol.send_stun

    def recorded(self: StunProtocol, message: object, addr: tuple[str, int]) -> None:
        if self.receiver is answering_ice:
            sent.append((message.message_class.name, message.transaction_id))  # type: ignore[attr-defined]
        send(self, message, addr)  # type: ignore[arg-type]

    monkeypatch.setattr(StunProtocol, "send_stun", recorded)
    async with connections() as (one, other):
        prepare(one)
        await one.setLocalDescription(await one.createOffer())
        await other.setRemoteDescription(one.localDescription)
        answering_ice = prepare(other)
        await other.setLocalDescription(await other.createAnswer())
        await one.setRemoteDescription(other.localDescription)
        await eventually(lambda: one.connectionState == other.connectionState == "connected" or "not connected")
    answered = next(at for at, (kind, _) in enumerate(sent) if kind == "RESPONSE")
    assert sent[answered + 1][0] == "REQUEST"


async def test_consent_is_asked_for_and_its_silence_told() -> None:
    async with connections() as (one, other):
        alive: list[float] = []
        ice = prepare(one, lambda _: alive.append(monotonic()))
        await connect(one, other)
        await eventually(lambda: len(alive) >= 5 or f"{len(alive)} answers")
        gaps = [later - earlier for earlier, later in pairwise(alive)]
        assert min(gaps) > 0.8 * INTERVAL
        far = quirks.ice_of(other)
        answer, far.request_received = far.request_received, lambda *_: None  # type: ignore[method-assign]
        count = len(alive)
        await asyncio.sleep(5 * INTERVAL)
        assert len(alive) <= count + 1
        assert one.connectionState == "connected", "who watches decides, not aioice"
        far.request_received = answer  # type: ignore[method-assign]
        await eventually(lambda: len(alive) > count + 1 or "no life after the silence")
        assert ice.query_consent.__module__ == quirks.__name__


async def test_a_path_that_carries_audio_is_asked_more_rarely() -> None:
    async with connections() as (one, other):
        alive: list[float] = []
        silent = 0.0
        quirks.prepare_ice(
            quirks.ice_of(one),
            loopback=True,
            consent_interval=INTERVAL,
            on_alive=lambda _: alive.append(monotonic()),
            silent=lambda: silent,
        )
        await connect(one, other)
        far = quirks.ice_of(other)
        asked, request_received = 0, far.request_received

        def counted(*args: Any) -> None:
            nonlocal asked
            asked += 1
            request_received(*args)

        far.request_received = counted  # type: ignore[method-assign, assignment]
        await eventually(lambda: len(alive) >= 9 or f"{len(alive)} proofs")
        assert 1 <= asked <= len(alive) / quirks.CONSENT_EVERY + 1
        silent, proofs, before = inf, len(alive), asked
        await eventually(lambda: len(alive) >= proofs + 4 or f"{len(alive)} proofs")
        assert asked >= before + 4


async def test_a_path_that_loses_checks_is_alive() -> None:
    """Of 20 % of packets lost, each way: four checks in a row go unanswered now and then."""
    async with connections() as (one, other):
        alive: list[float] = []
        prepare(one, lambda _: alive.append(monotonic()))
        await connect(one, other)
        await eventually(lambda: bool(alive) or "no answers")
        far = quirks.ice_of(other)
        answer, asked = far.request_received, 0

        def answer_the_fifth(*args: Any) -> None:
            nonlocal asked
            asked += 1
            if asked % 5 == 0:
                answer(*args)

        far.request_received = answer_the_fifth  # type: ignore[method-assign, assignment]
        alive.clear()
        await eventually(lambda: len(alive) >= 2 or f"{len(alive)} answers", 6.0)
        assert alive[1] - alive[0] < patient(2.0), "checks waited for those before"


async def test_what_a_stranger_sends_costs_itself() -> None:
    """Without the guard an empty datagram ends the transport, and a broken STUN attribute goes through the loop."""
    through: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: through.append(about))
    chance = random.Random(1)
    broken = struct.pack(">HHI", 1, 8, 0x2112A442) + bytes(12) + b"\x00\x03\x00\x02\x00\x00\x00\x00"
    heads = (b"", broken, b"\x80", b"\x81\xc9", b"\x16\xfe\xfd", broken[:20], b"\x00\x01")
    async with connections() as (one, other):
        alive: list[float] = []
        ice = prepare(one, lambda _: alive.append(monotonic()))
        await connect(one, other)
        ports = {candidate.port for candidate in ice.local_candidates if candidate.host == "127.0.0.1"}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for number in range(700):
                rest = chance.randbytes(chance.choice((0, 0, 1, 40, 1_200)))
                for port in ports:
                    stranger.sendto(heads[number % len(heads)] + rest, ("127.0.0.1", port))
                if number % 50 == 0:
                    await asyncio.sleep(0)
        count = len(alive)
        await eventually(lambda: len(alive) > count + 2 or f"{len(alive)} answers")
        assert {one.connectionState, other.connectionState} == {"connected"}
        ice._queue = asyncio.Queue()  # that nobody reads
        known = ice._check_list[0].remote_addr
        for address in (("127.0.0.1", 9), known):
            for _ in range(2 * quirks.MAX_WAITING):
                ice._protocols[0].datagram_received(b"\x80" + bytes(12), address)
            assert ice._queue.qsize() == (quirks.MAX_WAITING if address == known else 0)
    assert through == []


async def test_a_close_at_the_last_moment_leaves_no_watch() -> None:
    """aioice begins to watch when its checks are done, even if it was closed meanwhile."""
    async with connections() as (one, other):
        ice = prepare(one)
        await connect(one, other)
        await one.close()
        await soon(ice.query_consent(), 3 * INTERVAL)


async def test_nothing_is_changed_for_others_in_the_process() -> None:
    async with connections() as (one, other):
        await connect_prepared(one, other)
    gc.collect()
    plain = RTCPeerConnection()
    plain.createDataChannel("data")
    ice = plain.sctp.transport.transport._connection  # type: ignore[union-attr]
    for name in ("query_consent", "_check_periodic", "check_incoming", "get_component_candidates"):
        assert getattr(ice, name).__module__ == "aioice.ice"
    assert plain.sctp is not None
    ours = quirks._certificate().getFingerprints()
    assert plain.sctp.transport.getLocalParameters().fingerprints != ours
    await plain.close()


async def test_the_window_of_lossy_data_stays_open_when_acknowledgements_are_late() -> None:
    async with connections() as (offering, answering):
        sctp = offering.sctp
        assert sctp is not None
        window = quirks.Window(sctp, 16_384, 6_144, 0.6)
        prepare(offering)
        await connect(offering, answering)
        await eventually(lambda: sctp.state == "connected" or sctp.state)
        channel = offering.createDataChannel("lossy", ordered=False, maxPacketLifeTime=1500)
        await eventually(lambda: channel.readyState == "open" or channel.readyState)
        await eventually(lambda: not sctp._sent_queue or "not acknowledged")

        async def swallow(_chunk: Any) -> None:
            return None

        sctp._send_chunk = swallow  # type: ignore[method-assign, assignment]
        assert window.silent == 0.0, "nothing is on its way"
        window.sends()
        channel.send(bytes(100))
        await eventually(lambda: bool(sctp._sent_queue) or "nothing sent")
        await eventually(lambda: window.silent > 0.1 or "it is not silent")
        (chunk,) = sctp._sent_queue
        assert window.pending == 100
        assert window.oldest > 0.05
        sctp._t3_expired()
        assert sctp._cwnd == 16_384
        assert chunk._abandoned, "it is not sent again: what is new goes first"


def _on_its_way(tsn: int, ago: float) -> SimpleNamespace:
    return SimpleNamespace(
        tsn=tsn, _book_size=900, _sent_time=time() - ago, _sent_count=1, _acked=False, _in_flight=True
    )


def _acknowledging(sctp: Any, upto: int) -> None:
    """As aiortc does."""
    while sctp._sent_queue and sctp._sent_queue[0].tsn <= upto:
        sctp._flight_size -= sctp._sent_queue.popleft()._book_size


async def test_an_acknowledgement_that_waited_for_a_second_packet_is_no_long_way() -> None:
    """LiveKit sends one for two packets; for a single one it waits for 0.2 s. What it takes beyond that is the way."""

    async def acknowledged(chunk: Any) -> None:
        _acknowledging(sctp, chunk.cumulative_tsn)

    sctp: Any = SimpleNamespace(
        _t3_expired=lambda: None, _receive_sack_chunk=acknowledged, _update_rto=lambda _: None,
        _sent_queue=deque(), _outbound_queue=deque(), _flight_size=0, _cwnd=0,
    )  # fmt: skip
    window = quirks.Window(sctp, 16_384, 6_144, 0.3)
    before = window.trip
    assert before is None

    async def sent_and_acknowledged(*agos: float) -> float:
        sctp._sent_queue.extend(_on_its_way(at, ago) for at, ago in enumerate(agos))
        sctp._flight_size = 900 * len(agos)
        await sctp._receive_sack_chunk(SimpleNamespace(cumulative_tsn=len(agos) - 1, gaps=[]))
        assert window.trip is not None
        return window.trip.now

    assert await sent_and_acknowledged(0.06, 0.05) == pytest.approx(0.05, abs=0.02)
    assert await sent_and_acknowledged(0.25) == pytest.approx(0.05, abs=0.02), "it waited for another one"
    assert await sent_and_acknowledged(0.5) == pytest.approx(0.3, abs=0.02), "for so long it does not wait"
    assert await sent_and_acknowledged(0.3, 0.2) == pytest.approx(0.2, abs=0.02)
    assert window.trip is not None
    assert window.trip.least == pytest.approx(0.05, abs=0.02)
    sctp._sent_queue.extend((_on_its_way(1, 0.7), _on_its_way(2, 0.4)))
    sctp._flight_size = 1_800
    sctp._sent_queue[0]._sent_count = 2
    assert window.oldest == pytest.approx(0.4, abs=0.05), "of what was sent again its age says nothing"
    sctp._outbound_queue.append(_on_its_way(3, 0.0))
    assert window.pending == 2_700


async def test_the_handshake_of_data_channels_is_repeated_soon() -> None:
    """Its first message is lost: three seconds pass without the quirk."""
    async with connections() as (offering, answering):
        sctp = offering.sctp
        assert sctp is not None
        quirks.Window(sctp, 16_384, 6_144, 0.3)
        prepare(offering)
        send, sent = sctp._send_chunk, 0

        async def lose_the_first(chunk: Any) -> None:
            nonlocal sent
            sent += 1
            if sent > 1:
                await send(chunk)

        sctp._send_chunk = lose_the_first  # type: ignore[method-assign]
        await connect(offering, answering)
        begun = monotonic()
        await eventually(lambda: sctp.state == "connected" or sctp.state)
        assert sent > 1
        assert monotonic() - begun < 2.0


async def test_giving_up_to_wait_for_a_connection_that_closes_by_itself_leaves_it_closing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = quirks.new_connection()
    connection.createDataChannel("data")
    assert connection.sctp is not None
    stop, go_on = connection.sctp.stop, asyncio.Event()

    async def stop_slowly() -> None:
        await go_on.wait()
        await stop()

    monkeypatch.setattr(connection.sctp, "stop", stop_slowly)
    closing = asyncio.create_task(connection.close())  # aiortc's own
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await quirks.close_connection(connection)
    go_on.set()
    await closing
    await quirks.close_connection(connection)
