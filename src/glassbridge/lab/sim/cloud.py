"""A cloud: what cloud/sessions.py and cloud/session.py do around the real session machine. Links, microphones and the
ways to bridges are its own classes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from glassbridge.cloud.audio import Microphone
from glassbridge.cloud.bridge_client import BridgePool
from glassbridge.cloud.config import CloudConfig, CloudKeys
from glassbridge.cloud.examination import Examiner
from glassbridge.cloud.flights import Flights
from glassbridge.cloud.link import LinkShell
from glassbridge.cloud.livekit_watch import LiveKitWatch
from glassbridge.cloud.unnumbered import Unnumbered
from glassbridge.core import audio_link
from glassbridge.core.audio_link import AudioLink, Path
from glassbridge.core.machine import Record
from glassbridge.core.session import (
    Adopt,
    Dispose,
    Effect,
    End,
    Event,
    Refuse,
    Release,
    Session,
    SessionState,
    SocketClosed,
    SocketNumber,
    SocketOpened,
    Supersede,
    Tick,
)
from glassbridge.core.values import Generation, UserId
from glassbridge.lab.sim.livekit import KEYS, Frame, LiveKit, Token
from glassbridge.lab.sim.loop import loop_of, world_of
from glassbridge.lab.sim.net import Connection, Link
from glassbridge.lab.sim.room_service import RoomService
from glassbridge.lab.sim.rpc import Channel, Server
from glassbridge.lab.sim.world import Process, World
from glassbridge.lab.weeks.time import VirtualLoop
from glassbridge.runtime.shell import Shell
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.telemetry.recorder import Clock
from glassbridge.wire.audio_frames import FrameNumber
from glassbridge.wire.close_codes import CloseCode

CONFIG = CloudConfig(keys=CloudKeys((), KEYS), livekit_url="ws://livekit", bridges=(), recorder=False)
DRAINING = "draining"
MISSED = (1.6, 3.25)
"""Seconds from the break of its way until a phone is missed: 2.6 to 3.25 s after its last word, which it says each
second by itself (cloud/connection.py)."""
HINTS_APART = 1.0
"""Seconds; more hints of a phone are not heard."""
ANSWER_WITHIN = 1.0
"""Seconds that a phone has which is asked for a sign of life."""
CLOSE_TIMEOUT = 2.0


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a phone says when it connects."""

    user: UserId
    room: bool
    numbers: bool
    run: int
    """Of the phone's program."""
    attempt: int
    """Of this run to connect."""


@dataclass(slots=True, eq=False)
class PhoneSocket:
    """A socket of a phone, as the cloud sees it."""

    number: SocketNumber
    connection: Connection
    end: int
    """Ours."""
    phone: Any
    """Who sits at the other end; gets `hear(connection, kind, *what)`."""
    wishes: Greeting
    heard_at: float = 0.0
    """Monotonic seconds of the cloud."""

    def given_up_for(self, other: "PhoneSocket") -> bool:
        """The same phone came with `other` later; a slow network has brought this one only now."""
        mine, newer = self.wishes, other.wishes
        return self.phone is other.phone and mine.run == newer.run and mine.attempt < newer.attempt

    def send(self, kind: str, *what: Any) -> None:
        """Tells the phone something."""
        self.connection.send(self.end, self.phone.hear, self.connection, kind, *what)

    def close(self, code: CloseCode) -> None:
        """Closes it from our side."""
        self.connection.close(self.end, code)


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
        self.loop: VirtualLoop
        self.pool: BridgePool
        self.sessions: dict[UserId, UserSession] = {}
        self.closing: dict[UserId, UserSession] = {}
        self.draining = False
        self._holder: dict[Connection, tuple[UserSession, PhoneSocket]] = {}
        self._numbers = count(1)
        self._ids = count(1)

    def _boot(self) -> None:
        process = self.process
        self.sessions, self.closing, self._holder = {}, {}, {}
        self.draining = False
        self.loop = loop_of(process)
        self.own = world_of(process)
        rooms: Any = RoomService(process, self.livekit, self.to_livekit)
        self.examiner = Examiner(rooms)
        self.watch = LiveKitWatch(rooms, self.way_back)
        self.flights = Flights(clock=Clock(self.own.wall, self.own.monotonic), keeps=False)
        config = replace(CONFIG, bridges=tuple(self.ways), agent_token_ttl=self._token_life)
        self.pool = BridgePool(
            config, self.way_back, self.watch.complain, self.watch.explain, self.own, self._dial_bridge
        )
        self._tasks = TaskGroup("sessions")
        self.loop.call_soon(self._begin)

    def _begin(self) -> None:
        self.pool.start()
        self._tasks.keep(self.watch.run, "livekit")

    def _dial_bridge(self, target: str) -> Any:
        server, link = self.ways[target]
        return Channel(self.process, self.loop, link, server)

    def _die(self) -> None:
        for session in [*self.sessions.values(), *self.closing.values()]:
            session.gone = True
        self.sessions, self.closing, self._holder = {}, {}, {}
        self.loop.end()

    def stop(self) -> None:
        """SIGTERM: sends the phones away, leaves the rooms, ends."""
        if self.process.awake and not self.draining:
            self.process.note("draining")
            self.draining = True
            for session in list(self.sessions.values()):
                session.post(End(DRAINING))
            self.process.after(CONFIG.drain, self.process.kill)
            self._end_when_empty()

    def _end_when_empty(self) -> None:
        if not self.sessions and not self.closing:
            self.process.after(0.1, self.process.kill)
        else:
            self.process.after(0.2, self._end_when_empty)

    # ---- phones

    def accept(self, connection: Connection, end: int, phone: Any, greeting: Greeting) -> None:
        """A phone's greeting on a new connection."""
        if self.draining:
            connection.close(end, CloseCode.DRAINING)
            return
        number = SocketNumber(next(self._numbers))
        self.loop.call_soon(self.take, PhoneSocket(number, connection, end, phone, greeting))

    def take(self, socket: PhoneSocket) -> None:
        """Finds or makes the session for a socket."""
        user = socket.wishes.user
        session = self.sessions.get(user)
        if session is None:
            session = UserSession(self, user, f"{self.process.name}/{self.process.life}.{next(self._ids)}")
            self.sessions[user] = session
            session.start()
        self._holder[socket.connection] = (session, socket)
        session.opened(socket)

    def hear(self, connection: Connection, kind: str, what: Any) -> None:
        """A message of a phone."""
        self.loop.call_soon(self._hear, connection, kind, what)

    def _hear(self, connection: Connection, kind: str, what: Any) -> None:
        if (held := self._holder.get(connection)) is not None:
            held[0].hear(held[1], kind, what)

    def forget(self, socket: PhoneSocket) -> None:
        """Nothing comes from this socket any more."""
        self._holder.pop(socket.connection, None)

    def mint(self, call: Callable[[Token], None], user: UserId) -> None:
        """The REST call for a phone's LiveKit token; answers on the caller's connection."""
        call(Token(str(user), str(user), self.process.unix_ms() + int(CONFIG.client_token_ttl * 1000)))

    def drop(self, session: "UserSession") -> None:
        """Forgets the session, if it is still the user's, and closes it."""
        if self.sessions.get(session.user) is session:
            del self.sessions[session.user]
            self.closing[session.user] = session
            session.close()

    def closed(self, session: "UserSession") -> None:
        """Everything of this session is gone."""
        if self.closing.get(session.user) is session:
            del self.closing[session.user]

    def way_back(self) -> None:
        """A bridge, or LiveKit behind it, answers again."""
        for session in list(self.sessions.values()):
            session.link.post(audio_link.BridgeBack())


class UserSession:
    """One user's session on one cloud."""

    def __init__(self, cloud: Cloud, user: UserId, name: str) -> None:
        self.cloud = cloud
        self.process = cloud.process
        self.user = user
        self.name = name
        self.gone = False
        self.phone: PhoneSocket | None = None
        self.machine = Session(CONFIG.grace)
        clock = cloud.own.monotonic
        self._shell: Shell[Event] = Shell(self.machine, self._perform, Tick(), self._record, clock)
        self._sockets: dict[SocketNumber, PhoneSocket] = {}
        self._hint_at: float | None = None
        self._tasks = TaskGroup(name, self._failed)
        self.closing: asyncio.Task[None] | None = None
        self._microphone = _Ears(self)
        former = cloud.closing.get(user)
        self.link = LinkShell(
            user,
            name,
            AudioLink(Generation(self.process.unix_ms()), cloud.own.chance),
            cloud.pool,
            cloud.examiner,
            self._microphone,
            Unnumbered(lambda _refuses: None, clock),
            self.tell,
            self._ask_phone,
            lambda _nudge: None,  # ours understand notices
            self._tasks,
            former.closing if former is not None else None,
            cloud.flights.open(user, name),
            clock,
        )

    def start(self) -> None:
        """Sets everything going."""
        self._tasks.spawn(self._shell.run(), "session")
        self.link.start()

    def _failed(self, task: str, error: BaseException) -> None:
        self.process.note("failed", self.user, f"{task}: {error!r}")

    # ---- its sockets

    def opened(self, socket: PhoneSocket) -> None:
        """A socket of the user was accepted."""
        if any(socket.given_up_for(other) for other in self._sockets.values()):
            self.process.note("late socket", self.user, socket.wishes.attempt)
            socket.close(CloseCode.SUPERSEDED)
            self.cloud.forget(socket)
            return
        self._sockets[socket.number] = socket
        socket.connection.on_close[socket.end] = lambda _code: self._closed(socket)
        socket.connection.watch(socket.end, MISSED, lambda: self._silent(socket))
        self.post(SocketOpened(socket.number))
        if socket.connection.closed[socket.end]:  # after a standstill both are heard of at once
            self._closed(socket)

    def _silent(self, socket: PhoneSocket) -> None:
        socket.close(CloseCode.SILENT)
        self._closed(socket)

    def _closed(self, socket: PhoneSocket) -> None:
        self.cloud.forget(socket)
        if self._sockets.pop(socket.number, None) is not None:
            self.post(SocketClosed(socket.number))

    def post(self, event: Event) -> None:
        """Something happened."""
        self._shell.post(event)

    def _record(self, record: Record[SessionState]) -> None:
        if self.process.running:
            self.process.note(
                "session", self.user, self.name, record.old, record.new, record.event, record.at, record.cause
            )

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Adopt(number, resumed):
                if (socket := self._sockets.get(number)) is not None:
                    self._adopt(socket, resumed)
            case Supersede(number):
                if (socket := self._sockets.get(number)) is not None:
                    socket.close(CloseCode.SUPERSEDED)
                    self._closed(socket)
            case Release():
                self.phone = None
                self.link.depart()
            case Dispose(cause):
                code = CloseCode.DRAINING if cause == DRAINING else CloseCode.SESSION_ENDED
                for socket in self._sockets.values():
                    socket.close(code)
                    self.cloud.forget(socket)
                self.phone = None
                self.cloud.drop(self)
            case Refuse(number):
                if (socket := self._sockets.pop(number, None)) is not None:
                    self.cloud.take(socket)

    def _adopt(self, socket: PhoneSocket, resumed: bool) -> None:
        self.phone = socket
        self.process.note("adopted", self.user, self.name, socket.number, "resumed" if resumed else "new")
        socket.send("ack", self.name, resumed)
        self.link.arrive(audio_link.Wanted(room=socket.wishes.room, numbers=socket.wishes.numbers), None)

    def close(self) -> None:
        """Releases everything; the owner hears when that is done."""
        self.closing = self.cloud.loop.create_task(self._close())

    async def _close(self) -> None:
        self._shell.stop()
        await self.link.close(CLOSE_TIMEOUT)
        self._microphone.close()
        await self._tasks.close()
        self.closed()

    def closed(self) -> None:
        """Nothing of it is left."""
        if self.process.running:
            self.gone = True
            self.process.note("session gone", self.user, self.name)
            self.cloud.closed(self)

    # ---- what the phone says, and hears

    def hear(self, socket: PhoneSocket, kind: str, what: Any) -> None:
        """A message of the phone; one of a superseded socket is not heard."""
        if socket is not self.phone or self.gone:
            return
        socket.heard_at = self.process.clock()
        match kind:
            case "ping":
                socket.send("pong", what)
            case "frame":
                self.deliver(what, "socket", None)
                self.link.heard(Path.SOCKET, numbered=socket.wishes.numbers)
            case "voice":
                self.link.post(audio_link.Voice(what))
            case "microphone":
                self.link.post(audio_link.Microphone(what))
            case "hint":
                now = self.process.clock()
                if self._hint_at is None or now - self._hint_at >= HINTS_APART:
                    self._hint_at = now
                    self.link.post(audio_link.NetworkBack())

    async def _ask_phone(self) -> bool:
        """A ping on its socket: anything that comes since is an answer."""
        if (phone := self.phone) is None:
            return False
        asked = self.process.clock()
        phone.send("ping")
        for _ in range(10):
            await asyncio.sleep(ANSWER_WITHIN / 10)
            if phone.heard_at > asked:
                return True
        return False

    def deliver(self, frame: Frame, path: str, worker: str | None) -> None:
        """A frame has reached this session."""
        current = self.machine.state is SessionState.ACTIVE
        self.process.note("heard", self.user, self.name, current, path, worker, frame.number, frame.sent)

    def tell(self, notice: audio_link.Notice) -> None:
        """What is true of the audio, to the phone."""
        if self.process.running:
            self.process.note("notice", self.user, notice.state.value, notice.code, notice.path.value)
        if self.phone is not None:
            self.phone.send("state", notice)

    # ---- for the checkers

    def stuck(self) -> str:
        """Why nothing will ever happen to its audio, empty when something will."""
        machine, label = self.link.machine, self.link.state.label
        if machine.next_deadline() is not None or self.phone is None:
            return ""
        if label == "joining" and not self.link.serving:
            return "a join that nobody carries out"
        if label in ("backing_off", "interrupted", "suspect", "unheard", "doubtful"):
            return f"{label} without a deadline"
        return ""


class _Ears(Microphone):
    """The microphone of a session; what comes out of the room is a fact."""

    def __init__(self, session: UserSession) -> None:
        super().__init__(lambda _progress: None, lambda: None)
        self._session = session

    def take_numbered(self, number: FrameNumber, payload: bytes, route: Path) -> None:
        self._note(Frame(self._session.user, number.position, True, number.capture_time_us / 1e6))
        super().take_numbered(number, payload, route)

    def take_plain(self, pcm: bytes) -> None:
        self._note(Frame.plain(self._session.user, pcm))
        super().take_plain(pcm)

    def _note(self, frame: Frame) -> None:
        place = self._session.link.place
        self._session.deliver(frame, "room", place.bridge.target if place is not None else None)
