"""A bridge's worker: its own service and rooms, by a modelled gRPC, with modelled places in LiveKit's rooms."""

import asyncio

from glassbridge.bridge.config import BridgeConfig
from glassbridge.bridge.host import RoomHost
from glassbridge.bridge.playback import Player
from glassbridge.bridge.rooms import Rooms
from glassbridge.bridge.service import BridgeService
from glassbridge.core.room import RoomState
from glassbridge.core.values import UserId
from glassbridge.lab.sim.livekit import LiveKit, Token
from glassbridge.lab.sim.net import Link
from glassbridge.lab.sim.place import Place
from glassbridge.lab.sim.rpc import Server
from glassbridge.lab.sim.world import Process, World
from glassbridge.livekit.participant import DEFAULT_OPTIONS, ConnectOptions, RoomEvents

CONFIG = BridgeConfig()
LETTING_GO = (0.0, 0.1)
"""Seconds that a join which was called off needs to be out of the way."""


class Worker:
    """One worker process of a bridge."""

    def __init__(self, world: World, name: str) -> None:
        self.process = Process(world, name)
        self.process.boot = self._boot
        self.server = Server(self.process)
        self.livekit: LiveKit
        self.link: Link
        """To LiveKit."""
        self.watchful = True
        """Its participants watch their paths, as ours do; the SDK's are blind for 14 s."""
        self._service: BridgeService
        self._rooms: Rooms
        self._let_go_at = 0.0

    @property
    def rooms(self) -> tuple[RoomHost, ...]:
        """Of this life."""
        return tuple(self._rooms) if self.process.running else ()

    @property
    def draining(self) -> bool:
        return self._service.draining

    def _boot(self) -> None:
        own, loop = self.process.world, self.process.loop
        self._let_go_at = 0.0
        self._rooms = Rooms(CONFIG, self._join, self._drain, self._decided, own)
        self._service = BridgeService(self._rooms, Player(CONFIG.playback), CONFIG, 0, own, dict)
        self.server.start(self._service, loop)
        loop.call_soon(self._rooms.start)

    def stop(self) -> None:
        """SIGTERM: tells the clouds to take their users elsewhere, waits a while, leaves what is left, ends."""
        if self.process.awake and not self.draining:
            self.process.note("stopping")
            self._service.draining = True
            self.process.loop.create_task(self._see_off())

    async def _see_off(self) -> None:
        """As bridge/worker.py does it, without a server that would have to be stopped."""
        await self._rooms.hand_over(CONFIG.drain)
        await self._rooms.shut_down(CONFIG.leave)
        self.process.after(0.1, self.process.kill)

    # ---- what its rooms are given

    async def _join(self, url: str, token: str, events: RoomEvents, options: ConnectOptions = DEFAULT_OPTIONS) -> Place:
        """A Connector. There is one LiveKit, whatever its URL."""
        place = Place(self.process, self.link, self.livekit, Token.of(token), events, watchful=self.watchful)
        try:
            await place.join(options.timeout)
        except asyncio.CancelledError:
            if self.process.running:
                self._let_go_at = self.process.clock() + self.process.chance.uniform(*LETTING_GO)
            raise
        return place

    async def _drain(self) -> None:
        await asyncio.sleep(max(0.0, self._let_go_at - self.process.clock()))

    def _decided(self, *, user_id: UserId, cause: str, action: str, result: str, generation: int) -> None:
        if self.process.running:
            self.process.note("room", user_id, self.process.life, cause, action, result, generation)

    # ---- for the checkers

    def host(self, user: UserId) -> RoomHost | None:
        """The user's room, in any state."""
        return self._rooms.find(user) if self.process.running else None

    @staticmethod
    def stuck(host: RoomHost) -> str:
        """Why nothing will ever happen in a room, empty when something will."""
        if host.machine.state is RoomState.JOINING and not host.joining:
            return "a join that nobody carries out"
        if host.machine.state is RoomState.JOINED and host.stream is None and host.machine.next_deadline() is None:
            return "a room without a stream and without a deadline"
        return ""
