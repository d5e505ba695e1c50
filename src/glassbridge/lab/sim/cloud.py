"""A cloud: its own sessions and all that belongs to them, with modelled WebSockets of phones and a modelled gRPC."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from glassbridge.cloud.apps.host import AppHost
from glassbridge.cloud.apps.registry import StaticRegistry
from glassbridge.cloud.apps_config import AppsConfig
from glassbridge.cloud.config import CloudConfig, CloudKeys
from glassbridge.cloud.connection import ConnectParams, PhoneConnection
from glassbridge.cloud.session import UserSession
from glassbridge.cloud.sessions import Sessions
from glassbridge.cloud.websocket import new_allowance
from glassbridge.cluster.memory import MemoryDirectory
from glassbridge.core.ownership import Owner
from glassbridge.core.values import UserId
from glassbridge.lab.sim import sound
from glassbridge.lab.sim.livekit import KEYS, LiveKit
from glassbridge.lab.sim.net import Connection, Link
from glassbridge.lab.sim.room_service import RoomService
from glassbridge.lab.sim.rpc import Channel, Server
from glassbridge.lab.sim.socket import CloudEnd, PhoneEnd
from glassbridge.lab.sim.world import Process, World
from glassbridge.lab.virtual.time import Call
from glassbridge.lab.weeks.programs import NoRecogniser
from glassbridge.livekit.tokens import phone_token
from glassbridge.wire.audio_frames import FLAG_PRESENCE, FLAG_REPAIR, FLAG_REPLAYED, FrameNumber

CONFIG = CloudConfig(
    keys=CloudKeys((), KEYS), livekit_url="ws://livekit", bridges=(), recorder=False, captions="", drain=3.0
)
NEEDED = True
"""Somebody needs each microphone, as an app does that listens; else it is switched off."""
WAITS_WITHOUT_END = ("backing_off", "interrupted", "suspect", "unheard", "doubtful")
"""States of an audio link that only a deadline ends."""


class Cloud:
    """One cloud process."""

    def __init__(self, world: World, name: str, livekit: LiveKit, token_life: float) -> None:
        self.process = Process(world, name, skew=1.0)
        self.process.boot = self._boot
        self._processes = world.processes
        self.livekit = livekit
        self.to_livekit: Link
        self.ways: dict[str, tuple[Server, Link]] = {}
        """To the workers of bridges, by their names."""
        self._token_life = token_life
        """Seconds that a token for a bridge lives."""
        self._sessions: Sessions

    def _boot(self) -> None:
        process, own = self.process, self.process.world
        rooms: Any = RoomService(process, self.livekit, self.to_livekit)
        config = replace(CONFIG, bridges=tuple(self.ways), agent_token_ttl=self._token_life)
        apps = AppHost(AppsConfig(), StaticRegistry(), world=own)
        self._sessions = Sessions(
            config, NoRecogniser(), rooms, apps, self._dial_bridge, partial(_Ear, process, self._processes)
        )
        self._sessions.join(
            MemoryDirectory(lambda: int(own.wall() * 1000)), Owner(process.name, own.token(6), ""), None
        )
        process.loop.call_soon(self._sessions.start)

    def _dial_bridge(self, target: str) -> Any:
        server, link = self.ways[target]
        return Channel(self.process, self.process.loop, link, server, partial(self._note_passed, target))

    def _note_passed(self, worker: str, user: str, chunk: Any) -> None:
        number = chunk.number if chunk.HasField("number") else None
        if number is not None and number.flags & (FLAG_REPLAYED | FLAG_REPAIR):
            return
        if number is not None and number.flags & FLAG_PRESENCE:
            self.process.note("passed", user, worker, number.capture_time_us)
        for mark in sound.marks(chunk.pcm_data):
            self.process.note("passed", user, worker, mark.number)

    @property
    def draining(self) -> bool:
        return not self._sessions.stage.ready

    def stop(self) -> None:
        """SIGTERM: sends the phones away, leaves the rooms, ends."""
        if self.process.awake and not self.draining:
            self.process.note("draining")
            self.process.loop.create_task(self._see_off())

    async def _see_off(self) -> None:
        await self._sessions.close()
        self.process.after(0.1, self.process.kill)

    # ---- phones

    def accept(
        self, connection: Connection, phone: PhoneEnd, user: UserId, params: ConnectParams, answer: Call
    ) -> None:
        """A phone asks for a WebSocket; `answer` is told, in its process, whether there is one."""
        end = 1 - phone.end
        connection.send(end, answer, self._sessions.stage.takes)
        if self._sessions.stage.takes:
            socket = CloudEnd(connection, end, new_allowance(CONFIG.phone_rates, self.process.clock()))
            socket.meet(phone)
            self.process.loop.create_task(self._serve(socket, user, params))

    async def _serve(self, socket: Any, user: UserId, params: ConnectParams) -> None:
        number = self._sessions.next_number()
        try:
            await self._sessions.serve(PhoneConnection(socket, socket.transport, user, number, params, CONFIG))
        finally:
            socket.abort()

    def ticket(self, user: UserId) -> dict[str, str]:
        """Where the LiveKit room of a phone is, as cloud/http.py answers."""
        ttl, now = CONFIG.client_token_ttl, self.process.wall()
        return {
            "url": CONFIG.livekit_url,
            "token": phone_token(KEYS, user=user, room=user, ttl=ttl, now=now),
            "room": user,
        }

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


class _Ear:
    """Hears what comes out of a session's microphone, as freshly as an app does, and who is silent and present."""

    wants_late = False

    def __init__(self, process: Process, processes: Mapping[str, Process], session: UserSession) -> None:
        self._process = process
        self._phone = processes[f"phone-{session.user}"]
        self._session = session
        session.attend(self, self._note_presence, needs=NEEDED)

    def put(self, pcm: bytes) -> None:
        """Samples of one frame or more."""
        for mark in sound.marks(pcm):
            self._note(mark.number, mark.sent)

    def _note_presence(self, number: FrameNumber) -> None:
        self._note(number.capture_time_us, self._phone.when(number.capture_time_us / 1e6))

    def _note(self, number: int, sent: float) -> None:
        session = self._session
        self._process.note("heard", session.user, session.id, session.has_phone, number, sent)
