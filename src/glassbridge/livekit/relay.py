"""The detour of media through a TURN server, for networks that let no UDP pass. The LiveKit server names TURN servers
when it lets us in.

A place tries UDP first. Where that has no path after AFTER seconds and some round trips, it asks the named servers for
an address of theirs, and offers that to LiveKit beside its own: no second join is needed. By TLS first, then TCP, then
UDP to TURN's port, each overlapping the one before; the first that grants an address is used.

This file reaches for private names of aioice.turn 0.13; livekit/aiortc_quirks.py holds the rest.
"""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import structlog
from aioice import Candidate, Connection, stun, turn
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import StunProtocol
from livekit.protocol import rtc

from glassbridge.core.values import LossReason
from glassbridge.livekit import aiortc_quirks as quirks
from glassbridge.livekit.participant import ParticipantError, RelayUse
from glassbridge.runtime import tcp
from glassbridge.runtime.socket_errors import NO_ANSWER, cause

log = structlog.get_logger()

AFTER: Final = 0.5
"""Seconds without a path by UDP after which the detour is begun."""
ROUND_TRIPS: Final = 4
"""Of the signalling's socket, in which a path by UDP is built; they come on top."""
OVERLAP: Final = 0.5
"""Seconds until the next server is asked while the ones before go on."""
ANSWER_WITHIN: Final = 5.0
"""Seconds in which a server has to grant an address."""
MAX_SERVERS: Final = 4
"""That are asked of those that are named."""
MAX_UNSENT: Final = 64 << 10
"""Bytes that wait for a TCP connection to TURN, at most; a datagram beyond is dropped, as a full link does."""
LIFE: Final = 600
"""Seconds for which an address is asked for; it is renewed in time."""
SHORTEST_LIFE: Final = 60
"""Seconds of life of an address that are believed: it is renewed at five sixths of it, and at a life of 0 without a
pause."""
CHANNEL_LIFE: Final = 500
_PORTS: Final = {"turn": 3478, "turns": 5349}
_URL: Final = re.compile(
    r"(?P<scheme>turns?):(?P<host>\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::(?P<port>\d{1,5}))?(?:\?transport=(?P<by>\w+))?",
    re.ASCII,
)


class RelayFailed(Exception):
    """No TURN server grants an address; the text says why, for people, and holds no secret."""


@dataclass(frozen=True, slots=True)
class RelayServer:
    """A TURN server, and what it wants to be told."""

    host: str
    port: int
    by: str
    """tls, tcp or udp."""
    username: str = field(repr=False)
    credential: str = field(repr=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port} by {self.by.upper()}"


def relay_servers(named: Iterable[rtc.ICEServer]) -> list[RelayServer]:
    """The usable ones, TLS first: it passes where anything does. Unreadable entries are skipped."""
    found = [server for entry in named for url in entry.urls if (server := _read(url, entry)) is not None]
    return sorted(found, key=lambda server: ("tls", "tcp", "udp").index(server.by))[:MAX_SERVERS]


def _read(url: str, entry: rtc.ICEServer) -> RelayServer | None:
    match = _URL.fullmatch(url)
    if match is None:
        return None
    scheme = match["scheme"]
    by = match["by"] or ("tcp" if scheme == "turns" else "udp")
    port = int(match["port"] or _PORTS[scheme])
    if by not in ("tcp", "udp") or (scheme == "turns" and by == "udp") or not 0 < port < 65_536:
        return None
    by = "tls" if scheme == "turns" else by
    return RelayServer(match["host"].strip("[]"), port, by, entry.username, entry.credential)


class Relay:
    """The detour of one place, for each of its connections."""

    def __init__(self, use: RelayUse) -> None:
        self.use = use
        self.servers: list[RelayServer] = []
        self.after = AFTER
        """Seconds without a path after which it is begun."""

    def learn(self, named: Iterable[rtc.ICEServer], round_trip: float) -> None:
        """What the server that lets us in says, and how far away it is."""
        self.servers = relay_servers(named)
        self.after = AFTER + ROUND_TRIPS * round_trip

    def instead(self, ice: Connection) -> Callable[[], Awaitable[object]] | None:
        """What replaces our own addresses where only a detour is wanted. It raises ParticipantError."""
        if self.use is not RelayUse.ONLY:
            return None

        async def allocate() -> None:
            try:
                await self.allocate(ice)
            except RelayFailed as error:
                raise ParticipantError(LossReason.MEDIA_FAILED, f"TURN: {error}") from None

        return allocate

    async def stand_by(self, ice: Connection) -> Candidate | None:
        """Returns the address to offer where the connection has no path in time; None where it needs none, or cannot
        have one. Safe to cancel."""
        if self.use is not RelayUse.FALLBACK or not self.servers:
            return None
        await asyncio.sleep(self.after)
        if quirks.has_path(ice):
            return None
        try:
            return await self.allocate(ice)
        except RelayFailed as error:
            log.warning("relay refused", reason=str(error))
            return None

    async def allocate(self, ice: Connection) -> Candidate:
        """Adds an address of the first server that grants one to the connection. Raises RelayFailed. Safe to cancel."""
        if not self.servers:
            raise RelayFailed("LiveKit names no TURN server")
        racing: dict[asyncio.Task[StunProtocol], RelayServer] = {}
        why: list[str] = []
        waiting = list(self.servers)
        try:
            while racing or waiting:
                if waiting:
                    server = waiting.pop(0)
                    racing[asyncio.ensure_future(_allocate(server, ice))] = server
                ended, _ = await asyncio.wait(
                    racing, timeout=OVERLAP if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in ended:
                    server = racing.pop(task)
                    if task.exception() is None:
                        log.info("relay granted", server=str(server))
                        return quirks.add_local(ice, task.result())
                    why.append(f"{server}: {_reason(task.exception())}")
        finally:
            for task in racing:
                task.cancel()
            await asyncio.gather(*racing, return_exceptions=True)
            for task in racing:
                if not task.cancelled() and task.exception() is None:
                    await task.result().close()  # it came together with the one that is used
        raise RelayFailed("; ".join(why))


async def _allocate(server: RelayServer, ice: Connection) -> StunProtocol:
    """Raises OSError, TimeoutError, stun.TransactionError."""
    inner: _Client | None = None
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            inner = await _connect(server)
            outer = StunProtocol(ice)
            transport = turn.TurnTransport(inner)  # type: ignore[arg-type]
            await transport._connect(outer)
    except TimeoutError:
        if inner is not None and inner.realm is not None:  # livekit-server's refusals are not signed: aioice drops them
            raise PermissionError(None, "it does not accept LiveKit's credential") from None
        raise
    finally:
        if inner is not None and inner.relayed_address is None:
            inner.transport.abort()
    host, port = transport.get_extra_info("sockname")
    # Told to be a relay's, pion would settle on it only 2 s later; its priority is that of a relay.
    outer.local_candidate = Candidate(
        foundation=candidate_foundation("relay", "udp", host),
        component=1,
        transport="udp",
        priority=candidate_priority(1, "relay"),
        host=host,
        port=port,
        type="host",
    )
    return outer


async def _connect(server: RelayServer) -> "_Client":
    """Raises OSError."""
    loop = asyncio.get_running_loop()
    inner: _OverTcp | _OverUdp
    where, known = (server.host, server.port), (server.username, server.credential, LIFE, CHANNEL_LIFE)
    if server.by == "udp":
        _, inner = await loop.create_datagram_endpoint(lambda: _OverUdp(where, *known), remote_addr=where)
    else:
        raw = await tcp.connect(server.host, server.port)
        tls: dict[str, Any] = {"ssl": _context(), "server_hostname": server.host} if server.by == "tls" else {}
        try:
            _, inner = await loop.create_connection(lambda: _OverTcp(where, *known), sock=raw, **tls)
        except BaseException:
            raw.close()
            raise
    return inner


@cache
def _context() -> ssl.SSLContext:
    """With the authorities of this machine, or those of SSL_CERT_FILE."""
    return ssl.create_default_context()


class _Client(turn.TurnClientMixin):
    """aioice's, which survives what it cannot read, and leaves at once."""

    transport: Any

    async def delete(self) -> None:
        """Leaves without waiting for an answer: the server frees the address when the connection ends, or its life."""
        self._forget()
        if self.transport.is_closing():
            return
        request = stun.Message(message_method=stun.Method.REFRESH, message_class=stun.Class.REQUEST)
        request.attributes["LIFETIME"] = 0
        if self.integrity_key:
            self._TurnClientMixin__add_authentication(request)  # type: ignore[attr-defined]
        self.send_stun(request, self.server)
        self.transport.abort()

    async def request_with_retry(self, request: stun.Message) -> tuple[stun.Message, tuple[str, int]]:
        response, where = await super().request_with_retry(request)
        if "LIFETIME" in response.attributes:
            response.attributes["LIFETIME"] = max(SHORTEST_LIFE, response.attributes["LIFETIME"])
        return response, where

    def datagram_received(self, data: bytes | str, addr: tuple[str, int]) -> None:
        with suppress(*quirks.UNREADABLE):
            super().datagram_received(data, addr)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _forget(self) -> None:
        if self.refresh_task is not None:
            self.refresh_task.cancel()
            self.refresh_task = None


class _OverTcp(_Client, turn.TurnClientTcpProtocol):
    """Also over TLS."""

    def _send(self, data: bytes) -> None:
        if self.transport.get_write_buffer_size() <= MAX_UNSENT:
            super()._send(data)


class _OverUdp(_Client, turn.TurnClientUdpProtocol):
    pass


def _reason(error: BaseException | None) -> str:
    """In words, without what a library adds."""
    match error:
        case stun.TransactionFailed(response=response):
            return f"it refuses ({response.error_code})"
        case stun.TransactionTimeout():
            return NO_ANSWER
    return cause(error)
