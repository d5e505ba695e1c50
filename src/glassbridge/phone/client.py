"""A phone: stays connected to one cloud at a time, keeps its place in the room, speaks, and tells what it hears."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Self

import structlog

from glassbridge.core.backoff import Backoff, Ladder
from glassbridge.core.values import BYTES_PER_MS, Transport
from glassbridge.livekit.participant import Connector, connector
from glassbridge.phone import events
from glassbridge.phone.capture import Capture
from glassbridge.phone.events import PhoneEvent
from glassbridge.phone.room import Room
from glassbridge.phone.sender import Sender
from glassbridge.phone.socket import CloudSocket, Refused, Unreachable, base_url
from glassbridge.runtime.tasks import TaskGroup, cancelled
from glassbridge.wire import phone as wire
from glassbridge.wire.close_codes import CloseCode, ComeBack, come_back

log = structlog.get_logger()

RECONNECT = Ladder(base=0.25, cap=1.0)
REJOIN = Ladder(base=0.25, cap=2.0)
MAX_FRAME_MS = 400
"""What surely fits into one packet."""
SETTLED = 5.0
"""Seconds that a socket must have lasted for the next attempt to be a first one."""
NOW_JITTER = 0.5
"""Seconds over which phones that are told to come back at once spread."""


class PhoneClient:
    """Use as `async with`. What happens is told through `on_event`, on the event loop; it must not block.

    `core_token` signs in; `connect` joins LiveKit rooms (our own participant when left out); `chance` gives numbers in
    [0, 1) for the jitter. Frames of `speak` go by `transport`, or by the WebSocket while that is not to be had.
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
        self._chance = chance
        self._microphone = self._microphone_allowed = True
        self._speaking = False
        self._capture = Capture(random.getrandbits(32))
        self._room = Room(self._hear_of_room, connect or connector("own"), Backoff(REJOIN, chance))
        self._sender = Sender(self._capture, self._room, transport, lambda: self.microphone_on)
        self._tasks = TaskGroup("phone", self._on_failure)
        self._socket: CloudSocket | None = None
        self._place: asyncio.Task[None] | None = None
        self._place_cloud = ""
        self._moved = asyncio.Event()
        """The socket ended, or its wait is to end, because we said so."""
        self._dark_until = 0.0

    async def __aenter__(self) -> Self:
        self._tasks.spawn(self._stay_connected(), "socket")
        self._tasks.spawn(self._sender.run(), "sender")
        self._tasks.spawn(self._sender.keep_present(), "presence")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leaves the room, says goodbye, releases everything; idempotent; about 5 s at most."""
        self._moved.set()
        await self._leave_room()
        if self._socket is not None:
            await self._socket.close()
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

    async def switch(self, cloud: str) -> None:
        """Moves to another cloud: leaves the old room first, then the old socket. Raises UserError for a bad URL."""
        self.cloud = base_url(cloud)
        await self._leave_room()
        await self._end_socket(vanish=False)

    async def drop(self, seconds: float) -> None:
        """The network goes away for so many seconds: everything is cut without a goodbye."""
        self._dark_until = monotonic() + seconds
        await self._end_socket(vanish=True)
        await self._room.vanish()
        await self._leave_room()

    # ---- the socket

    async def _stay_connected(self) -> None:
        backoff = Backoff(RECONNECT, self._chance)
        while self.ended is None:
            await self._wait(backoff.next_delay())
            cloud = self.cloud
            try:
                socket = await CloudSocket.open(
                    cloud,
                    self._core_token,
                    livekit=self._transport is not Transport.WEBSOCKET,
                    numbered=self._numbers,
                )
            except Refused as error:
                self._end(str(error))
            except Unreachable as error:
                self._on_event(events.SocketChanged("unreachable", cloud, reason=str(error)))
            else:
                opened = monotonic()
                code = await self._attend(socket, cloud)
                if self._moved.is_set() or monotonic() - opened >= SETTLED:
                    backoff.reset()
                self._after_close(code)

    async def _wait(self, seconds: float) -> None:
        """Waits, but not on after a switch; and as long as the network is away."""
        self._moved.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._moved.wait()
        await asyncio.sleep(max(0.0, self._dark_until - monotonic()))
        self._moved.clear()

    async def _attend(self, socket: CloudSocket, cloud: str) -> int:
        if self._moved.is_set():  # while it was being opened
            await socket.vanish()
        self._socket = socket
        self._on_event(events.SocketChanged("open", cloud))
        try:
            code = await socket.listen(lambda message: self._hear(socket, cloud, message))
        finally:
            self._socket = self._sender.socket = None
            self.session = self._sender.told = None
        self._on_event(events.SocketChanged("closed", cloud, code, _meaning(code)))
        return code

    def _after_close(self, code: int) -> None:
        if self._moved.is_set():
            return
        match come_back(code):
            case ComeBack.NO:
                self._end(f"the cloud closed the connection: {_meaning(code)}")
            case ComeBack.NOW:
                self._dark_until = max(self._dark_until, monotonic() + NOW_JITTER * self._chance())
            case ComeBack.LATER:
                pass

    async def _end_socket(self, *, vanish: bool) -> None:
        self._moved.set()
        socket = self._socket
        if socket is None:
            return
        if vanish:
            await socket.vanish()
        else:
            await socket.close(CloseCode.NORMAL)

    async def _say(self, message: wire.Message) -> None:
        """Says it if there is somebody to hear it; what lasts is said again after the next acknowledgement."""
        if self._socket is not None and self.session is not None:
            await self._socket.say(message)

    async def _hear(self, socket: CloudSocket, cloud: str, message: wire.FromCloud | wire.UnknownMessage) -> None:
        match message:
            case wire.ConnectionAck():
                await self._accepted(socket, cloud, message)
            case wire.AudioStateNotice():
                self._sender.told = events.AudioStateChanged(
                    message.state, message.reason, message.code, message.transport, message.retry_in_ms
                )
                self._on_event(self._sender.told)
            case wire.AudioAck():
                self._capture.acknowledge(message.epoch, message.position)
                self._on_event(events.AudioAcknowledged(message.epoch, message.position))
            case wire.DisplayEvent():
                self._on_event(events.Caption(message.layout.text, message.is_final is not False))
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
                self._end(f"the cloud refuses the token: {message.message}")
                await socket.close()
            case wire.UnknownMessage():
                log.debug("message of an unknown type", type=message.type)

    async def _accepted(self, socket: CloudSocket, cloud: str, ack: wire.ConnectionAck) -> None:
        self.session = ack
        self._sender.numbered = self._numbers and ack.audio >= 2
        self._sender.socket = socket
        self._on_event(events.Acknowledged(ack.session_id, ack.resumed, self._sender.numbered))
        if self._transport is not Transport.WEBSOCKET:
            self._enter_room(cloud, keep=ack.resumed)
        self._sender.nudge()
        await socket.say(wire.GlassesConnectionState(status="CONNECTED", model_name="glassbridge phone"))
        await socket.say(wire.MicrophoneStateChange(is_microphone_enabled=self.microphone_on))
        if self._speaking:
            await socket.say(wire.Vad(status=True))

    def _end(self, message: str) -> None:
        self.ended = events.Ended(message)
        self._tasks.spawn(self._leave_room(), "leave")
        self._on_event(self.ended)

    def _on_failure(self, task: str, error: BaseException) -> None:
        log.error("the phone failed", task=task, error=type(error).__name__, exc_info=error)
        if self.ended is None:
            self._end(f"the phone failed: {type(error).__name__}")

    # ---- the room

    def _enter_room(self, cloud: str, *, keep: bool) -> None:
        """A place in the room of this cloud; the one that there is stays when it is the same session's."""
        former = self._place
        if keep and former is not None and not former.done() and self._place_cloud == cloud:
            return
        self._place_cloud = cloud
        self._place = self._tasks.spawn(self._keep_place(former, cloud), "room")

    async def _keep_place(self, former: "asyncio.Task[None] | None", cloud: str) -> None:
        if former is not None:
            await cancelled(former)
        await self._room.keep(cloud, self._core_token)

    async def _leave_room(self) -> None:
        former, self._place = self._place, None
        if former is not None:
            await cancelled(former)

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
