"""Takes captured audio to the cloud, in order, by the routes that are open now.

- How it is sent (coding, length of frames, copies, one route or both) decides core/sending.py from what the cloud
  reports; a cloud that reports nothing gets PCM as it was captured.
- One route is the one that was asked for, as long as it is there; otherwise the WebSocket: while the phone has no
  place in the room, and while the cloud says that it listens on the socket only (phone/routes.py).
- Numbered: a presence frame each second in which nothing is said, more often until the cloud says `live`, and twice
  soon after speech, so that a lost end is known at once. A change of route can neither lose nor double a sample unseen.
- A phone that publishes a track (phone/by_track.py) numbers what the track does not carry, and sends it by the
  WebSocket, from where the cloud says that it heard the track last (core/track_fallback.py).
- On a track silence takes the place of presence: it proves the path, and no word is lost while listeners subscribe.
- Audio without numbers: phone/plain.py.
- What the cloud misses is sent again (phone/resending.py).
- While the room acknowledges nothing, what was said last goes into it again and again (phone/insisting.py). Where the
  level of sending knows of no doubt, it goes by the socket too: samples that come twice are heard once.
- Where the room carries nothing, further sockets help when the link loses packets (phone/beside.py): what one of them
  has to repeat, another has brought.
- Each route has a lane of its own (phone/lanes.py).
"""

import asyncio
from collections.abc import Callable

from glassbridge.core import audio_routes
from glassbridge.core.link_events import AudioRoute
from glassbridge.core.route_reports import Arrived
from glassbridge.core.sending import Sending
from glassbridge.core.sending_levels import STATIC, Coding, Level
from glassbridge.core.values import Transport
from glassbridge.phone.by_track import ByTrack
from glassbridge.phone.capture import Capture, Frame
from glassbridge.phone.coding import Coder, Outgoing, merged
from glassbridge.phone.counts import Carrier, Counts
from glassbridge.phone.insisting import Insistence
from glassbridge.phone.lanes import Lanes
from glassbridge.phone.missing import Missing
from glassbridge.phone.plain import SEND_TIMEOUT, Plain
from glassbridge.phone.resending import Resending
from glassbridge.phone.room import Room
from glassbridge.phone.routes import Routes
from glassbridge.phone.socket import CloudSocket
from glassbridge.runtime.queues import AgedQueue
from glassbridge.wire.audio_frames import CODING_OPUS, FrameNumber, encode_numbered
from glassbridge.wire.phone import AudioAck, ConnectionAck, Ping

QUEUE_FRAMES = 256
MAX_AGE = 5.0
HUM_AFTER = 0.3
"""Seconds without a frame after which a track carries silence."""
FILL_AFTER = 0.06
"""Seconds without a frame after which samples that do not fill a packet are sent with silence behind them."""
TAILS = 2
"""Presence frames that follow so soon after speech."""


class Sender:
    """Of one phone; `run` sends what is `put`."""

    def __init__(
        self,
        capture: Capture,
        room: Room,
        transport: Transport,
        microphone_on: Callable[[], bool],
        clock: Callable[[], float],
        *,
        opus: bool,
        on_fallback: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """`on_fallback` hears that the socket is in the place of a track, or is no longer."""
        self.numbered = False
        self.counts = Counts()
        self._sending = Sending()
        self._coder = Coder(capture.encoders)
        self._epoch = capture.epoch
        self._used = self._sending.level
        """The level of what was sent last."""
        self._missing = Missing(capture, clock)
        self._capture = capture
        self._room = room
        self._transport = transport
        self._microphone_on = microphone_on
        self._clock = clock
        self._opus = opus
        self._queue: AgedQueue[Frame] = AgedQueue(QUEUE_FRAMES, MAX_AGE, clock)
        self._idle = asyncio.Event()
        self._nudged = asyncio.Event()
        self._spoken_at = 0.0
        self._tails = 0
        self._asks = False
        """The cloud is to be asked what it heard of the track."""
        self._plain = Plain(room, self.counts)
        self._by_track = (
            ByTrack(capture, room, self.counts, clock, self._want_answer, on_fallback)
            if transport is Transport.TRACK
            else None
        )
        self.lanes = Lanes(capture, room, self._sending, self._missing, self.counts, clock)
        self.routes = Routes(room, transport, self._sending, self.lanes.meter, self.counts, self._by_track)
        self.insistence = Insistence(capture, room, self.lanes.put_into_room, lambda: self.routes.carries_more)
        self._resending = Resending(
            capture, self._sending, self._missing, self.lanes, self.routes, self.counts, self._idle
        )

    @property
    def socket(self) -> CloudSocket | None:
        """Open and acknowledged."""
        return self.lanes.meter.socket

    def use(self, socket: CloudSocket | None, ack: ConnectionAck | None = None) -> None:
        """From now on this socket counts, which the cloud has accepted with `ack`; None: there is none."""
        self.lanes.meter.socket = socket
        self.routes.begin_socket()
        self._missing.begin_socket()
        if ack is not None:
            reports = self.numbered and self._opus and CODING_OPUS in ack.codings
            self._sending.begin(reports=reports, now=self._clock(), trip=self.lanes.meter.trip)
            self.lanes.beside.most = ack.sockets_beside
            if self._sending.is_long and self._transport is Transport.WEBSOCKET:
                self.lanes.beside.open_first()  # it takes long to open

    def heard_in_room(self, ago: float | None) -> None:
        """The cloud says how many seconds ago it heard something from the room; None: nothing so far."""
        if self._by_track is not None:
            self._resending.send_unheard(map(self._numbered, self._by_track.learn(ago, self.lanes.meter.trip)))

    def _want_answer(self) -> None:
        self._asks = True
        self.nudge()

    def _numbered(self, frame: Frame) -> Frame:
        """A frame that no track carries."""
        return self._capture.take(frame.pcm, frame.number.capture_time_us, last=frame.number.last)

    @property
    def level(self) -> Level:
        """How audio is sent now."""
        return self._sending.level

    @property
    def dropped(self) -> int:
        """Frames that no carrier took in time, at first."""
        return self.counts.unsent + self._queue.dropped

    def put(self, frame: Frame) -> None:
        """Sends a frame soon; never waits."""
        self._idle.clear()
        if not frame.number.presence:
            self._spoken_at = self._clock()
            self._tails = TAILS
        self._queue.put(frame)

    def nudge(self) -> None:
        """Sends a presence frame now: something changed that the other side should learn."""
        self._nudged.set()

    def acknowledged(self, ack: AudioAck) -> None:
        """Learns from what the cloud says of the audio: how to send, and what to send again."""
        arrived = {AudioRoute.ROOM: ack.room, AudioRoute.SOCKET: ack.socket}
        if ack.epoch == self._capture.epoch:
            said = {route: Arrived(*given[:2], given[2] / 1000) for route, given in arrived.items() if given}
            self._sending.reported(said, self._clock())
        if self.numbered:
            self._resending.send_missing()

    async def introduce(self, socket: CloudSocket) -> None:
        """Before anything else that a backend hears: where that begins which it may ask for."""
        if self.numbered:
            beginning = self._capture.beginning()
            await socket.send_audio(encode_numbered(beginning.number, beginning.pcm))

    async def flush(self, timeout: float = SEND_TIMEOUT) -> None:
        """Returns when all is sent, or after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
                await self.lanes.emptied(*AudioRoute)
        except TimeoutError:
            return

    async def run(self) -> None:
        """Sends until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for part in (
                self._send(),
                self._keep_present(),
                self._resending.run(),
                self.insistence.run(),
                self.lanes.run(),
            ):
                tasks.create_task(part)

    async def _send(self) -> None:
        """What was put, in order."""
        while True:
            if not len(self._queue):
                self._idle.set()
            try:
                async with asyncio.timeout(self._patience()):
                    _, frame = await self._queue.get()
            except TimeoutError:
                self._flush()
                if self._by_track is not None:
                    await self._hum(self._by_track)
                continue
            if frame.number.presence:
                self._be_present(frame)
                if self._by_track is not None and self._clock() - self._spoken_at > HUM_AFTER:
                    await self._hum(self._by_track)
            elif self._by_track is not None:
                await self._speak_by_track(self._by_track, frame)
            elif self.numbered:
                self._code(frame)
            else:
                await self._plain.speak(frame, self.routes.carrier, self.socket)

    def _flush(self) -> None:
        """Sends samples that do not fill a packet."""
        rest = self._coder.flush(self._sending.level)
        if self._by_track is None or not self._by_track.carries:
            self._dispatch(rest)
            return
        for frame in rest:
            self.lanes.put_on_socket(frame)

    def _code(self, frame: Frame) -> None:
        self._begin_epoch(frame.number.epoch)
        self._dispatch(self._coder.code(frame, self._sending.level))

    async def _speak_by_track(self, by_track: ByTrack, frame: Frame) -> None:
        """By the track or, while that is not to be had, by the socket."""
        self._look_at_track()
        if by_track.carries:
            self._flush()
            self.counts.speak(Carrier.TRACK, done=await by_track.write(frame))
        elif not self.numbered:
            if self.socket is not None:
                await self._plain.say_again(by_track.unheard(), self.socket)
            await self._plain.speak(frame, self.routes.carrier, self.socket)
        elif not by_track.hold(frame):
            self._code(self._numbered(frame))
            if by_track.is_silent:
                await by_track.write_silence(len(frame.pcm))

    async def _hum(self, by_track: ByTrack) -> None:
        """Silence on the track until something is said or the microphone goes off; then the track goes too."""
        while self._microphone_on() and (by_track.carries or by_track.is_silent) and not len(self._queue):
            if not await by_track.write_silence():
                return
        if not self._microphone_on():
            await by_track.end()

    def _begin_epoch(self, epoch: int) -> None:
        """Positions begin anew: nothing of the former epoch says anything about them."""
        if epoch != self._epoch:
            self._epoch, self._coder = epoch, Coder(self._capture.encoders)
            self._sending.forget(self._clock())
            self._resending.begin_epoch()

    def _patience(self) -> float | None:
        if self._coder.holds:
            return FILL_AFTER
        return HUM_AFTER if self._transport is Transport.TRACK else None

    async def _keep_present(self) -> None:
        """Sees to it that numbered audio is never silent for longer than PRESENCE."""
        while True:
            if self._asks and self.socket is not None:
                self._asks = False
                await self.socket.say(Ping())
            interval = self.routes.presence_due(spoke=bool(self._tails))
            try:
                async with asyncio.timeout(interval):
                    await self._nudged.wait()
            except TimeoutError:
                # While audio goes by the socket, presence goes on in the room: only so is it known that it works again.
                only_room = self.routes.carrier is Carrier.WEBSOCKET and self._room.joined
                if self._clock() - self._spoken_at < interval and not only_room:
                    continue
            self._nudged.clear()
            if not self._microphone_on():
                self.lanes.beside.rest()
            self._look_at_track()
            if self.numbered:
                self._resending.send_missing()
                self._tails = max(0, self._tails - 1)
                if self._by_track is None or self._by_track.is_replaced or self._capture.kept_seconds:
                    self.put(self._capture.presence(microphone_on=self._microphone_on()))

    def _look_at_track(self) -> None:
        if self._by_track is not None:
            self._by_track.look(
                room=self.routes.is_room_welcome,
                numbered=self.numbered,
                microphone_on=self._microphone_on(),
                live=self.routes.is_track_live,
            )

    def _dispatch(self, frames: list[Outgoing]) -> None:
        """Puts coded frames into the lanes of the routes that audio goes by."""
        now, level = self._clock(), self._sending.level
        routes = self.routes.now
        self.lanes.meter.look()
        if level is not self._used:
            former, self._used = self._used, level
            frames = [*self._resending.take_back(former, level), *frames]
        self.lanes.beside.put(merged(frames), self.socket if routes == (AudioRoute.SOCKET,) else None)
        for route in routes:
            for frame in merged(frames) if route is AudioRoute.SOCKET else frames:
                self._sending.sent(route, frame.stop, frame.size, now)
                if route is AudioRoute.SOCKET:
                    self.lanes.put_on_socket(frame)
                else:
                    self.lanes.put_into_room(frame, level.copies)
        self.counts.unsent += 0 if routes else len(frames)
        if AudioRoute.ROOM in routes and self._by_track is None:
            if self.insistence.rouse(self.lanes.meter.trip + self.lanes.room_pace.together):
                self._sending.refused(now)
            elif level is STATIC and audio_routes.is_doubtful(self._room.silent, self.lanes.meter.trip):
                self._resending.send_newest()
        waits = self.lanes.backlog(routes, now)
        held = waits.get(AudioRoute.ROOM, 0.0) if level.coding is Coding.PCM else 0.0
        self.lanes.meter.judge(0.0 if held else min(waits.values(), default=0.0), held)
        if self._sending.level is not level:  # what waits is coded at once, before it is sent
            self._dispatch([])

    def _be_present(self, frame: Frame) -> None:
        """On the room always. Where audio goes another way, presence must not overtake it: it says only what was
        acknowledged."""
        if self._room.joined and self._by_track is None:
            number = frame.number if AudioRoute.ROOM in self.routes.now else self._behind(frame.number)
            self.lanes.put_into_room(Outgoing(number, number.position))
        speaks = self._microphone_on() and self._clock() - self._spoken_at < audio_routes.TAIL
        if self.routes.takes_presence_on_socket(speaks=speaks):
            self.lanes.put_on_socket(Outgoing(frame.number, frame.stop))

    def _behind(self, number: FrameNumber) -> FrameNumber:
        return number if self._sending.level is STATIC else self._capture.behind().number
