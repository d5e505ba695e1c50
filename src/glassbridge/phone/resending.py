"""Sends again what the cloud lacks: at once while it is fresh, on each route that has not carried it reliably; later on
the socket, marked, while no newer audio waits, at no more than REPLAY_SPEED times real time. What is sent again, and
when, is decided in phone/missing.py."""

import asyncio
from collections.abc import Iterable
from typing import Final

from glassbridge.core.link_events import AudioRoute
from glassbridge.core.sending import Sending
from glassbridge.core.sending_levels import STATIC, Coding, Level
from glassbridge.core.values import BYTES_PER_MS
from glassbridge.phone.capture import Capture, Frame
from glassbridge.phone.coding import Coder, Outgoing, recoded, repair, repaired
from glassbridge.phone.counts import Counts
from glassbridge.phone.lanes import Lanes
from glassbridge.phone.missing import Missing
from glassbridge.phone.plain import REPLAY_SPEED
from glassbridge.phone.routes import Routes
from glassbridge.wire.audio_frames import FLAG_REPLAYED

DOUBTED: Final = 1.5
"""Seconds of sound that go by the socket at once where the room is doubted: what is older is late, and asked for."""


class Resending:
    """Of one phone. It has a coder of its own, so that what is live sounds as if nothing was sent again. `idle` is set
    while no new audio waits to be sent."""

    def __init__(
        self,
        capture: Capture,
        sending: Sending,
        missing: Missing,
        lanes: Lanes,
        routes: Routes,
        counts: Counts,
        idle: asyncio.Event,
    ) -> None:
        self._capture = capture
        self._sending = sending
        self._missing = missing
        self._lanes = lanes
        self._routes = routes
        self._counts = counts
        self._idle = idle
        self._coder = Coder(capture.encoders)

    def begin_epoch(self) -> None:
        """Positions begin anew."""
        self._coder = Coder(self._capture.encoders)
        self._missing.begin_epoch()

    def send_missing(self) -> None:
        """Puts missing samples that are fresh ahead of all newer audio; the others wait for `run`."""
        level = self._sending.level
        for again, frames in self._missing.due(measured=level is not STATIC, room=self._routes.repairs_in_room):
            for sent in repaired(frames, level, self._coder):
                if again.room:
                    self._lanes.put_into_room(sent)
                if again.socket and self._lanes.meter.socket is not None:
                    self._lanes.put_on_socket(sent)

    def send_unheard(self, frames: Iterable[Frame]) -> None:
        """Puts on the socket frames that a track carried and the cloud did not hear."""
        for frame in frames:
            for again in repair(frame, self._sending.level, self._coder, flags=FLAG_REPLAYED):
                self._lanes.put_on_socket(again)

    def send_newest(self) -> None:
        """What the cloud may not have of the last seconds goes by the socket, as far as that does not carry it yet."""
        for frame in self._capture.newest(DOUBTED) if self._lanes.meter.socket is not None else ():
            if not self._missing.is_carried(frame):
                self._lanes.put_on_socket(Outgoing(frame.number, frame.stop, frame.pcm))

    def take_back(self, former: Level, level: Level) -> list[Outgoing]:
        """What still waits for the socket, or as PCM for the room, as the new level wants it."""
        waiting = [] if level.coding is Coding.PCM else self._lanes.take_back(former.coding)
        return recoded(waiting, self._capture, level, self._coder)

    async def run(self) -> None:
        """Sends what is late, behind all that is newer; until cancelled."""
        while True:
            await self._missing.any_late.wait()
            await self._idle.wait()
            await self._lanes.emptied(AudioRoute.SOCKET)
            if self._lanes.meter.socket is None or not self._missing.late:
                self._missing.any_late.clear()
                continue
            frame = self._missing.late.popleft()
            for again in repair(frame, self._sending.level, self._coder, flags=FLAG_REPLAYED):
                if await self._lanes.send_on_socket(again.encoded()):
                    self._counts.replayed += 1
                else:
                    self._missing.drop()
            await asyncio.sleep(len(frame.pcm) / BYTES_PER_MS / 1000 / REPLAY_SPEED)
