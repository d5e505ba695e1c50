"""The phone's second socket, where no room carries audio.

- While the link loses packets, it carries all audio, too. TCP holds everything back until what was lost has come again,
  a round trip later at least. Two sockets rarely do so at the same moment, and numbered samples that come twice are
  heard once.
- Otherwise it stands by: when the first socket acknowledges nothing any more, it gets what was said since.
- It is LAG behind the first: so TCP repeats on each at other moments, and the first packet that passes after a burst of
  loss comes sooner.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from glassbridge.core import audio_routes
from glassbridge.core.sending import Sending
from glassbridge.phone.capture import Capture
from glassbridge.phone.coding import Outgoing, merged
from glassbridge.phone.insisting import Newest
from glassbridge.phone.lane import Lane
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

SPARE_AFTER: Final = 3.0
"""Seconds for which no room carries audio until one stands by: most rooms are back sooner."""
LAG: Final = 0.075
"""Seconds: half of a timeout at a short round trip."""
FRESH_EVERY: Final = 0.2
"""Seconds between two frames of what was said meanwhile: where few segments are on their way, TCP repeats steadily."""


class Beside:
    """What goes by the second socket. `deliver(socket, payload)` sends, `is_wanted` is a lane's."""

    def __init__(
        self,
        capture: Capture,
        sending: Sending,
        deliver: Callable[[CloudSocket | None, bytes], Awaitable[bool]],
        is_wanted: Callable[[Outgoing, float], bool],
        clock: Callable[[], float],
    ) -> None:
        self.wanted = asyncio.Event()
        """Set while it is of use."""
        self.socket: CloudSocket | None = None
        """While it is open."""
        self._sending = sending
        self._clock = clock
        self._newest = Newest(capture)
        self._alone_since: float | None = None
        """Since when no room carries audio."""
        self._fresh_at = 0.0
        self._lane = Lane(lambda payload: deliver(self.socket, payload), _forget, is_wanted, clock, LAG)

    async def run(self) -> None:
        """Sends until cancelled."""
        await self._lane.run()

    def put(self, frames: list[Outgoing], first: CloudSocket | None) -> None:
        """These go by the `first` socket now; None: they go by the room, too, or nowhere."""
        now = self._clock()
        if first is None:
            self.rest()
            return
        self._alone_since = now if self._alone_since is None else self._alone_since
        doubles = self._sending.doubles(now)
        if doubles or (self._sending.spares and now - self._alone_since >= SPARE_AFTER):
            self.wanted.set()
        else:
            self.wanted.clear()
        if self.socket is None:
            return
        if audio_routes.is_doubtful(first.silent, first.trip.now):
            frames = self._unheard(first, now)
        elif not doubles:
            return
        for frame in frames:
            self._lane.put(frame)

    def rest(self) -> None:
        """Nothing is said, or a room carries it."""
        self._alone_since = None
        self.wanted.clear()

    def _unheard(self, first: CloudSocket, now: float) -> list[Outgoing]:
        """Frames that the first socket did not deliver."""
        if now < self._fresh_at:
            return []
        self._fresh_at = now + FRESH_EVERY
        return merged(self._newest.fresh(first.silent + first.trip.now))


def _forget(_frame: Outgoing, _done: bool) -> None:
    """It goes by the first socket as well."""


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
