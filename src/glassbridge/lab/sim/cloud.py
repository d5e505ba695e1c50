"""A cloud: what cloud/sessions.py and cloud/session.py do around the real session machine."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from glassbridge.cloud.config import CloudConfig, CloudKeys
from glassbridge.core import audio_link
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
from glassbridge.core.values import UserId
from glassbridge.lab.sim.cloud_link import LinkShell
from glassbridge.lab.sim.livekit import Frame, LiveKit, Token
from glassbridge.lab.sim.net import Connection
from glassbridge.lab.sim.pool import Pool
from glassbridge.lab.sim.room_service import LiveKitWatch, RoomService
from glassbridge.lab.sim.world import Alarm, Process, World
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.wire.close_codes import CloseCode

CONFIG = CloudConfig(keys=CloudKeys((), LiveKitKeys("key", "secret")), livekit_url="", bridges=())
DRAINING = "draining"
MISSED = (1.6, 3.25)
"""Seconds from the break of its way until a phone is missed: 2.6 to 3.25 s after its last word, which it says each
second by itself (cloud/connection.py)."""
HINTS_APART = 1.0
"""Seconds; more hints of a phone are not heard."""


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
    """One cloud process; `links` are its ways to the bridges' workers, in their order."""

    def __init__(self, world: World, name: str, livekit: LiveKit, token_life: float) -> None:
        self.process = Process(world, name, skew=1.0)
        self.process.boot = self._boot
        self.process.die = self._die
        self.livekit = livekit
        self.room_service: RoomService
        self.watch: LiveKitWatch
        self.pool = Pool(self.process, self.way_back)
        self.token_life = token_life
        """Seconds that a token for a bridge lives."""
        self.sessions: dict[UserId, UserSession] = {}
        self.closing: dict[UserId, UserSession] = {}
        self.draining = False
        self._holder: dict[Connection, tuple[UserSession, PhoneSocket]] = {}
        self._numbers = count(1)
        self._ids = count(1)

    def _boot(self) -> None:
        self.sessions = {}
        self.closing = {}
        self.draining = False
        self.watch.reset()
        self.pool.start()

    def _die(self) -> None:
        for session in [*self.sessions.values(), *self.closing.values()]:
            session.gone = True
        self.sessions = {}
        self.closing = {}
        self._holder = {}
        self.pool.drop()

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
        self.take(PhoneSocket(number, connection, end, phone, greeting))

    def take(self, socket: PhoneSocket) -> None:
        """Finds or makes the session for a socket."""
        user = socket.wishes.user
        session = self.sessions.get(user)
        if session is None:
            session = UserSession(self, user, f"{self.process.name}/{self.process.life}.{next(self._ids)}")
            self.sessions[user] = session
        self._holder[socket.connection] = (session, socket)
        session.opened(socket)

    def hear(self, connection: Connection, kind: str, what: Any) -> None:
        """A message of a phone."""
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
        if (newer := self.sessions.get(session.user)) is not None:
            newer.link.former_idle()

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
        self.machine = Session(CONFIG.grace)
        self.phone: PhoneSocket | None = None
        self._sockets: dict[SocketNumber, PhoneSocket] = {}
        self._alarm = Alarm(self.process, lambda now: self.post(Tick(), now))
        self._hint_at: float | None = None
        former = cloud.closing.get(user)
        self.link: LinkShell = LinkShell(self, former.link if former is not None else None)

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

    def _silent(self, socket: PhoneSocket) -> None:
        socket.close(CloseCode.SILENT)
        self._closed(socket)

    def _closed(self, socket: PhoneSocket) -> None:
        self.cloud.forget(socket)
        if self._sockets.pop(socket.number, None) is not None:
            self.post(SocketClosed(socket.number))

    def post(self, event: Event, now: float | None = None) -> None:
        """One step of the machine, with its effects."""
        if self.gone:
            return
        effects = self.machine.step(event, self.process.clock() if now is None else now)
        for record in self.machine.records:
            self.process.note(
                "session", self.user, self.name, record.old, record.new, record.event, record.at, record.cause
            )
        self.machine.records.clear()
        for effect in effects:
            self._perform(effect)
        self._alarm.set(self.machine.next_deadline())

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
                self.link.post(audio_link.Away())
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
        self.link.post(audio_link.Wanted(room=socket.wishes.room, numbers=socket.wishes.numbers))

    def close(self) -> None:
        """Releases everything; the owner hears when that is done."""
        self.link.close()

    def closed(self) -> None:
        """The link has let go."""
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
                self.link.heard(audio_link.Path.SOCKET, numbered=socket.wishes.numbers)
            case "voice":
                self.link.post(audio_link.Voice(what))
            case "microphone":
                self.link.post(audio_link.Microphone(what))
            case "hint":
                now = self.process.clock()
                if self._hint_at is None or now - self._hint_at >= HINTS_APART:
                    self._hint_at = now
                    self.link.network_back()

    def deliver(self, frame: Frame, path: str, worker: str | None) -> None:
        """A frame has reached this session."""
        current = self.machine.state is SessionState.ACTIVE
        self.process.note("heard", self.user, self.name, current, path, worker, frame.number, frame.sent)

    def tell(self, notice: audio_link.Notice) -> None:
        """What is true of the audio, to the phone."""
        self.process.note("notice", self.user, notice.state.value, notice.code, notice.path.value)
        if self.phone is not None:
            self.phone.send("state", notice)
