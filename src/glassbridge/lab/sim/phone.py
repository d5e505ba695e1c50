"""A phone: what phone/client.py, room.py and sender.py do around the real phone machine."""

from functools import partial
from typing import Any

from aiohttp import WSMsgType

from glassbridge.cloud.connection import ConnectParams
from glassbridge.core import phone_socket
from glassbridge.core.phone_link import Effect, Event, PhoneLink, Tell
from glassbridge.core.phone_place import (
    AudioTold,
    Join,
    Leave,
    PlaceFailed,
    PlaceJoined,
    PlaceLeft,
    PlaceLost,
    PlaceState,
)
from glassbridge.core.phone_socket import (
    PING_EVERY,
    Accepted,
    CloseSocket,
    Hint,
    MessageReceived,
    NetworkChanged,
    NetworkLost,
    OpenSocket,
    Ping,
    SocketClosed,
    SocketFailed,
    SocketState,
    Start,
    Stop,
    Switch,
    Tick,
)
from glassbridge.core.values import AudioState, Generation, LossReason, UserId
from glassbridge.lab.sim.cloud import Cloud
from glassbridge.lab.sim.livekit import Frame, LiveKit, Participant, Token
from glassbridge.lab.sim.net import Connection, Link
from glassbridge.lab.sim.world import Alarm, Process, World
from glassbridge.phone.client import blame
from glassbridge.wire import phone as wire
from glassbridge.wire.close_codes import CloseCode, come_back

SPEECH = 0.5
"""Seconds between frames of speech (real ones come each 20 to 100 ms)."""
PRESENCE = 1.0
"""Seconds between presence frames of one who is silent, once the cloud says live."""
PROVING = 0.2
"""The same until then."""
FETCH_TIMEOUT = 5.0
JOIN_TIMEOUT = 10.0


class Phone:
    """One user's phone. `clouds` are the backends that it may use, each with the way there."""

    def __init__(self, world: World, user: UserId, livekit: LiveKit, *, numbers: bool, room: bool, sdk: bool) -> None:
        self.process = Process(world, f"phone-{user}", user)
        self.process.boot = self._boot
        self.process.die = self._die
        self.user = user
        self.livekit = livekit
        self.link: Link
        """To LiveKit."""
        self.clouds: list[tuple[Cloud, Link]] = []
        self.current = 0
        self.numbers = numbers
        self.room = room
        self.sdk = sdk
        """Its participant is the SDK's: blind for 14 s."""
        self.machine = PhoneLink(world.chance.random, room=room)
        self.told: wire.AudioStateNotice | None = None
        self.connection: Connection | None = None
        self.session = ""
        """The last one that acknowledged us."""
        self.place: Participant | None = None
        self._ways: dict[Generation, Connection] = {}
        """The sockets that are open, by their numbers; `connection` is the one that was acknowledged last."""
        """Of the connection."""
        self._alarm = Alarm(self.process, lambda now: self.step(Tick(), now))
        self._chatty = not numbers or world.chance.random() < 0.4
        """Somebody speaks all the time; else nobody does, and only presence goes out."""
        self._speaking = self._chatty
        self._microphone = True
        self._voice = Alarm(self.process, self._speak)
        self._frames = 0

    def _boot(self) -> None:
        self.machine = PhoneLink(self.process.world.chance.random, room=self.room)
        self._alarm = Alarm(self.process, lambda now: self.step(Tick(), now))
        self.told = self.connection = self.place = None
        self._ways.clear()
        self.session = ""
        self.step(Start())
        self._voice = Alarm(self.process, self._speak)
        self._nudge()

    def _die(self) -> None:
        self._believe("off")
        self.told = self.connection = self.place = None
        self._ways.clear()

    # ---- what happens to it

    def switch(self, cloud: int) -> None:
        """The person moves to another backend."""
        if self.process.awake:
            self.process.note("switch", self.user, self.clouds[cloud][0].process.name)
            self.current = cloud
            self.step(Switch())

    def say_goodbye(self) -> None:
        """The person stops the phone."""
        if self.process.awake:
            self.process.note("goodbye", self.user)
            self.step(Stop())

    def roam(self, told: bool) -> None:
        """Another network: what was open is dead without a word; `told`: the phone's system says so."""
        self.process.note("roams", self.user)
        for link in (self.link, *(link for _, link in self.clouds)):
            for connection in list(link.connections):
                connection.orphan()
        if self.place is not None:
            self.place.orphan()
        if told and self.process.awake:
            self.process.after(0.05, self.step, NetworkChanged())

    def offline(self) -> None:
        """The phone's system says that there is no network."""
        if self.process.awake:
            self.step(NetworkLost())

    def online(self) -> None:
        """It says that there is one again."""
        if self.process.awake:
            self.step(NetworkChanged())

    def online_if_offline(self) -> None:
        """The same, where it thinks otherwise."""
        if self.machine.socket.state is SocketState.OFFLINE:
            self.online()

    def speak(self, speaking: bool) -> None:
        """Somebody begins to speak (who does so at all), or is silent for a while."""
        self._turn(speaking=speaking and self._chatty)

    def switch_microphone(self, on: bool) -> None:
        """The person switches it."""
        self._turn(microphone=on)

    def _turn(self, *, speaking: bool | None = None, microphone: bool | None = None) -> None:
        talked = self._talks
        if self.process.awake and speaking is not None and speaking != self._speaking:
            self._speaking = speaking
            self._say(wire.Vad(status=speaking))
        if self.process.awake and microphone is not None and microphone != self._microphone:
            self._microphone = microphone
            self._say(wire.MicrophoneStateChange(is_microphone_enabled=microphone))
        if self._talks != talked and not self.numbers:
            self.process.note("speaks" if self._talks else "silent", self.user)

    @property
    def _talks(self) -> bool:
        return self._microphone and self._speaking

    # ---- the shell

    def step(self, event: Event, now: float | None = None) -> None:
        """One step of the machine, with its effects."""
        was_here = self.machine.socket.state.here
        effects = self.machine.step(event, self.process.clock() if now is None else now)
        for record in self.machine.records:
            self.process.note(
                record.machine, self.user, f"{record.old.label} -> {record.new.label}",
                record.event, record.generation, record.cause,
            )  # fmt: skip
        self.machine.records.clear()
        for effect in effects:
            self._perform(effect)
        if was_here != (here := self.machine.socket.state.here) and not isinstance(event, Accepted):
            self._believe(self.told.state if here and self.told is not None else "off")
        self._alarm.set(self.machine.next_deadline())

    def _perform(self, effect: Effect) -> None:
        match effect:
            case OpenSocket(socket):
                self._open(socket)
            case CloseSocket(socket, goodbye):
                self._close(socket, goodbye)
            case Ping(socket, number):
                self._tell(socket, wire.Ping(timestamp=number, sent=(self._frames, 0), every=PING_EVERY))
            case Hint():
                self._say(wire.NetworkStateChange())
            case Join(place):
                self._fetch(place)
            case Leave(place, goodbye):
                self._leave(place, goodbye)
            case Tell(situation, text):
                self.process.note("told", self.user, situation.value, text)

    # ---- its socket

    @property
    def _way(self) -> tuple[Cloud, Link, int]:
        cloud, link = self.clouds[self.current]
        return cloud, link, 0 if link.ends[0] is self.process else 1

    def _open(self, socket: Generation) -> None:
        cloud, link, end = self._way

        def opened(connection: Connection) -> None:
            if self.machine.socket.generation != socket or self.machine.socket.state is not SocketState.OPENING:
                connection.close(end)
                return
            self._ways[socket] = connection
            connection.on_way[end] = lambda down: self.process.note("way down" if down else "way up", self.user)
            connection.on_close[end] = partial(self._closed, socket)
            run = f"{self.user}-{self.process.life}"
            params = ConnectParams(livekit=self.room, numbered=self.numbers, phone=run, attempt=socket, ours=True)
            connection.send(end, cloud.accept, connection, 1 - end, self, self.user, params)

        def failed(refused: bool) -> None:
            self.step(SocketFailed(socket, False, "refused" if refused else "no answer"))

        self.process.note("dials", self.user, cloud.process.name, socket)
        link.dial(end, 20.0, opened, failed)

    def _closed(self, socket: Generation, code: int) -> None:
        self._drop(socket)
        back = phone_socket.ComeBack(come_back(code).value)
        self.process.note("socket closed", self.user, int(code))
        self.step(SocketClosed(socket, back, f"code {code}"))

    def _close(self, socket: Generation, goodbye: bool) -> None:
        connection = self._ways.get(socket)
        if connection is not None:
            end = self._end_of(connection)
            if goodbye:
                connection.close(end, CloseCode.NORMAL)
            else:
                connection.abort(end)
            self._drop(socket)

    def _drop(self, socket: Generation) -> None:
        connection = self._ways.pop(socket, None)
        if connection is None:
            return
        connection.on_way[self._end_of(connection)] = None
        if self.connection is connection:
            self.connection = self.told = None
            self._believe("off")
            self.process.note("way gone", self.user)

    def _end_of(self, connection: Connection) -> int:
        return 0 if connection.link.ends[0] is self.process else 1

    def hear(self, connection: Connection, text: str) -> None:
        """What the cloud says."""
        sockets = self.machine.socket.generation, self.machine.socket.kept
        number = next((number for number, way in self._ways.items() if way is connection), None)
        if number is None or number not in sockets:
            return
        match wire.decode_from_cloud(text):
            case wire.ConnectionAck(session_id=session, resumed=resumed, pings=pings):
                same = resumed and session == self.session
                self.session = session
                cloud = self._cloud_of(connection)
                self.process.note(
                    "acknowledged", self.user, session, "resumed" if resumed else "new", cloud.process.name
                )
                if self.connection is not None:
                    self.process.note("way gone", self.user)
                self.connection, self.told = connection, None
                self.step(Accepted(number, same, answers=pings))
                self._believe("connecting")
                self._nudge()
                self._say(wire.MicrophoneStateChange(is_microphone_enabled=self._microphone))
                if self._speaking:
                    self._say(wire.Vad(status=True))
            case wire.AudioStateNotice() as notice:
                self._learn(number, notice)
                self.step(MessageReceived(number))
            case wire.Pong(timestamp=int(ping)):
                self.step(MessageReceived(number, ping))
            case wire.Ping(timestamp=asked):
                self._say(wire.Pong(timestamp=asked))
                self.step(MessageReceived(number))

    def _learn(self, socket: Generation, notice: wire.AudioStateNotice) -> None:
        self.told = notice
        if self.machine.socket.state.here:
            self._believe(notice.state)
        self.step(AudioTold(socket, AudioState(notice.state), blame(notice), notice.reason, None, notice.code))

    def _believe(self, what: str) -> None:
        """What the phone takes for the truth about its audio, for the checkers."""
        self.process.note("believes", self.user, what)

    def _cloud_of(self, connection: Connection) -> Cloud:
        return next(cloud for cloud, link in self.clouds if link is connection.link)

    def _say(self, message: wire.Message) -> None:
        if self.connection is not None:
            self._put(self.connection, WSMsgType.TEXT, wire.encode(message))

    def _tell(self, socket: Generation, message: wire.Message) -> None:
        if (connection := self._ways.get(socket)) is not None:
            self._put(connection, WSMsgType.TEXT, wire.encode(message))

    def _put(self, connection: Connection, kind: WSMsgType, data: Any) -> None:
        connection.send(self._end_of(connection), self._cloud_of(connection).hear, connection, kind, data)

    # ---- its place in the room

    def _fetch(self, place: Generation) -> None:
        """A token from the cloud that is the right one now, then the join."""
        cloud, link, end = self._way
        done = False

        def finish(token: Token | None) -> None:
            nonlocal done
            if done:
                return
            done = True
            if self.machine.place.generation != place or self.machine.place.state is not PlaceState.JOINING:
                return
            if token is None:
                self.step(PlaceFailed(place, "no token"))
            else:
                self._join(place, token)

        def opened(connection: Connection) -> None:
            def serve() -> None:
                cloud.mint(lambda token: connection.send(1 - end, finish, token), self.user)
                connection.close(1 - end)

            connection.send(end, serve)

        self.process.after(FETCH_TIMEOUT, finish, None)
        link.dial(end, FETCH_TIMEOUT, opened, lambda _refused: finish(None))

    def _join(self, place: Generation, token: Token) -> None:
        def done(failure: LossReason | None) -> None:
            self._nudge()
            self.step(PlaceJoined(place) if failure is None else PlaceFailed(place, failure.text))

        def lost(reason: LossReason) -> None:
            self.place = None
            self.step(PlaceLost(place, reason))

        self.place = Participant(
            self.process, self.link, self.livekit, token,
            on_packet=lambda _frame, _sender: None, on_closed=lost, watchful=not self.sdk,
        )  # fmt: skip
        self.place.connect(JOIN_TIMEOUT, done)

    def _leave(self, place: Generation, goodbye: bool) -> None:
        former, self.place = self.place, None
        if former is not None:
            former.close()
        self.process.after(0.02 if goodbye else 0.0, self.step, PlaceLeft(place))

    # ---- its voice

    def _nudge(self) -> None:
        """Something changed that the other side should learn at once."""
        self._voice.set(self.process.clock())

    def _speak(self, now: float) -> None:
        """Speech goes by the way that is welcome. Presence goes through the room beside it, and by the socket where
        that is the way, but not while the room is only being joined."""
        if self.machine.socket.state is SocketState.ENDED:
            return
        told, place = self.told, self.place
        live = told is not None and told.state == "live"
        self._voice.set(now + (SPEECH if self._talks else PRESENCE if live else PROVING))
        if not (self.numbers or self._talks):
            return
        joined = place is not None and place.joined
        by_socket = not self.room or not joined or (told is not None and told.transport == "websocket")
        self._frames += 1
        frame = Frame(self.user, self._frames, self.numbers, self.process.world.now)
        if place is not None and (self.numbers or not by_socket):
            place.send(frame)
        settled = self._talks or not self.room or (told is not None and told.state != "connecting")
        if by_socket and settled and self.machine.socket.state.here and self.connection is not None:
            self._put(self.connection, WSMsgType.BINARY, frame.payload)

    # ---- for the checkers

    def stuck(self) -> str:
        """Why nothing will ever happen here, empty when something will."""
        state = self.machine.socket.state
        if not self.process.running or state in (SocketState.ENDED, SocketState.OFFLINE, SocketState.IDLE):
            return ""
        return "" if self._alarm.is_set else f"its socket is {state.label} without a deadline"
