"""Every name that aiortc 1.16 and aioice 0.13 call private, and why we reach it (those of TURN: livekit/relay.py; of
what comes in: livekit/incoming.py). Both are pinned; each has its test.

All of it is done to one connection at a time: nothing here changes the libraries for others in the process.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import cache
from math import inf
from time import monotonic, time
from typing import Any, NamedTuple

from aioice import Candidate, Connection, stun
from aioice.ice import CandidatePair, StunProtocol
from aiortc import (
    RTCBundlePolicy,
    RTCCertificate,
    RTCConfiguration,
    RTCDtlsTransport,
    RTCPeerConnection,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSctpTransport,
)
from aiortc.rtcsctptransport import SCTP_TSN_MODULO, Chunk
from aiortc.utils import uint32_gte
from OpenSSL import SSL

from glassbridge.runtime.tcp import RoundTrip

CONSENT_AGAIN = 0.4
"""Seconds to the next check while none is answered: of 20 % of packets lost, 36 % of checks are."""
CONSENT_REPEATS = 3
"""Of one check, after 0.5, 1.5 and 3.5 s. An answer counts for 7.5 s, so that a path is not dead because it is long."""
CONSENT_EVERY = 3
"""Intervals after which a check is due on a path that carries audio to us."""
LEAST_REPEAT = 1.2
"""Seconds after which unacknowledged data counts as lost, at least: a burst of loss may last for 1 s."""
ACK_DELAY = 0.2
"""Seconds after which LiveKit acknowledges a single packet; of two it acknowledges the second at once."""
QUEUED = 0.15
"""Seconds by which the round trip has grown where packets wait in a queue."""
LAST_OF_STUN = 3
"""First byte of a datagram (RFC 7983)."""
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, AssertionError, struct.error)
"""What aioice raises for what it cannot read."""
MIN_DATAGRAM = 12
"""Bytes of the shortest that means anything: RTP without sound."""
MAX_WAITING = 1_000
"""Datagrams that may wait to be read: two seconds of the audio of ten speakers."""
MAX_PAIRS = 256
"""Ways to the server that are tried; the server can make more by asking from ever new ports."""
_UNCHECKED = (CandidatePair.State.WAITING, CandidatePair.State.FROZEN)


class _SharedCertificate(RTCCertificate):
    """Makes its TLS context once: a context for each connection costs 0.1 MB and half a millisecond."""

    _context: Any = None

    def _create_ssl_context(self, srtp_profiles: Any) -> Any:
        if self._context is None:
            self._context = super()._create_ssl_context(srtp_profiles)
        return self._context


@cache
def _certificate() -> _SharedCertificate:
    made = RTCCertificate.generateCertificate()
    return _SharedCertificate(made._key, made._cert)


def new_connection() -> RTCPeerConnection:
    """A connection without STUN servers (an unreachable one delays every join by 5 s: traps A5), with one transport
    for everything (with the default policy a second new track stays on a closed one: traps A10), and with the
    certificate of the process."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
    connection._RTCPeerConnection__certificates = [_certificate()]  # type: ignore[attr-defined]
    return connection


def hear_of_failure(connection: RTCPeerConnection, on_failure: Callable[[str], None]) -> None:
    """aiortc connects in a task that nobody awaits: `on_failure` hears why one failed."""
    connect = connection._RTCPeerConnection__connect  # type: ignore[attr-defined]

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            on_failure(type(error).__name__)

    async def connect_heard() -> None:
        if (task := asyncio.current_task()) is not None:
            task.add_done_callback(ended)
        await connect()

    connection._RTCPeerConnection__connect = connect_heard  # type: ignore[attr-defined]


async def close_connection(connection: RTCPeerConnection) -> None:
    """Idempotent, safe to cancel. aiortc closes a connection by itself once its transports have; a second close waits
    for a future which it would cancel when it is cancelled, and the first one would fail."""
    closing: asyncio.Future[bool] | None = connection._RTCPeerConnection__isClosed  # type: ignore[attr-defined]
    await (connection.close() if closing is None else asyncio.shield(closing))


def dtls_of(connection: RTCPeerConnection) -> RTCDtlsTransport:
    """The one transport of a connection that has a description."""
    if connection.sctp is not None:
        return connection.sctp.transport
    return connection.getTransceivers()[0].receiver.transport


def ice_of(connection: RTCPeerConnection) -> Connection:
    """Its ICE agent."""
    return dtls_of(connection).transport._connection


def send_quietly(sctp: RTCSctpTransport | None) -> None:
    """aiortc's timers and flushes send data in tasks that nobody awaits: a transport that has closed is no news there.
    Nothing is sent then, and the end of the connection is told in its own way. None: a connection without data."""
    if sctp is None:
        return
    send = sctp._send_chunk

    async def send_while_connected(chunk: Chunk) -> None:
        with suppress(ConnectionError, SSL.Error):
            await send(chunk)

    sctp._send_chunk = send_while_connected  # type: ignore[method-assign]


def prepare_ice(
    ice: Connection,
    *,
    loopback: bool,
    consent_interval: float,
    on_alive: Callable[[float], None],
    silent: Callable[[], float] = lambda: inf,
    instead: Callable[[], Awaitable[object]] | None = None,
) -> None:
    """Has to be called before candidates are gathered.

    `loopback`: the server is on this machine, so offer 127.0.0.1 too, which aioice never gathers (traps A12); where
    it is the only interface nothing else works. `on_alive` hears how many seconds ago the path was last alive: a
    consent check was answered, or data or sound came in (`silent`: seconds since that). `instead` adds candidates
    (add_local); then none of our own addresses is used.
    """
    gather = ice.get_component_candidates

    async def gather_from(component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:
        if instead is not None:
            await instead()
            return []
        if loopback:
            addresses = [*addresses, "127.0.0.1"]
        gathering = asyncio.ensure_future(gather(component, addresses, timeout))
        try:
            found = await asyncio.shield(gathering)
        except asyncio.CancelledError:
            # Cut short it would forget the sockets that it has opened; without servers to ask it takes no time.
            await gathering
            raise
        for protocol in ice._protocols:
            _pass_strangers_over(ice, protocol)
        return found

    check_incoming = ice.check_incoming

    def check_incoming_and_ask_back(message: stun.Message, addr: tuple[str, int], protocol: StunProtocol) -> None:
        check_incoming(message, addr, protocol)
        _ask_back(ice, addr, protocol)

    def check_all_now() -> bool:
        return _check_all_now(ice)

    async def query_consent() -> None:
        await _watch_consent(ice, consent_interval, on_alive, silent)

    ice.get_component_candidates = gather_from  # type: ignore[method-assign]
    ice.check_incoming = check_incoming_and_ask_back  # type: ignore[method-assign]
    ice._check_periodic = check_all_now  # type: ignore[method-assign]
    ice.query_consent = query_consent  # type: ignore[method-assign]


def _pass_strangers_over(ice: Connection, protocol: StunProtocol) -> None:
    """Anybody can send to our ports. A datagram counts that comes from an address that is being checked, or asks us by
    our user name; aiortc closes the connection over an empty one, and answers each request that is none."""
    receive = protocol.datagram_received
    name = ice.local_username.encode()
    known: set[tuple[str, int]] = set()

    def received(data: bytes | str, addr: tuple[Any, ...]) -> None:
        assert isinstance(data, bytes)
        if len(data) < MIN_DATAGRAM or ice._queue.qsize() >= MAX_WAITING:
            return
        source = addr[0], addr[1]
        if source not in known:
            known.clear()
            known.update(pair.remote_addr for pair in ice._check_list)
            if source not in known and (len(known) >= MAX_PAIRS or data[0] > LAST_OF_STUN or name not in data):
                return
        if data[0] > LAST_OF_STUN:
            ice.data_received(data, protocol.local_candidate.component)
            return
        with suppress(*UNREADABLE):
            receive(data, addr)

    protocol.datagram_received = received  # type: ignore[method-assign]


def _check_all_now(ice: Connection) -> bool:
    """aioice starts one check each 20 ms and looks at the result only then. Our lists are short: start all at once.

    Returns whether to ask again in 20 ms: only while there is nothing to check yet.
    """
    if ice._check_list_done:
        return False
    for pair in ice._check_list:
        if pair.state in _UNCHECKED:
            ice.check_start_task(pair)
    return not ice._check_list


def _ask_back(ice: Connection, addr: tuple[str, int], protocol: StunProtocol) -> None:
    """The server (pion, controlling) settles on a path when we ask on it after it has proven it, else only at its next
    look, 0.2 s later. Our first check nearly always comes too early; so ask again as soon as it has asked us."""
    if ice._check_list_done or ice.remote_password is None:
        return
    for pair in ice._check_list:
        if pair.protocol is protocol and pair.remote_addr == addr:
            request = ice.build_request(pair, nominate=False)
            request.add_message_integrity(ice.remote_password.encode())
            protocol.send_stun(request, addr)


def has_path(ice: Connection) -> bool:
    """Whether the server has settled on a way to us."""
    return bool(ice._nominated)


def add_local(ice: Connection, protocol: StunProtocol) -> Candidate:
    """One more address of ours, whenever it comes; it is tried at once, and closed with the connection."""
    if ice._closing:
        protocol.transport.close()
        return protocol.local_candidate
    _pass_strangers_over(ice, protocol)
    ice._protocols.append(protocol)
    ice._local_candidates.append(protocol.local_candidate)
    for remote in ice._remote_candidates:
        ice._pair_remote_candidate(remote)
    ice.sort_check_list()
    check_late_candidate(ice)
    return protocol.local_candidate


def check_late_candidate(ice: Connection) -> None:
    """To be called after a candidate was added: aiortc ignores those that come after the first checks."""
    if ice._early_checks_done:
        _check_all_now(ice)


async def _watch_consent(
    ice: Connection, interval: float, on_alive: Callable[[float], None], silent: Callable[[], float]
) -> None:
    """Instead of aioice's own, which asks each 5 s, needs 30 s to notice, and outlives a close() that comes in the
    last 20 ms of the checks (traps A4). Here a dead path is not closed but silent: its watcher decides. A
    check does not wait for the end of those before it: a path that loses much answers one of them soon. What comes in
    proves the path as well; only each CONSENT_EVERY-th time it is asked even so, for the way from us."""
    assert ice.remote_password is not None
    key = ice.remote_password.encode()
    answered = asyncio.Event()

    async def ask(pair: CandidatePair) -> None:
        request = ice.build_request(pair, nominate=False)
        with suppress(stun.TransactionError):
            await pair.protocol.request(request, pair.remote_addr, integrity_key=key, retransmissions=CONSENT_REPEATS)
            answered.set()

    async with asyncio.TaskGroup() as checks:
        unasked = 0
        while not ice._closing:
            await asyncio.sleep(interval)
            unasked += 1
            if (ago := silent()) < interval and unasked < CONSENT_EVERY:
                on_alive(ago)
                continue
            unasked = 0
            answered.clear()
            while not ice._closing and not answered.is_set():
                for pair in list(ice._nominated.values()):
                    checks.create_task(ask(pair))
                with suppress(TimeoutError):
                    async with asyncio.timeout(CONSENT_AGAIN):
                        await answered.wait()
            if answered.is_set():
                on_alive(0.0)


class Window:
    """Lossy audio paces itself (core/sending.py): the window that aiortc closes to one packet where acknowledgements
    are late keeps `least` bytes, so that a way that becomes long or loses much carries on. Where its packets wait in a
    queue, it keeps `queued`: more would only wait longer. Lossy data is sent again if acknowledgements show a
    hole, not where none come: on a way that has become long it would stop what is new. The handshake is repeated after
    `first_timeout` seconds, not 3. Make it once, before anything is sent."""

    def __init__(self, sctp: RTCSctpTransport, least: int, queued: int, first_timeout: float) -> None:
        self._sctp = sctp
        self._least, self._queued = least, queued
        self._smoothed, self._shortest = 0.0, inf
        """Round trips of the newest packets: aiortc measures the oldest, which may wait for lost ones."""
        self._trip = inf
        """The newest, as far as it is sure: a single packet may be acknowledged later by ACK_DELAY."""
        self._heard_at = self._flying_since = 0.0
        sctp._rto = first_timeout
        self._expired, self._acknowledged, self._measured = (
            sctp._t3_expired,
            sctp._receive_sack_chunk,
            sctp._update_rto,
        )
        sctp._update_rto = self._measured_closely  # type: ignore[method-assign, assignment]
        sctp._t3_expired = self._expired_but_open  # type: ignore[method-assign]
        sctp._receive_sack_chunk = self._acknowledged_and_open  # type: ignore[method-assign]

    def sends(self) -> None:
        """To be called before something is sent."""
        if not self._sctp._flight_size:
            self._flying_since = monotonic()

    @property
    def silent(self) -> float:
        """Seconds in which nothing was acknowledged although something is on its way."""
        return monotonic() - max(self._heard_at, self._flying_since) if self._sctp._flight_size else 0.0

    @property
    def pending(self) -> int:
        """Bytes that wait to be sent or acknowledged, without those that wait in the channels."""
        return self._sctp._flight_size + sum(chunk._book_size for chunk in self._sctp._outbound_queue)

    @property
    def trip(self) -> RoundTrip | None:
        """None before a packet was acknowledged."""
        return None if self._trip == inf else RoundTrip(self._trip, self._shortest, quiet=self.silent)

    @property
    def oldest(self) -> float:
        """Seconds since the first packet was sent that is on its way and was not sent again; 0.0 if there is none."""
        flying = (chunk for chunk in self._sctp._sent_queue if chunk._in_flight and chunk._sent_count == 1)
        sent_at = next((chunk._sent_time for chunk in flying), None)
        return 0.0 if sent_at is None else time() - sent_at

    def _expired_but_open(self) -> None:
        for chunk in self._sctp._sent_queue:
            if chunk._expiry is not None:
                chunk._expiry = 0.0
        self._expired()
        self._open()

    async def _acknowledged_and_open(self, chunk: Any) -> None:
        self._heard_at = monotonic()
        self._note_newest(chunk)
        await self._acknowledged(chunk)
        self._open()

    def _note_newest(self, chunk: Any) -> None:
        newest = (chunk.cumulative_tsn + (chunk.gaps[-1][1] if chunk.gaps else 0)) % SCTP_TSN_MODULO
        sent = next((sent for sent in reversed(self._sctp._sent_queue) if sent.tsn == newest), None)
        if sent is not None and sent._sent_count == 1 and not sent._acked and sent._sent_time is not None:
            trip = time() - sent._sent_time
            self._shortest = min(self._shortest, trip)
            self._smoothed += (trip - self._smoothed) / 8 if self._smoothed else trip
            several = self._acknowledges_another(chunk, sent)
            self._trip = trip if several else max(trip - ACK_DELAY, min(trip, self._trip))

    def _acknowledges_another(self, chunk: Any, newest: Any) -> bool:
        """Whether it acknowledges another packet for the first time, too."""
        covered = {
            (chunk.cumulative_tsn + at) % SCTP_TSN_MODULO for first, last in chunk.gaps for at in range(first, last + 1)
        }
        return any(
            sent is not newest
            and not sent._acked
            and (uint32_gte(chunk.cumulative_tsn, sent.tsn) or sent.tsn in covered)
            for sent in self._sctp._sent_queue
        )

    def _open(self) -> None:
        sctp = self._sctp
        if self._smoothed - self._shortest > QUEUED:
            sctp._cwnd = self._queued
        else:
            sctp._cwnd = max(sctp._cwnd, self._least)

    def _measured_closely(self, trip: float) -> None:
        self._measured(trip)
        sctp = self._sctp
        assert sctp._srtt is not None
        assert sctp._rttvar is not None
        sctp._rto = max(LEAST_REPEAT, sctp._srtt + 4 * sctp._rttvar)


class ReadyPacket(NamedTuple):
    """What a track gives to a sender that hands on."""

    payload: bytes
    timestamp: int
    """Of RTP."""


class _HandsOn:
    """In the place of aiortc's encoder."""

    def pack(self, packet: ReadyPacket) -> tuple[list[bytes], int]:
        return [packet.payload], packet.timestamp


def hand_on(sender: RTCRtpSender) -> None:
    """Lets a sender send ready packets as they are. It makes an encoder of PyAV's for that, which a worker does not
    have (livekit/lean_aiortc.py)."""
    sender._RTCRtpSender__encoder = _HandsOn()  # type: ignore[attr-defined]


def silence_receivers(transceivers: Iterable[RTCRtpTransceiver]) -> None:
    """Keeps aiortc's receivers from starting a decoder thread, a jitter buffer and a report task each. Idempotent."""

    async def receive(parameters: object) -> None:
        pass

    for transceiver in transceivers:
        transceiver.receiver.receive = receive  # type: ignore[method-assign]


# --- the server's side: the stand-in --------------------------------------------------------------------------------


class ServerIce(Connection):
    """An ICE agent on one address alone; closes when the other end has answered nothing for long.

    RTCDtlsTransport asks its transport for `role`, `_recv` and `_send`, no more: so it needs no RTCIceTransport.
    """

    def __init__(self, address: str, *, controlling: bool, consent_interval: float, consent_misses: int) -> None:
        super().__init__(ice_controlling=controlling)
        self._address = address
        self._consent_interval = consent_interval
        self._consent_misses = consent_misses
        self._recv = self.recv
        self._send = self.send

    @property
    def role(self) -> str:
        return "controlling" if self.ice_controlling else "controlled"

    async def get_component_candidates(self, component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:
        return await super().get_component_candidates(component, [self._address], timeout)

    async def query_consent(self) -> None:
        """As in aioice, but with our times, and it always ends (traps A4)."""
        assert self.remote_password is not None
        key = self.remote_password.encode()
        misses = 0
        while not self._closing and misses < self._consent_misses:
            await asyncio.sleep(self._consent_interval)
            for pair in list(self._nominated.values()):
                request = self.build_request(pair, nominate=False)
                try:
                    await pair.protocol.request(request, pair.remote_addr, integrity_key=key, retransmissions=0)
                    misses = 0
                except stun.TransactionError:
                    misses += 1
        if not self._closing:
            self._query_consent_task = None
            await self.close()


class ServerDtls(RTCDtlsTransport):
    """Takes and gives RTP as it is, decrypted: a server forwards sound, it does not listen."""

    def __init__(
        self, ice: ServerIce, certificate: RTCCertificate, on_rtp: Callable[[bytes], Awaitable[None]] | None
    ) -> None:
        super().__init__(ice, [certificate])  # type: ignore[arg-type]
        self._on_rtp = on_rtp

    async def send_rtp(self, packet: bytes) -> None:
        """Raises ConnectionError when not connected, pylibsrtp.Error for a packet that is too old."""
        await self._send_rtp(packet)

    async def _handle_rtp_data(self, data: bytes, arrival_time_ms: int) -> None:
        if self._on_rtp is not None:
            await self._on_rtp(data)
