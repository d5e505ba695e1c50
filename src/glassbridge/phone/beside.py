"""The phone's second socket: it carries audio beside the first while the link loses packets and no room carries any.

TCP holds everything back until what was lost has come again, a round trip later at least. Two sockets rarely do so at
the same moment, and numbered samples that come twice are heard once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from glassbridge.phone.socket import CloudSocket, Refused, Unreachable
from glassbridge.runtime.tasks import cancelled
from glassbridge.wire import phone as wire

log = structlog.get_logger()

OPEN_WITHIN: Final = 8.0
"""Seconds that an attempt may take; the first socket carries meanwhile."""
AGAIN_AFTER: Final = 2.0
"""Seconds after a failure, or an end."""
KEPT_FOR: Final = 10.0
"""Seconds for which it stays open although it is of no use."""


async def keep_beside(
    wanted: asyncio.Event, dial: Callable[[], Awaitable[CloudSocket] | None], use: Callable[[CloudSocket | None], None]
) -> None:
    """Opens the second socket whenever it is `wanted`, and gives it to `use`, None at its end. `dial` gives None while
    the cloud takes none. Until cancelled."""
    while True:
        await wanted.wait()
        try:
            async with asyncio.timeout(OPEN_WITHIN):
                dialling = dial()
                socket = None if dialling is None else await dialling
        except (Refused, Unreachable, TimeoutError) as error:
            log.info("second socket refused", reason=str(error) or "timed out")
            socket = None
        if socket is not None:
            log.info("second socket opened")
            await _keep(socket, wanted, use)
        await asyncio.sleep(AGAIN_AFTER)


async def _keep(socket: CloudSocket, wanted: asyncio.Event, use: Callable[[CloudSocket | None], None]) -> None:
    listening = asyncio.ensure_future(socket.listen(_ignore))
    use(socket)
    try:
        while not listening.done():
            unwanted = not wanted.is_set()
            await asyncio.wait((listening,), timeout=KEPT_FOR)
            if unwanted and not wanted.is_set():
                break
    finally:
        use(None)
        await socket.vanish()
        await cancelled(listening)


async def _ignore(_message: wire.FromCloud | wire.UnknownMessage) -> None:
    """All is said on the first socket."""
