"""The lanes of a phone's numbered audio: one into the room, one onto its socket, and those of the sockets beside that.

- Each has a task of its own (phone/lane.py), so that a slow one does not delay the others.
- PCM waits for the room until that has delivered what it got, and for the socket until that carries it
  (phone/pacing.py): what waits here can still be coded.
- What the room does not take goes by the socket.
- What waits for the socket waits until it is sent or acknowledged, the oldest first: a narrow link delays words, it
  loses none.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from glassbridge.core.link_events import AudioRoute
from glassbridge.core.sending import Sending
from glassbridge.core.sending_levels import LEVELS, STATIC, Coding
from glassbridge.phone.beside import Beside
from glassbridge.phone.capture import Capture
from glassbridge.phone.coding import Outgoing
from glassbridge.phone.counts import Carrier, Counts
from glassbridge.phone.lane import Lane
from glassbridge.phone.link_meter import LinkMeter
from glassbridge.phone.missing import Missing
from glassbridge.phone.pacing import RoomPace
from glassbridge.phone.plain import SEND_TIMEOUT
from glassbridge.phone.room import Room
from glassbridge.phone.socket import CloudSocket
from glassbridge.wire.audio_frames import HEADER_BYTES, TOPIC_NUMBERED

ROOM_AGE: Final = 1.0
"""Seconds that a frame may wait for the room; a presence frame for any route."""
SOCKET_PATIENCE: Final = 30.0
"""Seconds that the socket may take nothing: one that is dead is known sooner, by its pings."""


class Lanes:
    """Of one phone; `run` sends what is put into them. `missing` learns what the socket carries."""

    def __init__(
        self,
        capture: Capture,
        room: Room,
        sending: Sending,
        missing: Missing,
        counts: Counts,
        clock: Callable[[], float],
    ) -> None:
        self._capture = capture
        self._room = room
        self._sending = sending
        self._missing = missing
        self._counts = counts
        self._clock = clock
        self.room_pace = RoomPace(lambda: room.flight, clock)
        self._into = {
            AudioRoute.ROOM: Lane(
                self._into_room, self._passed, lambda _, waited: waited <= ROOM_AGE, clock, takes=self._room_takes
            ),
            AudioRoute.SOCKET: Lane(self.send_on_socket, self._carry, self._is_wanted, clock, takes=self._socket_takes),
        }
        self.beside = Beside(capture, sending, self._onto, self._is_wanted, clock)
        self.meter = LinkMeter(sending, self.beside, self.room_pace, clock)

    async def run(self) -> None:
        """Sends until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.beside.run())
            tasks.create_task(self.meter.run())
            for lane in self._into.values():
                tasks.create_task(lane.run())

    def put_into_room(self, frame: Outgoing, copies: int = 0) -> None:
        """With so many earlier packets again."""
        self._into[AudioRoute.ROOM].put(frame, copies)

    def put_on_socket(self, frame: Outgoing) -> None:
        """Samples, or presence in their place."""
        if not frame.number.presence:
            self._missing.carry(frame.number.position, frame.stop)
        self._into[AudioRoute.SOCKET].put(frame)

    def backlog(self, routes: Iterable[AudioRoute], now: float) -> dict[AudioRoute, float]:
        """Seconds that the oldest frame of each has waited."""
        return {route: self._into[route].backlog(now) for route in routes}

    def take_back(self, former: Coding) -> list[Outgoing]:
        """The frames that wait for the socket and, if they are PCM, for the room. They are in no lane any more."""
        routes = tuple(self._into) if former is Coding.PCM else (AudioRoute.SOCKET,)
        if not any(self.backlog(routes, self._clock()).values()):
            return []
        return [frame for route in routes for frame in self._into[route].take_back()]

    async def emptied(self, *routes: AudioRoute) -> None:
        """Returns when nothing waits for any of these, and nothing is being sent."""
        for route in routes:
            await self._into[route].emptied()

    async def send_on_socket(self, payload: bytes) -> bool:
        """At once, beside what waits; False when it could not be sent."""
        return await self._onto(self.meter.socket, payload)

    async def _onto(self, socket: CloudSocket | None, payload: bytes) -> bool:
        rate = self._sending.level.bit_rate // 8
        if socket is None or not await socket.room_for(len(payload), rate, SOCKET_PATIENCE):
            return False
        return await socket.send_audio(payload)

    async def _into_room(self, payload: bytes) -> bool:
        return await self._room.send(payload, TOPIC_NUMBERED, timeout=SEND_TIMEOUT)

    def _room_takes(self, frame: Outgoing, waited: float) -> bool:
        """PCM goes into the room as quickly as the link carries it: what waits here can still be coded."""
        held = frame.pcm and self._sending.level is not STATIC and waited <= ROOM_AGE
        return not held or self.room_pace.takes(len(frame.pcm), LEVELS[0].bit_rate // 8)

    def _socket_takes(self, frame: Outgoing, waited: float) -> bool:
        """The same by the socket. Coded audio waits at the socket itself, which hears sooner that there is room. Where
        there is no socket, the frame waits for none."""
        if not frame.pcm or (socket := self.meter.socket) is None or waited > SOCKET_PATIENCE:
            return True
        return socket.takes(HEADER_BYTES + len(frame.pcm), self._sending.level.bit_rate // 8) is not False

    def _is_wanted(self, frame: Outgoing, waited: float) -> bool:
        if frame.number.presence:
            return waited <= ROOM_AGE
        return frame.number.epoch != self._capture.epoch or bool(self._capture.part(frame.number, frame.stop))

    def _passed(self, frame: Outgoing, done: bool) -> None:
        """Samples that the room does not take go by the socket. That it does not take presence says nothing of the
        link: its channels are not open yet."""
        self._count(Carrier.DATA, frame, done)
        if not done and self._room.joined and not frame.number.presence:
            self._sending.refused(self._clock())
        alone = frame.pcm or frame.packets
        if not done and alone and self.meter.socket is not None and not self._sending.level.both:
            self.put_on_socket(frame)

    def _carry(self, frame: Outgoing, done: bool) -> None:
        """The cloud may ask again for samples that the socket did not take."""
        if not done:
            self._missing.drop()
        self._count(Carrier.WEBSOCKET, frame, done)

    def _count(self, carrier: Carrier, frame: Outgoing, done: bool) -> None:
        self._counts.deliver(carrier, frame.number, done=done, both=self._sending.level.both)
