"""TCP connections over bad links, for aiohttp: attempts overlap, and segments fit the narrowest path."""

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import aiohappyeyeballs
import aiohttp
from aiohttp import AddrInfoType
from aiohttp.abc import ResolveResult
from aiohttp.tracing import Trace

CONNECT_EVERY: Final = 0.4
"""Seconds until the next attempt begins while the ones before go on: TCP repeats a lost greeting only after 1, 3 and
7 s."""
CONNECT_WITHIN: Final = 6.0
"""Seconds for all attempts together, TLS included."""
_ATTEMPTS: Final = round(CONNECT_WITHIN / CONNECT_EVERY)
SEGMENT: Final = 1180
"""Bytes of TCP payload in one packet, at most: on a path of 1,280 bytes (IPv6's least) nothing is lost, although no
ICMP message says that it was too long (measured: traps N3)."""
UNSENT: Final = 4 << 10
"""Bytes that the kernel takes before it can send them: the rest waits where a pong can overtake it."""
_TCP_INFO_BYTES: Final = 256
_PROBES_AT, _UNACKED_AT, _ACKED_AT = 3, 24, 56
"""tcpi_probes (one byte), tcpi_unacked and tcpi_last_ack_recv (milliseconds) of linux/tcp.h."""
_NUMBER, _RTT_AT, _REPEATED_AT, _MIN_RTT_AT = struct.Struct("=I"), 68, 100, 148
"""tcpi_rtt, tcpi_total_retrans and tcpi_min_rtt of linux/tcp.h."""
_THIN_LINEAR_TIMEOUTS: Final = 16
"""Linux: retransmissions of a thin stream do not back off exponentially. Python has no name for it."""
SHORTEST_TIMEOUT: Final = 0.1
_SHORTEST_TIMEOUT: Final = 45
"""Linux 6.15 (TCP_RTO_MIN_US): the last lost segment is repeated a round trip and 0.1 s after it, not 0.2 s."""
LONGEST_TIMEOUT: Final = 1.0
_LONGEST_TIMEOUT: Final = 44
"""Linux 6.15 (TCP_RTO_MAX_MS): lost segments are repeated each second at least. Without it the gaps grow, and a network
that is back after 10 s is noticed up to 6 s later."""
RENEW_EVERY: Final = 4.0
"""Seconds after which BBR is to measure anew (`renew_bbr`): well before the 10 s after which it holds audio back."""
_BBR: Final = b"bbr"
_NAME_BYTES: Final = 16
"""Of a congestion control's name, the zero at its end included."""
_STATE_AT, _OPEN = 1, 0
"""tcpi_ca_state: nothing is lost, repeated, or overtaken."""


class TunedConnector(aiohttp.TCPConnector):
    """`tune` may set further options of each socket."""

    def __init__(self, tune: Callable[[socket.socket], None] = lambda _: None) -> None:
        super().__init__(socket_factory=self._socket, happy_eyeballs_delay=CONNECT_EVERY)
        self._tune = tune

    async def _resolve_host(self, host: str, port: int, traces: Sequence[Trace] | None = None) -> list[ResolveResult]:
        # Each address several times: aiohttp's race of addresses then is one of attempts, too.
        return await super()._resolve_host(host, port, traces) * _ATTEMPTS

    def _socket(self, address: AddrInfoType) -> socket.socket:
        raw = _socket(address)
        self._tune(raw)
        return raw


async def connect(host: str, port: int) -> socket.socket:
    """A connected socket of our options; attempts overlap here, too. Raises OSError. Safe to cancel."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return await aiohappyeyeballs.start_connection(
        found * _ATTEMPTS, happy_eyeballs_delay=CONNECT_EVERY, socket_factory=_socket
    )


def _socket(address: AddrInfoType) -> socket.socket:
    family, kind, protocol, *_ = address
    raw = socket.socket(family, kind, protocol)
    prepare(raw)
    return raw


def _options() -> dict[int, int]:
    """Those that this system knows."""
    named = {"TCP_MAXSEG": SEGMENT, "TCP_NOTSENT_LOWAT": UNSENT}
    found = {int(getattr(socket, name)): value for name, value in named.items() if hasattr(socket, name)}
    ours = {
        _THIN_LINEAR_TIMEOUTS: 1,
        _SHORTEST_TIMEOUT: round(SHORTEST_TIMEOUT * 1e6),
        _LONGEST_TIMEOUT: round(LONGEST_TIMEOUT * 1e3),
    }
    return found | (ours if sys.platform == "linux" else {})


_OPTIONS: Final = _options()


def prepare(raw: socket.socket) -> None:
    """For a bad link, at both of its ends; options that this system does not know are left out."""
    for option, value in _OPTIONS.items():
        with suppress(OSError):
            raw.setsockopt(socket.IPPROTO_TCP, option, value)


def unacknowledged(raw: socket.socket) -> int:
    """Bytes that the kernel holds until the other side has acknowledged them; 0 where it does not say."""
    if sys.platform != "linux":
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0


def renew_bbr(raw: socket.socket) -> bool:
    """Lets the congestion control BBR measure anew, window and connection as they are; returns whether it did. Each
    10 s without a round trip as short as its shortest BBR has no more than four segments on their way for 0.2 s and a
    round trip. Live audio on a long way has more, and waited half a second for each. Nothing is done under another
    congestion control, nor while segments are lost: BBR forgets then what its window was before."""
    if (info := _tcp_info(raw)) is None or info[_STATE_AT] != _OPEN:
        return False
    try:
        name = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _NAME_BYTES).rstrip(b"\0")
        if name != _BBR:
            return False
        for each in (b"reno", name):  # the same once more would change nothing; every system has and allows reno
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, each)
    except OSError:
        return False
    return True


async def lost(raw: socket.socket, look_every: float, looks: int) -> None:
    """Returns when so many looks in a row find that the other machine acknowledges nothing any more of what it is sent;
    a program there that only does not read has a kernel that does. Never returns where this system does not say. Looks
    are counted, not seconds: if this process stalled, the peer is not to blame. Safe to cancel."""
    if _tcp_info(raw) is None:
        await asyncio.get_running_loop().create_future()
    missed = 0
    while missed < looks:
        await asyncio.sleep(look_every)
        missed = missed + 1 if _waits_in_vain(raw, look_every) else 0


def _waits_in_vain(raw: socket.socket, seconds: float) -> bool:
    """Something was sent, or asked for, and for so long nothing at all was acknowledged."""
    if (info := _tcp_info(raw)) is None:
        return False
    (unacknowledged,), (quiet_ms,) = _NUMBER.unpack_from(info, _UNACKED_AT), _NUMBER.unpack_from(info, _ACKED_AT)
    return bool(unacknowledged or info[_PROBES_AT]) and quiet_ms >= seconds * 1e3


class RoundTrip(NamedTuple):
    """Of a connection, seconds."""

    now: float
    """Smoothed."""
    least: float
    repeated: int = 0
    """Segments that were sent again so far."""
    quiet: float = 0.0
    """Since the other side last acknowledged anything."""

    @property
    def queued(self) -> float:
        """By how much it is longer than it need be."""
        return self.now - self.least


def round_trip(raw: socket.socket) -> RoundTrip | None:
    """What the kernel has measured; None where it does not say."""
    if (info := _tcp_info(raw)) is None:
        return None
    numbers = (_RTT_AT, _REPEATED_AT, _MIN_RTT_AT, _ACKED_AT)
    now, repeated, least, quiet_ms = (_NUMBER.unpack_from(info, at)[0] for at in numbers)
    return RoundTrip(now / 1e6, min(now, least) / 1e6, repeated, quiet_ms / 1e3)


def _tcp_info(raw: socket.socket) -> bytes | None:
    """None where this system does not say."""
    if sys.platform != "linux":
        return None
    try:
        info = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:
        return None
    return info if len(info) >= _MIN_RTT_AT + _NUMBER.size else None
