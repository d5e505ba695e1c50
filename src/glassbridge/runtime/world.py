"""The world of a program: clocks, chance, sockets. Programs take it as an argument.

cli/ passes REAL; the simulations (lab/sim, lab/weeks) have one World for each process. Timers,
tasks and listening sockets are those of the running event loop, whose time is that of `monotonic`.
"""

import asyncio
import random
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from glassbridge.runtime import tcp
from glassbridge.runtime.listen import claim_port


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The outside of one process."""

    monotonic: Callable[[], float]
    """Seconds, for durations."""
    since_boot: Callable[[], float]
    """Seconds on a clock that goes on while the machine sleeps, where there is one."""
    wall: Callable[[], float]
    """Unix seconds, for what other machines are told."""
    chance: Callable[[], float]
    """A number in [0, 1)."""
    token: Callable[[int], str]
    """This many random bytes, in hex: cannot be guessed."""
    http: Callable[..., aiohttp.ClientSession]
    """A client for requests and WebSockets; see `open_http`."""
    claim_port: Callable[[str, int], None]
    """Makes sure that a TCP port is free at this moment. Raises CannotListen."""


def open_http(
    *,
    limit: int = 100,
    limit_per_host: int = 0,
    tune: Callable[[socket.socket], None] | None = None,
    **options: Any,
) -> aiohttp.ClientSession:
    """A client with at most so many connections at once, in all and to one host (0: no limit). With `tune`, which sets
    options of a socket, connections are those for bad links (runtime/tcp.py). Takes all other options of ClientSession
    but its connector."""
    connector = (
        aiohttp.TCPConnector(limit=limit, limit_per_host=limit_per_host) if tune is None else tcp.TunedConnector(tune)
    )
    return aiohttp.ClientSession(connector=connector, **options)


async def close_http(http: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse | None) -> None:
    """Closes a client, and the WebSocket for which it was opened. A socket whose client alone is closed keeps its
    connection until it is collected, and aiohttp complains then. Idempotent; when cancelled, both are closed all the
    same."""
    try:
        await http.close()
    finally:
        if socket is not None:
            await socket.close()  # nothing is sent any more: its client has closed the connection


async def is_sent(sending: Awaitable[Any], within: float) -> bool:
    """Whether a WebSocket takes a message within so many seconds; False if it is gone or blocked. Safe to cancel."""
    try:
        async with asyncio.timeout(within):
            await sending
    except (TimeoutError, aiohttp.ClientError, ConnectionError):
        return False
    return True


def _since_boot() -> float:
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


REAL: Final = World(
    monotonic=time.monotonic,
    since_boot=_since_boot,
    wall=time.time,
    chance=random.random,
    token=secrets.token_hex,
    http=open_http,
    claim_port=claim_port,
)
