"""A phone: stays connected to one cloud at a time, keeps its place in the room, speaks, and tells what it hears.

What it decides about its connections is in core/phone_link.py; phone/link.py does it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import structlog

from glassbridge.core.phone_link import PhoneLink
from glassbridge.core.phone_place import AudioTold, Blame
from glassbridge.core.phone_socket import (
    Accepted,
    ComeBack,
    MessageReceived,
    NetworkChanged,
    NetworkLost,
    SocketClosed,
    Stop,
    Switch,
)
from glassbridge.core.sending_levels import LEVELS
from glassbridge.core.values import BYTES_PER_MS, AudioState, Generation, Transport
from glassbridge.livekit.connectors import connector
from glassbridge.livekit.participant import Connector
from glassbridge.phone import events, network_watch
from glassbridge.phone.beside import keep_beside
from glassbridge.phone.capture import Capture, capture_clock
from glassbridge.phone.events import PhoneEvent
from glassbridge.phone.hearing import SoundSink
from glassbridge.phone.link import Message, PhoneLinkShell
from glassbridge.phone.sender import Sender
from glassbridge.phone.socket import CloudSocket, base_url
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.runtime.world import REAL, World
from glassbridge.wire import phone as wire
from glassbridge.wire.device_events import DeviceEvent
from glassbridge.wire.display import words

log = structlog.get_logger()

MAX_FRAME_MS = 400
"""What surely fits into one packet."""


class PhoneClient:
    """Use as `async with`. What happens is told through `on_event`, on the event loop; it must not block.

    `core_token` signs in; `connect` joins LiveKit rooms (our own participant when left out); `world` is what it
    touches beside. Frames of `speak` go by `transport`, or by the WebSocket while that is not to be had; where
    the network does not carry them, they go by both and are coded, unless `opus` is False (core/sending.py). Any number
    of phones may live in one event loop.
    """

    def __init__(
        self,
        cloud: str,
        core_token: str,
        on_event: Callable[[PhoneEvent], None],
        *,
        transport: Transport = Transport.DATA,
        numbered: bool = True,
        opus: bool = True,
        connect: Connector | None = None,
        world: World = REAL,
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
        self._numbers = numbered
        self._microphone = self._microphone_allowed = True
        self._speaking = False
        self._apps: set[str] = set()
        """Those that the owner has started."""
        self._introduced: set[str] = set()
        """Those that our clouds have told of: what they show is no caption. In the original, captions are an app's."""
        self.name = world.token(8)
        """By which a cloud knows the sockets of this object."""
        self._tasks = TaskGroup("phone", self._on_failure)
        self._link = PhoneLinkShell(
            PhoneLink(world.chance, room=transport is not Transport.WEBSOCKET),
            connect or connector("own"),
            core_token,
            lambda: self.cloud,
            self._dial,
            self._hear,
            self._on_loss,
            lambda: (self._sender.counts.into_room, self._sender.counts.on_sockets),
            self._on_news,
            self._on_failure,
            world,
        )
        self._world = world
        self._capture = Capture(self._new_epoch(), lambda: capture_clock(world))
        self._sender = Sender(
            self._capture,
            self._link.room,
            transport,
            lambda: self.microphone_on,
            world.monotonic,
            opus=opus,
            on_fallback=lambda fallen: self._on_event(events.TrackReplaced(fallen)),
        )
        self._network_back: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._link.start()
        self._tasks.spawn(self._sender.run(), "sender")
        for one in self._sender.lanes.beside.sockets:
            self._tasks.spawn(keep_beside(one.wanted, self._dial_beside, one.use), "beside")
        self._tasks.spawn(network_watch.watch(self._peer, self.network_changed), "network")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leaves the room, says goodbye, releases everything; idempotent; about 5 s at most."""
        if self._network_back is not None:
            self._network_back.cancel()
        await self._link.close()
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
        return self._link.room.joined

    @property
    def link(self) -> PhoneLinkShell:
        """Its sockets and places."""
        return self._link

    @property
    def audio_state(self) -> events.AudioStateChanged | None:
        """What the cloud said last about audio on the current socket; the original's clouds never do."""
        return self._sender.routes.told

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
        return self._link.room.heard_ms

    def keep(self, keeper: SoundSink) -> None:
        """It gets all the sound that comes out of the room from now on."""
        self._link.room.keep(keeper)

    def speak(self, pcm: bytes, captured_us: int | None = None, *, last: bool = False) -> bool:
        """Sends one frame of captured samples (PCM16 LE, 16 kHz, mono); False while the microphone is off: then
        nothing is captured. `last` says that the microphone stops after it. Never waits.

        Raises ValueError: half a sample, or longer than MAX_FRAME_MS.
        """
        if len(pcm) > MAX_FRAME_MS * BYTES_PER_MS:
            raise ValueError(f"a frame is at most {MAX_FRAME_MS} ms long")
        if not self.microphone_on:
            return False
        take = self._capture.stamp if self._transport is Transport.TRACK else self._capture.take
        self._sender.put(take(pcm, captured_us, last=last))
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

    async def report(self, event: DeviceEvent) -> None:
        """What phone and glasses tell beside audio."""
        await self._say(event)

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
        self._link.post(Switch())

    def network_changed(self) -> None:
        """To be called when the operating system tells of another network, or that there is one again: what is open is
        then tested or renewed at once, and nothing waits any longer."""
        self._link.post(NetworkChanged())

    def network_lost(self) -> None:
        """To be called when the operating system says that there is no network: nothing is tried until
        `network_changed`. A phone that is never told finds out by itself, within 4 s."""
        self._link.post(NetworkLost())

    async def drop(self, seconds: float) -> None:
        """The network goes away for so many seconds: everything is cut without a goodbye."""
        self.network_lost()
        await self._link.cut()
        if self._network_back is not None:
            self._network_back.cancel()
        self._network_back = asyncio.get_running_loop().call_later(seconds, self.network_changed)

    # ---- what happens to it

    def _new_epoch(self) -> int:
        return int(self._world.token(4), 16)

    def _peer(self) -> str | None:
        return None if self._sender.socket is None else self._sender.socket.peer

    def _on_news(self, event: PhoneEvent) -> None:
        match event:
            case events.AgentChanged(present):
                self.agent_present = present
            case events.Told("ended", message):
                self.ended = events.Ended(message)
        if isinstance(event, events.AgentChanged | events.RoomChanged):
            self._sender.nudge()
        self._on_event(event)
        if isinstance(event, events.Told) and self.ended is not None:
            self._on_event(self.ended)

    def _on_failure(self, task: str, error: BaseException) -> None:
        log.error("the phone failed", task=task, error=type(error).__name__, exc_info=error)
        if self.ended is None:
            self._on_news(events.Told("ended", f"the phone failed: {type(error).__name__}", None))
        self._link.post(Stop())

    async def _dial(self, cloud: str, attempt: Generation) -> CloudSocket:
        return await CloudSocket.open(
            self._world,
            cloud,
            self._core_token,
            livekit=self._transport is not Transport.WEBSOCKET,
            numbered=self._numbers,
            phone=self.name,
            attempt=attempt,
            track=self._transport is Transport.TRACK,
        )

    def _dial_beside(self) -> Awaitable[CloudSocket] | None:
        return self._open_beside() if self.session is not None and self.session.beside else None

    async def _open_beside(self) -> CloudSocket:
        """What it brings may come before the introduction on the first socket."""
        socket = await CloudSocket.open(
            self._world,
            self.cloud,
            self._core_token,
            livekit=False,
            numbered=True,
            phone=self.name,
            attempt=0,
            track=self._transport is Transport.TRACK,
            beside=True,
        )
        await self._sender.introduce(socket)
        return socket

    def _on_loss(self, socket: CloudSocket) -> None:
        if self._sender.socket is socket:
            self._sender.use(None)
            self.session = None

    # ---- what the cloud says

    async def _say(self, message: wire.Message) -> None:
        """Sends it if a cloud is connected; lasting facts are sent again after the next acknowledgement."""
        if self._sender.socket is not None:
            await self._sender.socket.say(message)

    async def _hear(self, number: Generation, socket: CloudSocket, message: Message) -> None:
        match message:
            case wire.Pong(timestamp=ping, room_age_ms=age):
                if isinstance(ping, int):
                    self._link.post(MessageReceived(number, ping))
                self._sender.heard_in_room(None if age is None else age / 1000)
            case wire.ConnectionAck():
                await self._accepted(number, socket, message)
            case wire.AudioStateNotice():
                self._learn(number, message)
            case wire.AudioAck():
                self._capture.acknowledge(message.epoch, message.position, message.missing, message.lost)
                self._sender.acknowledged(message)
                self._link.narrow(self._sender.level is LEVELS[-1])
                self._on_event(events.AudioAcknowledged(message.epoch, message.position, message.lost))
            case wire.EpochEnd(epoch=epoch):
                if epoch == self._capture.epoch:
                    self._capture.end_epoch(self._new_epoch())
            case wire.DisplayEvent(package_name=package, layout=layout) if package in self._introduced:
                self._on_event(events.Shown(package, words(layout)))
            case wire.DisplayEvent(layout=layout):
                self._on_event(
                    events.Caption(
                        words(layout), message.is_final is not False, message.start_ms, message.end_ms, message.id,
                        message.replaces, message.inserts,
                    )
                )  # fmt: skip
            case wire.TranscriptGap(id=gap, seconds=seconds, state=state):
                self._on_event(events.CaptionGap(gap, seconds, state))
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
                self._link.post(SocketClosed(number, ComeBack.NO, reason))
                await socket.close()
            case wire.UnknownMessage():
                log.debug("message of an unknown type", type=message.type)

    def _learn(self, number: Generation, notice: wire.AudioStateNotice) -> None:
        told = events.AudioStateChanged(
            notice.state, notice.reason, notice.code, notice.transport, notice.retry_in_ms, notice.hop, notice.seconds
        )
        self._sender.routes.told = told
        self._link.recovery.told(notice, numbers=self._numbers and self._transport is not Transport.TRACK)
        self._on_event(told)
        retry_at = None if notice.retry_in_ms is None else self._link.now() + notice.retry_in_ms / 1000
        self._link.post(
            AudioTold(number, AudioState(notice.state), blame(notice), notice.reason, retry_at, notice.code)
        )

    async def _accepted(self, number: Generation, socket: CloudSocket, ack: wire.ConnectionAck) -> None:
        self._link.session_id = ack.session_id
        self._sender.numbered = self._numbers and ack.audio >= 2
        await self._sender.introduce(socket)
        self.session = ack
        self._sender.use(socket, ack)
        self._tasks.spawn(self._sender.lanes.meter.probe(), "probe")
        told = ack.livekit
        same_room = ack.resumed or (told is not None and (told.url, told.room_name) == self._link.room.where)
        self._link.post(Accepted(number, same_room, ack.pings))
        self._on_event(events.Acknowledged(ack.session_id, ack.resumed, self._sender.numbered))
        self._sender.nudge()
        await socket.say(wire.GlassesConnectionState(status="CONNECTED", model_name="glassbridge phone"))
        await socket.say(wire.MicrophoneStateChange(is_microphone_enabled=self.microphone_on))
        if self._speaking:
            await socket.say(wire.Vad(status=True))
        for package in sorted(self._apps):  # one that runs is not disturbed
            await socket.say(wire.StartApp(package_name=package))


def blame(notice: wire.AudioStateNotice) -> Blame:
    """Whether a fresh place of the phone's could be what helps."""
    if notice.code in wire.PHONE_REJOINS:
        return Blame.PHONE
    return Blame.UNKNOWN if notice.hop is None and notice.code == "no_audio" else Blame.ELSEWHERE
