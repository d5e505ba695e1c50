"""Packets of an established connection go from their datagram to us without an await.

aiortc puts each datagram into a queue, wakes a task for it and passes it through a dozen coroutines and two emitters:
more than half of the work of listening. None of these ever waits where data comes in order. So it is decrypted and
handed on here, as the datagram arrives. Anything unusual (a handshake, an alert, RTCP, a hole) is still
aiortc's. The names of aiortc that are private are reached here and in livekit/aiortc_quirks.py.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from math import inf
from struct import Struct
from typing import Any, Final

import pylibsrtp
from aiortc import RTCDtlsTransport, RTCSctpTransport
from aiortc.rtcdtlstransport import State
from aiortc.rtcsctptransport import (
    SCTP_DATA_LAST_FRAG,
    SCTP_TSN_MODULO,
    WEBRTC_BINARY,
    DataChunk,
    SackChunk,
    serialize_packet,
)
from aiortc.rtp import is_rtcp
from google_crc32c import value as crc32c
from OpenSSL import SSL

from glassbridge.livekit.aiortc_quirks import MIN_DATAGRAM, UNREADABLE
from glassbridge.runtime.timer import Timer

SACK_EVERY: Final = 4
SACK_DELAY: Final = 0.01
"""Seconds; the sender's window, and with it a large message, waits for it."""
MAX_RECORD: Final = 1_500
"""Bytes of what one datagram carries."""
MAX_OVERRUN: Final = 64 << 10
"""Bytes that a server may send beyond the window that it was told of, where a chunk more is allowed (RFC 9260 6.1):
beginnings of messages whose ends never come would fill our memory."""
DTLS: Final = range(20, 64)
RTP: Final = range(128, 192)
"""First bytes of datagrams (RFC 7983)."""

HEADS: Final = Struct("!HHL4sBBHLHHL")
"""Of an SCTP packet and of a DATA chunk (RFC 9260 3.1 and 3.3.1)."""
PACKET_HEAD: Final = 12
CHUNK_HEAD: Final = 4

OnRtp = Callable[[bytes], None]
OnMessage = Callable[[str, bytes], None]
"""Takes the label of a data channel, and what came through it."""


class Incoming:
    """Takes over one connection; make it once, when it has a transport."""

    def __init__(self, dtls: RTCDtlsTransport, on_rtp: OnRtp, on_message: OnMessage) -> None:
        self._dtls = dtls
        self._on_rtp = on_rtp
        self._on_message = on_message
        self._sctp: RTCSctpTransport | None = None
        self._time = asyncio.get_running_loop().time
        self._heard_at = -inf
        self._ice = dtls.transport._connection
        self._leave_to_aiortc = self._ice.data_received
        self._ice.data_received = self._arrived  # type: ignore[method-assign, assignment]
        # Packets from before the end of the handshake still take aiortc's way to here.
        dtls._handle_rtp_data = self._rtp  # type: ignore[method-assign]

    def take_data(self, sctp: RTCSctpTransport | None) -> None:
        """To be called after each offer: the first may have none. Idempotent."""
        if sctp is not None and self._sctp is None:
            self._sctp = sctp
            self._take_other = sctp._receive
            sctp._receive = self._message  # type: ignore[method-assign, assignment]
            self._acknowledgements = Acknowledgements(sctp)

    def silent(self) -> float:
        """Seconds since data or sound of the server came in; infinite before the first."""
        return self._time() - self._heard_at

    def _arrived(self, datagram: bytes, component: int) -> None:
        if len(datagram) < MIN_DATAGRAM:  # by a relay: others are passed over before
            return
        dtls = self._dtls
        if dtls._state is State.CONNECTED and self._ice._queue.empty():
            first = datagram[0]
            if first in DTLS:
                if self._sctp is not None and (packet := self._decrypt(datagram)):
                    self._heard_at = self._time()
                    self._take(self._sctp, packet)
                    return
            elif first in RTP and not is_rtcp(datagram):
                with suppress(pylibsrtp.Error):  # it costs itself
                    self._on_rtp(dtls._rx_srtp.unprotect(datagram))
                    self._heard_at = self._time()
                return
        self._leave_to_aiortc(datagram, component)

    def _decrypt(self, datagram: bytes) -> bytes:
        """Empty where it carries no data. OpenSSL passes over what it gets twice, so aiortc may look at it then."""
        ssl = self._dtls._ssl
        assert ssl is not None
        try:
            ssl.bio_write(datagram)
            return ssl.recv(MAX_RECORD)
        except SSL.Error:
            return b""

    def _take(self, sctp: RTCSctpTransport, packet: bytes) -> None:
        try:
            if not self._take_next(sctp, packet):
                at_once(sctp._handle_data(packet))
            is_broken = sctp._advertised_rwnd < -MAX_OVERRUN
        except UNREADABLE:
            is_broken = True
        if is_broken:
            self._ice._queue.put_nowait(None)  # the connection ends, as by aiortc's own task

    def _take_next(self, sctp: RTCSctpTransport, packet: bytes) -> bool:
        """Takes a packet that holds one chunk of data, the next one that is due. False: it is aiortc's."""
        if len(packet) < HEADS.size:
            return False
        _, _, tag, checksum, kind, flags, length, tsn, stream, _, _ = HEADS.unpack_from(packet)
        if (
            kind != DataChunk.type
            or not 0 <= len(packet) - PACKET_HEAD - length < 4
            or tag != sctp._local_verification_tag
            or sctp._last_received_tsn is None
            or tsn != (sctp._last_received_tsn + 1) % SCTP_TSN_MODULO
            or sctp._sack_misordered
            or sctp._sack_duplicates
            or sctp._reconfig_deferred is not None
            or int.from_bytes(checksum, "little") != crc32c(packet[:8] + bytes(4) + packet[PACKET_HEAD:])
        ):
            return False
        inbound = sctp._get_inbound_stream(stream)
        sctp._last_received_tsn = tsn
        chunk = DataChunk(flags, packet[PACKET_HEAD + CHUNK_HEAD : PACKET_HEAD + length])
        inbound.reassembly.append(chunk)
        sctp._advertised_rwnd -= len(chunk.user_data)
        if flags & SCTP_DATA_LAST_FRAG:
            for number, protocol, data in inbound.pop_messages():
                sctp._advertised_rwnd += len(data)
                at_once(self._message(number, protocol, data))
        self._acknowledgements.note()
        return True

    async def _message(self, stream: int, protocol: int, data: bytes) -> None:
        assert self._sctp is not None
        self._acknowledgements.message_ended()
        channel = self._sctp._data_channels.get(stream)
        if protocol == WEBRTC_BINARY and channel is not None:
            self._on_message(channel.label, data)
        else:
            await self._take_other(stream, protocol, data)

    async def _rtp(self, data: bytes, arrival_time_ms: int) -> None:
        self._on_rtp(data)


class Acknowledgements:
    """One for what came in the same turn of the loop, once a message is complete or SACK_EVERY datagrams wait; for the
    beginning of a message after SACK_DELAY. aiortc sends one for each datagram, through nine coroutines; it still tells
    at once what is missing or came twice. Make it once."""

    def __init__(self, sctp: RTCSctpTransport) -> None:
        self._sctp = sctp
        self._send = sctp._send_sack
        self._loop = asyncio.get_running_loop()
        self._waiting = 0
        self._complete = self._turning = False
        self._timer = Timer(self._flush)
        sctp._send_sack = self._due  # type: ignore[method-assign]

    def message_ended(self) -> None:
        """The datagram that is being taken completes a message."""
        self._complete = True

    async def _due(self) -> None:
        if self._sctp._sack_misordered or self._sctp._sack_duplicates:
            await self._now()
        else:
            self._sctp._sack_needed = False
            self.note()

    def note(self) -> None:
        """A datagram with data came in order."""
        self._waiting += 1
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._turn_ends)

    def _turn_ends(self) -> None:
        self._turning = False
        if self._complete or self._waiting >= SACK_EVERY:
            self._flush()
        else:
            self._timer.by(self._loop.time() + SACK_DELAY)

    def _flush(self) -> None:
        sctp = self._sctp
        dtls = sctp.transport
        if not self._waiting or dtls._state is not State.CONNECTED:
            return
        self._rest()
        sack = SackChunk()
        assert sctp._last_received_tsn is not None
        assert sctp._remote_port is not None
        assert dtls._ssl is not None
        sack.cumulative_tsn, sack.advertised_rwnd = sctp._last_received_tsn, max(0, sctp._advertised_rwnd)
        with suppress(ConnectionError, SSL.Error):
            dtls._ssl.send(serialize_packet(sctp._local_port, sctp._remote_port, sctp._remote_verification_tag, sack))
            at_once(dtls.transport._connection.sendto(dtls._ssl.bio_read(MAX_RECORD), 1))

    async def _now(self) -> None:
        self._rest()
        await self._send()

    def _rest(self) -> None:
        self._waiting, self._complete = 0, False
        self._timer.stop()


def at_once(step: Coroutine[Any, Any, None]) -> None:
    """Runs what never waits: a socket of UDP takes a datagram at once, and a relay has tasks of its own."""
    try:
        step.send(None)
    except StopIteration:
        return
    step.close()
