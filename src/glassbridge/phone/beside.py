"""The phone's sockets beside its first, where no room carries audio.

- While the link loses packets, one carries all audio, too; on a long way as many as are needed
  (core/sockets_beside.py). TCP holds everything back until what was lost has come again, a round trip later at least.
  Several sockets rarely do so at the same moment, and numbered samples that come twice are heard once.
- Otherwise one stands by: when the first socket acknowledges nothing any more, it gets what was said since.
- Each is behind the first: so TCP repeats on each at other moments, and the first packet that passes after a burst of
  loss comes sooner.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from glassbridge.core import audio_routes, sockets_beside
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
FRESH_EVERY: Final = 0.2
"""Seconds between two frames of what was said meanwhile: where few segments are on their way, TCP repeats steadily."""


class SocketBeside:
    """One of them."""

    def __init__(
        self,
        deliver: Callable[[CloudSocket | None, bytes], Awaitable[bool]],
        is_wanted: Callable[[Outgoing, float], bool],
        clock: Callable[[], float],
    ) -> None:
        self.wanted = asyncio.Event()
        """Set while it is of use."""
        self.socket: CloudSocket | None = None
        """While it is open."""
        self.lane = Lane(lambda payload: deliver(self.socket, payload), _forget, is_wanted, clock)

    def use(self, socket: CloudSocket | None) -> None:
        """This one is open; None: it is no longer."""
        self.socket = socket


class Beside:
    """What goes by the sockets beside the first. `deliver(socket, payload)` sends, `is_wanted` is a lane's."""

    def __init__(
        self,
        capture: Capture,
        sending: Sending,
        deliver: Callable[[CloudSocket | None, bytes], Awaitable[bool]],
        is_wanted: Callable[[Outgoing, float], bool],
        clock: Callable[[], float],
    ) -> None:
        self.sockets = tuple(SocketBeside(deliver, is_wanted, clock) for _ in range(sockets_beside.MOST))
        self.most = 1
        """So many the cloud takes."""
        self._sending = sending
        self._clock = clock
        self._newest = Newest(capture)
        self._alone_since: float | None = None
        """Since when no room carries audio."""
        self._fresh_at = 0.0

    @property
    def open(self) -> list[CloudSocket]:
        """Those that are open."""
        return [one.socket for one in self.sockets if one.socket is not None]

    async def run(self) -> None:
        """Sends until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for one in self.sockets:
                tasks.create_task(one.lane.run())

    def put(self, frames: list[Outgoing], first: CloudSocket | None) -> None:
        """These go by the `first` socket now; None: they go by the room, too, or nowhere."""
        now = self._clock()
        if first is None:
            self.rest()
            return
        self._alone_since = now if self._alone_since is None else self._alone_since
        sending = self._sending
        carrying = sending.carrying_beside(now)
        stands_by = sending.spares and now - self._alone_since >= SPARE_AFTER
        self._want(sockets_beside.opened(carrying, is_long=sending.is_long, is_new=sending.is_new) or int(stands_by))
        if self.sockets[0].socket is not None and audio_routes.is_doubtful(first.silent, first.trip.now):
            self._send(self._unheard(first, now), 0, 1)
            self._send(frames, 1, carrying)
        else:
            self._send(frames, 0, carrying)

    def rest(self) -> None:
        """Nothing is said, or a room carries it."""
        self._alone_since = None
        self._want(0)

    def open_first(self) -> None:
        """It will be needed."""
        self._want(1)

    def _want(self, count: int) -> None:
        for place, one in enumerate(self.sockets):
            if place < min(count, self.most):
                one.wanted.set()
            else:
                one.wanted.clear()

    def _send(self, frames: list[Outgoing], first: int, stop: int) -> None:
        for place, one in enumerate(self.sockets[first:stop], first):
            one.lane.lag = sockets_beside.lag(place, is_long=self._sending.is_long)
            for frame in frames if one.socket is not None else ():
                one.lane.put(frame)

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
    """Opens a socket beside the first whenever it is `wanted`, and gives it to `use`, None at its end. `dial` gives
    None while the cloud takes none. Until cancelled."""
    while True:
        await wanted.wait()
        try:
            async with asyncio.timeout(OPEN_WITHIN):
                dialling = dial()
                socket = None if dialling is None else await dialling
        except (Refused, Unreachable, TimeoutError) as error:
            log.info("socket beside the first refused", reason=str(error) or "timed out")
            socket = None
        if socket is not None:
            log.info("socket beside the first opened")
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
