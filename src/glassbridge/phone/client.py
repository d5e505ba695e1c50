"""A phone: stays connected to one cloud at a time, keeps its place in the room, speaks, and tells what it hears.

What it decides is in core/phone_link.py; this is the shell around it.
"""

import asyncio
import random
from collections.abc import Callable
from secrets import token_hex
from types import TracebackType
from typing import Any, Self

import structlog

from glassbridge.core.machine import Record
from glassbridge.core.phone_link import Effect, Event, PhoneLink, Situation, Tell
from glassbridge.core.phone_place import AudioTold, Blame, Join, Leave
from glassbridge.core.phone_socket import (
    Accepted,
    CloseSocket,
    ComeBack,
    Heard,
    Hint,
    NetworkChanged,
    NetworkLost,
    OpenSocket,
    Ping,
    SocketClosed,
    SocketFailed,
    Start,
    Stop,
    Switch,
    Tick,
)
from glassbridge.core.values import BYTES_PER_MS, AudioState, Generation, Transport
from glassbridge.livekit.participant import Connector, connector
from glassbridge.phone import events
from glassbridge.phone.capture import Capture, capture_clock
from glassbridge.phone.events import PhoneEvent
from glassbridge.phone.room import Room
from glassbridge.phone.sender import Sender
from glassbridge.phone.socket import CloudSocket, Refused, Unreachable, base_url
from glassbridge.runtime.shell import Shell
from glassbridge.runtime.tasks import TaskGroup, cancelled
from glassbridge.wire import phone as wire
from glassbridge.wire.close_codes import CloseCode, come_back
from glassbridge.wire.display import words

log = structlog.get_logger()

MAX_FRAME_MS = 400
"""What surely fits into one packet."""
CLOSE_TIMEOUT = 4.0


def link_clock() -> float:
    """Seconds on a clock that goes on while the machine sleeps: so a sleep is seen as a deadline that is late."""
    return capture_clock() / 1e6


class PhoneClient:
    """Use as `async with`. What happens is told through `on_event`, on the event loop; it must not block.

    `core_token` signs in; `connect` joins LiveKit rooms (our own participant when left out); `chance` gives numbers in
    [0, 1) for the jitter. Frames of `speak` go by `transport`, or by the WebSocket while that is not to be had. Any
    number of phones may live in one event loop.
    """

    def __init__(
        self,
        cloud: str,
        core_token: str,
        on_event: Callable[[PhoneEvent], None],
        *,
        transport: Transport = Transport.DATA,
        numbered: bool = True,
        connect: Connector | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.cloud = base_url(cloud)
        """Base URL of the current cloud."""
        self.session: wire.ConnectionAck | None = None
        """What the current socket was accepted with; None while there is none."""
        self.agent_present = False
        """The cloud's agent is in the room; news can be 3 s old (traps B7)."""
        self.ended: events.Ended | None = None
        self._core_token = core_token
        self._on_event = on_event
        self._transport = transport
        self._numbers = numbered and transport is not Transport.TRACK
        self._microphone = self._microphone_allowed = True
        self._speaking = False
        self._apps: set[str] = set()
        """Those that the owner has started."""
        self._introduced: set[str] = set()
        """Those that our clouds have told of: what they show is no caption. In the original, captions are an app's."""
        self.name = token_hex(8)
        """By which a cloud knows the sockets of this object."""
        self._log = log
        self._link = PhoneLink(chance, room=transport is not Transport.WEBSOCKET)
        self._shell: Shell[Event] = Shell(self._link, self._perform, Tick(), self._record, link_clock)
        self._tasks = TaskGroup("phone", self._on_failure)
        self._farewells = TaskGroup("phone-farewell", self._on_failure)
        """What goes on for a moment after the phone was told to go."""
        self._capture = Capture(random.getrandbits(32))
        self._room = Room(self._hear_of_room, self._shell.post, connect or connector("own"), self._farewells)
        self._sender = Sender(self._capture, self._room, transport, lambda: self.microphone_on)
        self._conversations: dict[Generation, asyncio.Task[None]] = {}
        self._sockets: dict[Generation, CloudSocket] = {}
        """Those that are open; the newest is the one that counts."""
        self._network_back: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._turning = self._tasks.spawn(self._shell.run(), "link")
        self._shell.post(Start())
        self._tasks.spawn(self._sender.run(), "sender")
        self._tasks.spawn(self._sender.keep_present(), "presence")
        self._tasks.spawn(self._sender.replay(), "replay")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leaves the room, says goodbye, releases everything; idempotent; about 5 s at most."""
        if self._network_back is not None:
            self._network_back.cancel()
        self._shell.post(Stop())
        self._shell.stop()
        await asyncio.wait((self._turning,), timeout=1.0)
        await self._farewells.settle(CLOSE_TIMEOUT)
        await self._farewells.close()
        await self._tasks.close()

    # ---- what the owner does

    @property
    def microphone_on(self) -> bool:
        """The owner wants it on, and the cloud has not switched it off."""
        return self._microphone and self._microphone_allowed

    @property
    def numbered(self) -> bool:
        """Both sides number audio on the current socket."""
        return self._sender.numbered

    @property
    def room_joined(self) -> bool:
        return self._room.joined

    @property
    def audio_state(self) -> events.AudioStateChanged | None:
        """What the cloud said last about audio on the current socket; the original's clouds never do."""
        return self._sender.told

    @property
    def capture(self) -> Capture:
        """The numbers of what was spoken."""
        return self._capture

    @property
    def sender(self) -> Sender:
        """The figures of what was sent."""
        return self._sender

    @property
    def heard_ms(self) -> int:
        """Milliseconds of sound that came out of the room."""
        return self._room.heard_ms

    def speak(self, pcm: bytes, captured_us: int | None = None, *, last: bool = False) -> bool:
        """Sends one frame of captured samples (PCM16 LE, 16 kHz, mono); False while the microphone is off: then
        nothing is captured. `last` says that the microphone stops after it. Never waits.

        Raises ValueError: half a sample, or longer than MAX_FRAME_MS.
        """
        if len(pcm) > MAX_FRAME_MS * BYTES_PER_MS:
            raise ValueError(f"a frame is at most {MAX_FRAME_MS} ms long")
        if not self.microphone_on:
            return False
        self._sender.put(self._capture.take(pcm, captured_us, last=last))
        return True

    async def flush(self) -> None:
        """Returns when what was spoken is on its way; 2 s at most."""
        await self._sender.flush()

    async def microphone(self, on: bool) -> None:
        """Switches the microphone and tells the cloud."""
        self._microphone = on
        self._sender.nudge()
        await self._say(wire.MicrophoneStateChange(is_microphone_enabled=self.microphone_on))

    async def voice(self, speaking: bool) -> None:
        """What the voice detector says."""
        self._speaking = speaking
        await self._say(wire.Vad(status=speaking))

    async def start_app(self, package: str) -> None:
        """Starts an app, and again wherever and whenever the phone connects."""
        self._apps.add(package)
        await self._say(wire.StartApp(package_name=package))

    async def stop_app(self, package: str) -> None:
        """Stops an app."""
        self._apps.discard(package)
        await self._say(wire.StopApp(package_name=package))

    async def switch(self, cloud: str) -> None:
        """Moves to another cloud; the old room is left before a new one is joined. Raises UserError for a bad URL."""
        self.cloud = base_url(cloud)
        self._shell.post(Switch())

    def network_changed(self) -> None:
        """To be called when the operating system tells of another network, or that there is one again: what is open is
        then tested or renewed at once, and nothing waits any longer."""
        self._shell.post(NetworkChanged())

    def network_lost(self) -> None:
        """To be called when the operating system says that there is no network: nothing is tried until
        `network_changed`. A phone that is never told finds out by itself, within 4 s."""
        self._shell.post(NetworkLost())

    async def drop(self, seconds: float) -> None:
        """The network goes away for so many seconds: everything is cut without a goodbye."""
        self.network_lost()
        await self._room.vanish()
        for socket in list(self._sockets.values()):
            await socket.vanish()
        if self._network_back is not None:
            self._network_back.cancel()
        self._network_back = asyncio.get_running_loop().call_later(seconds, self.network_changed)

    # ---- the machine

    def _record(self, record: Record[Any]) -> None:
        self._log.info(
            record.machine.replace("_", " "), old=record.old.label, on=record.event, new=record.new.label,
            generation=record.generation, cause=record.cause,
        )  # fmt: skip

    def _perform(self, effect: Effect) -> None:
        match effect:
            case OpenSocket(number):
                self._conversations[number] = self._farewells.spawn(self._converse(number), f"socket-{number}")
            case CloseSocket(number, goodbye):
                self._forget(number)
                self._farewells.spawn(self._hang_up(number, goodbye), f"hang-up-{number}")
            case Ping(number, ping):
                self._tasks.spawn(self._say_to(number, wire.Ping(timestamp=ping)), "ping")
            case Hint(number):
                self._tasks.spawn(self._say_to(number, wire.NetworkStateChange()), "hint")
            case Join(place):
                self._room.join(place, self.cloud, self._core_token)
            case Leave(place, goodbye):
                self._farewells.spawn(self._room.leave(place, goodbye=goodbye), f"leave-{place}")
            case Tell(situation, text, retry_at):
                retry_in = None if retry_at is None else max(0.0, retry_at - link_clock())
                self._on_event(events.Told(situation.value, text, retry_in))
                if situation is Situation.ENDED:
                    self._end(text)

    def _end(self, message: str) -> None:
        self.ended = events.Ended(message)
        self._on_event(self.ended)

    def _on_failure(self, task: str, error: BaseException) -> None:
        self._log.error("the phone failed", task=task, error=type(error).__name__, exc_info=error)
        if self.ended is None:
            self._end(f"the phone failed: {type(error).__name__}")
        self._shell.post(Stop())

    # ---- the socket

    async def _converse(self, number: Generation) -> None:
        """One attempt and, when it succeeds, its socket until that ends."""
        cloud = self.cloud
        try:
            socket = await CloudSocket.open(
                cloud,
                self._core_token,
                livekit=self._transport is not Transport.WEBSOCKET,
                numbered=self._numbers,
                phone=self.name,
                attempt=number,
            )
        except Refused as error:
            self._shell.post(SocketFailed(number, final=True, reason=str(error)))
            return
        except Unreachable as error:
            self._on_event(events.SocketChanged("unreachable", cloud, reason=str(error)))
            self._shell.post(SocketFailed(number, final=False, reason=error.why))
            return
        self._sockets[number] = socket
        self._on_event(events.SocketChanged("open", cloud))
        try:
            code = await socket.listen(lambda message: self._hear(number, socket, message))
        finally:
            self._forget(number)
            del self._sockets[number], self._conversations[number]
        meaning = _meaning(code)
        self._on_event(events.SocketChanged("closed", cloud, code, meaning))
        back = ComeBack[come_back(code).name]
        reason = meaning if back is not ComeBack.NO else f"the cloud closed the connection: {meaning}"
        self._shell.post(SocketClosed(number, back, reason))

    async def _hang_up(self, number: Generation, goodbye: bool) -> None:
        socket = self._sockets.get(number)
        if socket is None:
            if (attempt := self._conversations.pop(number, None)) is not None:
                await cancelled(attempt)
        elif goodbye:
            await socket.close(CloseCode.NORMAL)
        else:
            await socket.vanish()

    def _forget(self, number: Generation) -> None:
        """Nothing is said to this socket any more."""
        if self._sender.socket is not None and self._sender.socket is self._sockets.get(number):
            self._sender.socket = self._sender.told = self.session = None

    async def _say(self, message: wire.Message) -> None:
        """Says it if there is somebody to hear it; what lasts is said again after the next acknowledgement."""
        if self._sender.socket is not None:
            await self._sender.socket.say(message)

    async def _say_to(self, number: Generation, message: wire.Message) -> None:
        if (socket := self._sockets.get(number)) is not None:
            await socket.say(message)

    async def _hear(
        self, number: Generation, socket: CloudSocket, message: wire.FromCloud | wire.UnknownMessage
    ) -> None:
        if number != self._link.socket.generation:
            return
        match message:
            case wire.Pong(timestamp=int(ping)):
                self._shell.post(Heard(number, ping))
            case wire.ConnectionAck():
                await self._accepted(number, socket, message)
            case wire.AudioStateNotice():
                self._learn(number, message)
            case wire.AudioAck():
                self._capture.acknowledge(message.epoch, message.position, message.missing)
                self._sender.send_missing()
                self._on_event(events.AudioAcknowledged(message.epoch, message.position))
            case wire.DisplayEvent(package_name=package, layout=layout) if package in self._introduced:
                self._on_event(events.Shown(package, words(layout)))
            case wire.DisplayEvent(layout=layout):
                self._on_event(events.Caption(words(layout), message.is_final is not False))
            case wire.AppStateChange(package_name=package, state=state) if state is not None:
                self._introduced.add(package)
                self._on_event(events.AppChanged(package, state))
            case wire.AppStopped(package_name=package, error=error):
                self._on_event(events.AppChanged(package, "stopped", error or ""))
            case wire.SpeechEndNotice():
                self._on_event(events.SpeechEnded(message.captioned))
            case wire.MicrophoneStateChange():
                if message.is_microphone_enabled != self._microphone_allowed:
                    self._microphone_allowed = message.is_microphone_enabled
                    self._sender.nudge()
                    self._on_event(events.MicrophoneAsked(message.is_microphone_enabled))
            case wire.ConnectionError_():
                self._on_event(events.CloudError(message.code or "", message.message))
            case wire.AuthError():
                reason = f"the cloud refuses the token: {message.message}"
                self._shell.post(SocketClosed(number, ComeBack.NO, reason))
                await socket.close()
            case wire.UnknownMessage():
                self._log.debug("message of an unknown type", type=message.type)

    def _learn(self, number: Generation, notice: wire.AudioStateNotice) -> None:
        told = events.AudioStateChanged(
            notice.state, notice.reason, notice.code, notice.transport, notice.retry_in_ms, notice.hop
        )
        self._sender.told = told
        self._on_event(told)
        retry_at = None if notice.retry_in_ms is None else link_clock() + notice.retry_in_ms / 1000
        self._shell.post(AudioTold(number, AudioState(notice.state), _blame(notice), notice.reason, retry_at))

    async def _accepted(self, number: Generation, socket: CloudSocket, ack: wire.ConnectionAck) -> None:
        self.session = ack
        self._log = log.bind(session_id=ack.session_id)
        self._sender.numbered = self._numbers and ack.audio >= 2
        await self._sender.introduce(socket)
        self._sender.socket, self._sender.told = socket, None
        told = ack.livekit
        same_room = ack.resumed or (told is not None and (told.url, told.room_name) == self._room.where)
        self._shell.post(Accepted(number, same_room))
        self._on_event(events.Acknowledged(ack.session_id, ack.resumed, self._sender.numbered))
        self._sender.nudge()
        await socket.say(wire.GlassesConnectionState(status="CONNECTED", model_name="glassbridge phone"))
        await socket.say(wire.MicrophoneStateChange(is_microphone_enabled=self.microphone_on))
        if self._speaking:
            await socket.say(wire.Vad(status=True))
        for package in sorted(self._apps):  # one that runs is not disturbed
            await socket.say(wire.StartApp(package_name=package))

    # ---- the room

    def _hear_of_room(self, event: PhoneEvent) -> None:
        if isinstance(event, events.AgentChanged):
            self.agent_present = event.present
        if not isinstance(event, events.Heard):
            self._sender.nudge()
        self._on_event(event)


def _meaning(code: int) -> str:
    try:
        return CloseCode(code).meaning  # type: ignore[call-arg]
    except ValueError:
        return f"code {code}"


def _blame(notice: wire.AudioStateNotice) -> Blame:
    """Whether a fresh place of the phone's could be what helps."""
    if notice.code in wire.PHONE_REJOINS:
        return Blame.PHONE
    return Blame.UNKNOWN if notice.hop is None and notice.code == "no_audio" else Blame.ELSEWHERE
