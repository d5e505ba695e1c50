"""A phone that speaks over a bad link: its sender, capture and socket machine are real (phone/, core/)."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, cast

from glassbridge.core.phone_socket import (
    Accepted,
    CloseSocket,
    ComeBack,
    Effect,
    Event,
    MessageReceived,
    OpenSocket,
    PhoneSocket,
    Ping,
    SocketClosed,
    Start,
    Tick,
)
from glassbridge.core.values import Generation, Transport
from glassbridge.lab.uplinks.cloud import HEADER, Cloud
from glassbridge.lab.uplinks.room import RoomModel
from glassbridge.lab.uplinks.sound import speech
from glassbridge.lab.uplinks.tcp import Stream
from glassbridge.lab.uplinks.wire import Link
from glassbridge.phone.beside import keep_beside
from glassbridge.phone.capture import Capture
from glassbridge.phone.events import AudioStateChanged
from glassbridge.phone.pacing import Paced
from glassbridge.phone.room import Room
from glassbridge.phone.sender import Sender
from glassbridge.phone.socket import CloudSocket
from glassbridge.runtime.tcp import RoundTrip
from glassbridge.wire import phone as wire

EPOCH = 7
LIVE = AudioStateChanged("live", "", "", None, None, None, None)


class Socket(Paced):
    """One connection to the cloud; `hear` gets what the cloud says on it."""

    def __init__(self, number: int, link: Link, cloud: Cloud, hear: Callable[[Any], None], *, beside: bool) -> None:
        super().__init__(asyncio.get_running_loop().time)
        self.number = number
        self.beside = beside
        self.ended = asyncio.Event()
        self._up = Stream(link.up, link.down, lambda said: cloud.hear(self, said), link.trip)
        self._down = Stream(link.down, link.up, hear)
        self._up.send("hello", 600)

    def tell(self, message: Any, size: int) -> None:
        """The cloud says something."""
        self._down.send(message, size)

    def cut(self) -> None:
        """Nothing passes any more, either way."""
        self._up.close()
        self._down.close()
        self.ended.set()

    @property
    def measured(self) -> RoundTrip | None:
        return self._up.trip

    def pending(self) -> int | None:
        return None if self._up.closed else self._up.pending

    async def say(self, message: wire.Message) -> bool:
        self._up.send(message, len(wire.encode(message)) + HEADER)
        return not self._up.closed

    async def send_audio(self, frame: bytes) -> bool:
        self.note_audio(frame)
        self._up.send(frame, len(frame) + HEADER)
        return not self._up.closed

    async def listen(self, _on_message: object) -> int:
        """As the second socket's."""
        await self.ended.wait()
        return 1006

    async def vanish(self) -> None:
        """As CloudSocket.vanish."""
        self.cut()


class Phone:
    """One phone of one schedule."""

    def __init__(
        self, link: Link, cloud: Cloud, chance: Random, transport: Transport, tell: Callable[[str], None]
    ) -> None:
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._link, self._cloud = link, cloud
        self.machine = PhoneSocket(chance.random)
        self.sockets: dict[int, Socket] = {}
        self.opened = 0
        self.capture = Capture(EPOCH, clock=lambda: round(self._loop.time() * 1e6))
        self.place = RoomModel(link, cloud.hear_room)
        self.place.joined = transport is not Transport.WEBSOCKET
        self.microphone_on = True
        self.sender = Sender(
            self.capture, cast(Room, self.place), transport, lambda: self.microphone_on, self._loop.time, opus=True
        )
        self.sender.numbered = True
        self._timer: asyncio.TimerHandle | None = None
        self._beside = 0
        self._stopped = False

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self.sender.run())
            for one in self.sender.lanes.beside.sockets:
                tasks.create_task(keep_beside(one.wanted, self._dial_beside, one.use))
            self.step(Start())
            await asyncio.Event().wait()

    def stop(self) -> None:
        """Its sockets break, and none is opened."""
        self._stopped = True
        for socket in self.sockets.values():
            socket.cut()

    async def speak(self, seconds: float, frame_ms: int) -> None:
        """In real time; then the microphone is off."""
        begun, samples, level = self._loop.time(), frame_ms * 16, ""
        for number in range(round(seconds * 1000 / frame_ms)):
            await asyncio.sleep(begun + (number + 1) * frame_ms / 1000 - self._loop.time())
            pcm = speech(self.capture.position, samples)
            self.sender.put(self.capture.take(pcm, last=(number + 1) * frame_ms >= seconds * 1000))
            if (now := self.sender.level.name) != level:
                level = now
                self._tell(f"audio is sent as {level}")
        self.microphone_on = False
        self.sender.nudge()

    def step(self, event: Event) -> None:
        """Something happens to its socket."""
        if self._stopped:
            return
        now = self._loop.time()
        for effect in self.machine.step(event, now):
            self._perform(effect)
        for record in self.machine.records:
            about = f"socket {record.generation} {record.old.label} -> {record.new.label}"
            self._tell(f"{about} on {record.event}{record.cause and f' ({record.cause})'}")
        self.machine.records.clear()
        if self._timer is not None:
            self._timer.cancel()
        due = self.machine.next_deadline()
        self._timer = None if due is None else self._loop.call_at(max(due, now), self.step, Tick())

    def reset(self) -> None:
        """What is open breaks, as when a network goes away that tells."""
        for number, socket in list(self.sockets.items()):
            self._close(number)
            if not socket.beside:
                self.step(SocketClosed(Generation(number), ComeBack.LATER, "reset"))

    def _perform(self, effect: Effect) -> None:
        match effect:
            case OpenSocket(number):
                self.opened += 1
                self.sockets[number] = Socket(
                    number, self._link, self._cloud, lambda said: self._hear(number, said), beside=False
                )
            case CloseSocket(number):
                self._close(number)
            case Ping(number, ping):
                if (socket := self.sockets.get(number)) is not None:
                    self._tasks.create_task(socket.say(wire.Ping(timestamp=ping)))

    def _close(self, number: int) -> None:
        if (socket := self.sockets.pop(number, None)) is not None:
            socket.cut()
            if self.sender.socket is cast(CloudSocket, socket):
                self.sender.use(None)

    def _hear(self, number: Generation, said: Any) -> None:
        if number not in (self.machine.generation, self.machine.kept) or (socket := self.sockets.get(number)) is None:
            return
        match said:
            case wire.ConnectionAck():
                self._tasks.create_task(self._accepted(number, socket, said))
            case wire.Pong(timestamp=int(ping)):
                self.step(MessageReceived(number, ping))
            case wire.AudioAck():
                self.capture.acknowledge(said.epoch, said.position, said.missing, said.lost)
                self.sender.acknowledged(said)
            case "live":  # after an acknowledgement that came just before
                self._loop.call_soon(setattr, self.sender.routes, "told", LIVE)
            case "closed":
                self._close(number)
                self.step(SocketClosed(number, ComeBack.NO, "superseded"))

    async def _accepted(self, number: Generation, socket: Socket, ack: wire.ConnectionAck) -> None:
        await self.sender.introduce(cast(CloudSocket, socket))
        self.sender.use(cast(CloudSocket, socket), ack)
        self._tasks.create_task(self.sender.lanes.meter.probe())
        self.step(Accepted(number, same_room=True, answers=True))
        self.sender.nudge()

    def _dial_beside(self) -> Awaitable[CloudSocket]:
        return self._open_beside()

    async def _open_beside(self) -> CloudSocket:
        self._beside -= 1
        greeted = asyncio.Event()
        socket = Socket(self._beside, self._link, self._cloud, lambda _: greeted.set(), beside=True)
        self.sockets[self._beside] = socket
        try:
            await greeted.wait()
        except asyncio.CancelledError:
            socket.cut()
            raise
        await self.sender.introduce(cast(CloudSocket, socket))
        return cast(CloudSocket, socket)
