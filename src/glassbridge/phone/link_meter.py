"""What the sockets of a phone tell of its link, for the level of sending (core/sending.py): probes, segments that were
sent again, queues."""

import asyncio
import math
from collections.abc import Callable

from glassbridge.core.sending import Sending
from glassbridge.phone.beside import Beside
from glassbridge.phone.pacing import RoomPace
from glassbridge.phone.socket import CloudSocket


class LinkMeter:
    """Of one phone."""

    def __init__(self, sending: Sending, beside: Beside, room: RoomPace, clock: Callable[[], float]) -> None:
        self.socket: CloudSocket | None = None
        """Open and acknowledged."""
        self._sending = sending
        self._beside = beside
        self._room = room
        self._clock = clock
        self._repeated = 0
        """The sockets' retransmissions at the last look."""
        self._probing = asyncio.Event()

    @property
    def trip(self) -> float:
        """The round trip to the cloud, seconds; 0 while it is not known."""
        return 0.0 if self.socket is None else self.socket.trip.now

    async def probe(self) -> None:
        """Measures the link of a new socket, where nothing is known of it, before audio fills it; and later, before
        more is sent."""
        socket = self.socket
        if socket is None or not (self._sending.is_new or self._sending.wants_probe):
            return
        before = socket.trip.repeated
        rate = await socket.probe(lambda rate: self._sending.doubted(rate, self._clock()))
        if socket is self.socket:
            self._sending.probed(rate, self._clock(), repeated=socket.trip.repeated > before)

    async def run(self) -> None:
        """Probes whenever `judge` finds that it is time; until cancelled."""
        while True:
            await self._probing.wait()
            self._probing.clear()
            await self.probe()

    def look(self) -> None:
        """Counts what the sockets have sent again, and keeps their windows. To be called often while audio is sent."""
        sockets = ([] if self.socket is None else [self.socket]) + self._beside.open
        for socket in sockets:
            socket.keep_window()
        repeated = sum(socket.trip.repeated for socket in sockets)
        if repeated > self._repeated:
            self._sending.repeated(repeated - self._repeated, self._clock())
        self._repeated = repeated

    def judge(self, backlog: float, held: float) -> None:
        """`backlog` and `held` are those of Sending.judge."""
        queued, carries = (math.inf, math.inf) if self.socket is None else (self.socket.queued, self.socket.carries)
        if held:  # otherwise what arrives may be all that there was to send
            carries = min(carries, self._room.carries)
        self._sending.judge(self._clock(), backlog, queued, carries, held)
        if self._sending.wants_probe:
            self._probing.set()
