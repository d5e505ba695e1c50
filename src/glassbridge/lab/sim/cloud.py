"""A cloud: its own sessions and all that belongs to them, with modelled WebSockets of phones and a modelled gRPC."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from aiohttp import WSMessage, WSMsgType

from glassbridge.cloud.apps.host import AppHost
from glassbridge.cloud.apps.registry import StaticRegistry
from glassbridge.cloud.apps_config import AppsConfig
from glassbridge.cloud.config import CloudConfig, CloudKeys
from glassbridge.cloud.connection import ConnectParams, PhoneConnection
from glassbridge.cloud.ownership import Won
from glassbridge.cloud.session import UserSession
from glassbridge.cloud.sessions import Sessions
from glassbridge.cloud.websocket import new_allowance
from glassbridge.cluster.memory import MemoryDirectory
from glassbridge.core.ownership import Owner
from glassbridge.core.values import UserId
from glassbridge.lab.sim.livekit import KEYS, Frame, LiveKit, Token
from glassbridge.lab.sim.loop import loop_of, world_of
from glassbridge.lab.sim.net import Connection, Link
from glassbridge.lab.sim.room_service import RoomService
from glassbridge.lab.sim.rpc import Channel, Server
from glassbridge.lab.sim.world import Process, World
from glassbridge.lab.weeks.programs import NoRecogniser
from glassbridge.lab.weeks.time import VirtualLoop
from glassbridge.wire.close_codes import CloseCode

CONFIG = CloudConfig(
    keys=CloudKeys((), KEYS), livekit_url="ws://livekit", bridges=(), recorder=False, captions="", drain=3.0
)
WAITS_WITHOUT_END = ("backing_off", "interrupted", "suspect", "unheard", "doubtful")
"""States of an audio link that only a deadline ends."""


class Cloud:
    """One cloud process."""

    def __init__(self, world: World, name: str, livekit: LiveKit, token_life: float) -> None:
        self.process = Process(world, name, skew=1.0)
        self.process.boot = self._boot
        self.process.die = self._die
        self.livekit = livekit
        self.to_livekit: Link
        self.ways: dict[str, tuple[Server, Link]] = {}
        """To the workers of bridges, by their names."""
        self._token_life = token_life
        """Seconds that a token for a bridge lives."""
        self._loop: VirtualLoop
        self._sessions: Sessions
        self._sockets: dict[Connection, WebSocket] = {}

    def _boot(self) -> None:
        process, own = self.process, world_of(self.process)
        self._loop = loop_of(process)
        self._sockets = {}
        rooms: Any = RoomService(process, self.livekit, self.to_livekit)
        config = replace(CONFIG, bridges=tuple(self.ways), agent_token_ttl=self._token_life)
        apps = AppHost(AppsConfig(), StaticRegistry(), world=own)
        self._sessions = _Sessions(process, config, NoRecogniser(), rooms, apps, self._dial_bridge)
        self._sessions.join(
            MemoryDirectory(lambda: int(own.wall() * 1000)), Owner(process.name, own.token(6), ""), None
        )
        self._loop.call_soon(self._sessions.start)

    def _dial_bridge(self, target: str) -> Any:
        server, link = self.ways[target]
        return Channel(self.process, self._loop, link, server, partial(self._note_passed, target))

    def _note_passed(self, worker: str, user: str, chunk: Any) -> None:
        for frame in Frame.all_of(user, chunk.pcm_data):
            self.process.note("passed", user, worker, frame.number)

    def _die(self) -> None:
        self._loop.end()

    @property
    def draining(self) -> bool:
        return not self._sessions.stage.ready

    def stop(self) -> None:
        """SIGTERM: sends the phones away, leaves the rooms, ends."""
        if self.process.awake and not self.draining:
            self.process.note("draining")
            self._loop.create_task(self._see_off())

    async def _see_off(self) -> None:
        await self._sessions.close()
        self.process.after(0.1, self.process.kill)

    # ---- phones

    def accept(self, connection: Connection, end: int, phone: Any, user: UserId, params: ConnectParams) -> None:
        """A phone asks for a WebSocket on a new connection."""
        if self.draining:
            connection.close(end, CloseCode.DRAINING)
        else:
            socket = self._sockets[connection] = WebSocket(connection, end, phone, self._loop)
            self._loop.create_task(self._serve(socket, user, params))

    async def _serve(self, socket: Any, user: UserId, params: ConnectParams) -> None:
        number = self._sessions.next_number()
        connection = PhoneConnection(socket, socket.transport, user, number, params, CONFIG)
        try:
            await self._sessions.serve(connection)
        finally:
            socket.abort()
            self._sockets.pop(socket.connection, None)

    def hear(self, connection: Connection, kind: WSMsgType, data: Any) -> None:
        """A message of a phone."""
        if (socket := self._sockets.get(connection)) is not None:
            socket.take(kind, data)

    def mint(self, call: Callable[[Token], None], user: UserId) -> None:
        """The REST call for a phone's LiveKit token; answers on the caller's connection."""
        call(Token(str(user), str(user), self.process.unix_ms() + int(CONFIG.client_token_ttl * 1000)))

    # ---- for the checkers

    @property
    def sessions(self) -> Iterator[UserSession]:
        """All that live."""
        if self.process.running:
            yield from self._sessions.living

    @property
    def leaving(self) -> tuple[UserId, ...]:
        """Users of whom a former session is not gone yet."""
        return self._sessions.leaving if self.process.running else ()

    @staticmethod
    def stuck(session: UserSession) -> str:
        """Why nothing will ever happen to a session's audio, empty when something will."""
        link = session.link
        if link.machine.next_deadline() is not None or not session.has_phone:
            return ""
        if link.state.label == "joining" and not link.serving:
            return "a join that nobody carries out"
        return f"{link.state.label} without a deadline" if link.state.label in WAITS_WITHOUT_END else ""


class WebSocket:
    """A phone's, at its cloud, as cloud/connection.py uses the one of cloud/websocket.py and its transport."""

    held = False

    def __init__(self, connection: Connection, end: int, phone: Any, loop: VirtualLoop) -> None:
        self.allowance = new_allowance(CONFIG.phone_rates, loop.time())
        self.on_excess: Callable[..., None] = lambda _verdict: None
        self.transport = self
        self.closed = False
        self.close_code: int | None = None
        self.connection = connection
        self._end = end
        self._phone = phone
        self._loop = loop
        self._inbox: deque[WSMessage] = deque()
        self._waiter: asyncio.Future[None] | None = None
        connection.on_close[end] = lambda code: self.take(WSMsgType.CLOSE, code)

    # ---- the phone's end

    def take(self, kind: WSMsgType, data: Any) -> None:
        """Something has come."""
        self._inbox.append(WSMessage(kind, data, None))
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _pinged(self) -> None:
        self.connection.send(1 - self._end, self.take, WSMsgType.PONG, b"")

    # ---- the cloud's end

    async def receive(self) -> WSMessage:
        while not self._inbox:
            if self.closed:
                return WSMessage(WSMsgType.CLOSED, None, None)
            self._waiter = self._loop.create_future()
            await self._waiter
        message = self._inbox.popleft()
        if message.type is WSMsgType.CLOSE:
            self.closed, self.close_code = True, message.data
        return message

    async def send_str(self, text: str) -> None:
        self.connection.send(self._end, self._phone.hear, self.connection, text)

    async def ping(self) -> None:
        self.connection.send(self._end, self._pinged)

    async def pong(self, _data: bytes) -> None:
        """Phones ask in other words here."""

    async def close(self, *, code: int, message: bytes) -> None:
        self.connection.close(self._end, code)
        self.closed, self.close_code = True, code
        self._wake()

    def abort(self) -> None:
        """Of its transport."""
        self.connection.close(self._end)
        self.take(WSMsgType.CLOSED, None)

    def get_extra_info(self, _name: str) -> None:
        """There is no kernel to ask."""


class _Sessions(Sessions):
    """With an ear in each session."""

    def __init__(self, process: Process, *parts: Any) -> None:
        super().__init__(*parts)
        self._process = process

    def _begin(self, won: Won, *, anew: bool) -> UserSession:
        session = super()._begin(won, anew=anew)
        session.listeners.append(_Ear(self._process, session))
        return session


class _Ear:
    """Hears what comes out of a session's microphone, as freshly as an app does."""

    wants_late = False

    def __init__(self, process: Process, session: UserSession) -> None:
        self._process = process
        self._session = session

    def put(self, pcm: bytes) -> None:
        """Samples of one frame or more."""
        session = self._session
        for frame in Frame.all_of(session.user, pcm):
            self._process.note("heard", session.user, session.id, session.has_phone, frame.number, frame.sent)
