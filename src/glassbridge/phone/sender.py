"""Takes captured audio to the cloud, in order, by the routes that are open now.

- How it is sent (coding, length of frames, copies, one route or both) decides core/sending.py from what the cloud
  reports; a cloud that reports nothing gets PCM as it was captured.
- One route is the one that was asked for, as long as it is there; otherwise the WebSocket: while the phone has no
  place in the room, and while the cloud says that it listens on the socket only.
- Numbered: a presence frame each second in which nothing is said, more often until the cloud says `live`, and twice
  soon after speech, so that a lost end is known at once. A change of route can neither lose nor double a sample unseen.
- A phone that publishes a track (phone/by_track.py) numbers what the track does not carry, and sends it by the
  WebSocket, from where the cloud says that it heard the track last (core/track_fallback.py).
- On a track silence takes the place of presence: it proves the path, and no word is lost while listeners subscribe.
- Audio without numbers: phone/plain.py.
- What the cloud misses is sent again at once while it is fresh, on each route that has not carried it reliably
  (phone/missing.py); later on the WebSocket, marked, while no newer audio waits, at no more than REPLAY_SPEED times
  real time.
- While the room acknowledges nothing, what was said last goes into it again and again (phone/insisting.py). Where the
  level of sending knows of no doubt, it goes by the socket too: samples that come twice are heard once.
- Where the room carries nothing, further sockets help when the link loses packets (phone/beside.py): what one of them
  has to repeat, another has brought.
- Each route has a lane of its own (phone/lane.py), so that a slow one does not delay the other. PCM waits for the room
  until that has delivered what it got (phone/pacing.py): then it can still be coded. What waits for the
  socket waits until it is sent or acknowledged, the oldest first: a narrow link delays words, it loses none.
"""

import asyncio
from collections.abc import Callable

from glassbridge.core import audio_routes
from glassbridge.core.link_events import AudioRoute
from glassbridge.core.route_reports import Arrived
from glassbridge.core.sending import Sending
from glassbridge.core.sending_levels import LEVELS, STATIC, Coding, Level
from glassbridge.core.values import BYTES_PER_MS, Transport
from glassbridge.phone.beside import Beside
from glassbridge.phone.by_track import ByTrack
from glassbridge.phone.capture import Capture, Frame
from glassbridge.phone.coding import Coder, Outgoing, merged, recoded, repair, repaired
from glassbridge.phone.counts import Carrier, Counts
from glassbridge.phone.events import AudioStateChanged
from glassbridge.phone.insisting import Insistence
from glassbridge.phone.lane import Lane
from glassbridge.phone.link_meter import LinkMeter
from glassbridge.phone.missing import Missing
from glassbridge.phone.pacing import RoomPace
from glassbridge.phone.plain import REPLAY_SPEED, SEND_TIMEOUT, Plain
from glassbridge.phone.room import Room
from glassbridge.phone.socket import CloudSocket
from glassbridge.runtime.queues import AgedQueue
from glassbridge.wire.audio_frames import (
    CODING_OPUS,
    FLAG_REPLAYED,
    TOPIC_NUMBERED,
    FrameNumber,
    encode_numbered,
)
from glassbridge.wire.phone import AudioAck, ConnectionAck, Ping

QUEUE_FRAMES = 256
MAX_AGE = 5.0
HUM_AFTER = 0.3
"""Seconds without a frame after which a track carries silence."""
FILL_AFTER = 0.06
"""Seconds without a frame after which samples that do not fill a packet are sent with silence behind them."""
TAILS = 2
"""Presence frames that follow so soon after speech."""
ROOM_AGE = 1.0
"""Seconds that a frame may wait for the room; a presence frame for any route."""
SOCKET_PATIENCE = 30.0
"""Seconds that the socket may take nothing: one that is dead is known sooner, by its pings."""
DOUBTED = 1.5
"""Seconds of sound that go by the socket at once where the room is doubted: what is older is late, and asked for."""


class Sender:
    """One task sends (`run`), one sees to presence (`keep_present`), one sends again what was missed (`replay`);
    each route has one of its own (`run_lanes`)."""

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
        self.told: AudioStateChanged | None = None
        """What the cloud said last on this socket."""
        self.counts = Counts()
        self._sending = Sending()
        self._coder, self._repairs = Coder(), Coder()
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
        self._room_pace = RoomPace(lambda: room.flight, clock)
        self._lanes = {
            AudioRoute.ROOM: Lane(
                self._into_room,
                self._passed,
                lambda _, waited: waited <= ROOM_AGE,
                clock,
                takes=self._room_takes,
            ),
            AudioRoute.SOCKET: Lane(self._onto_socket, self._carry, self._is_wanted, clock),
        }
        self.beside = Beside(capture, self._sending, self._onto, self._is_wanted, clock)
        self.meter = LinkMeter(self._sending, self.beside, self._room_pace, clock)
        self.insistence = Insistence(capture, room, self._lanes[AudioRoute.ROOM].put, self._carries_more)
        self._idle = asyncio.Event()
        self._nudged = asyncio.Event()
        self._spoken_at = 0.0
        self._tails = 0
        self._put_before = 0
        """Frames that sockets had carried before this one."""
        self._asks = False
        """The cloud is to be asked what it heard of the track."""
        self._plain = Plain(room, self.counts)
        self._by_track = (
            ByTrack(capture, room, self.counts, clock, self._want_answer, on_fallback)
            if transport is Transport.TRACK
            else None
        )

    @property
    def socket(self) -> CloudSocket | None:
        """Open and acknowledged."""
        return self.meter.socket

    def use(self, socket: CloudSocket | None, ack: ConnectionAck | None = None) -> None:
        """From now on this socket counts, which the cloud has accepted with `ack`; None: there is none."""
        self.meter.socket, self.told, self._put_before = socket, None, self.counts.on_sockets
        self._missing.begin_socket()
        if ack is not None:
            reports = self.numbered and self._opus and CODING_OPUS in ack.codings
            self._sending.begin(reports=reports, now=self._clock(), trip=self.meter.trip)
            self.beside.most = ack.sockets_beside
            if self._sending.is_long and self._transport is Transport.WEBSOCKET:
                self.beside.open_first()  # it takes long to open

    def heard_in_room(self, ago: float | None) -> None:
        """The cloud says how many seconds ago it heard something from the room; None: nothing so far."""
        for frame in self._by_track.learn(ago, self.meter.trip) if self._by_track is not None else ():
            for again in repair(self._numbered(frame), self._sending.level, self._repairs, flags=FLAG_REPLAYED):
                self._put_on_socket(again)

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
            self._send_missing()

    def _send_missing(self) -> None:
        level = self._sending.level
        rooms = self._by_track is None and AudioRoute.ROOM in self._routes(both=True) and self._carries_more()
        for again, frames in self._missing.due(measured=level is not STATIC, room=rooms):
            for sent in repaired(frames, level, self._repairs):
                if again.room:
                    self._lanes[AudioRoute.ROOM].put(sent)
                if again.socket and self.socket is not None:
                    self._put_on_socket(sent)

    async def introduce(self, socket: CloudSocket) -> None:
        """Before anything else that a backend hears: where that begins which it may ask for."""
        if self.numbered:
            await socket.send_audio(self._encoded(self._capture.beginning()))

    async def flush(self, timeout: float = SEND_TIMEOUT) -> None:
        """Returns when all is sent, or after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
                for lane in self._lanes.values():
                    await lane.emptied()
        except TimeoutError:
            return

    async def run(self) -> None:
        """Sends until cancelled."""
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
                await self._plain.speak(frame, self.carrier, self.socket)

    def _flush(self) -> None:
        """Sends samples that do not fill a packet."""
        rest = self._coder.flush(self._sending.level)
        if self._by_track is None or not self._by_track.carries:
            self._dispatch(rest)
            return
        for frame in rest:
            self._put_on_socket(frame)

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
            await self._plain.speak(frame, self.carrier, self.socket)
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
            self._epoch, self._coder, self._repairs = epoch, Coder(), Coder()
            self._sending.forget(self._clock())
            self._missing.begin_epoch()

    def _patience(self) -> float | None:
        if self._coder.holds:
            return FILL_AFTER
        return HUM_AFTER if self._transport is Transport.TRACK else None

    async def run_lanes(self) -> None:
        """Sends what waits for each route until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.insistence.run())
            tasks.create_task(self.beside.run())
            tasks.create_task(self.meter.run())
            for lane in self._lanes.values():
                tasks.create_task(lane.run())

    async def keep_present(self) -> None:
        """Sees to it that numbered audio is never silent for longer than PRESENCE; until cancelled."""
        while True:
            if self._asks and self.socket is not None:
                self._asks = False
                await self.socket.say(Ping())
            interval = self._presence_due()
            try:
                async with asyncio.timeout(interval):
                    await self._nudged.wait()
            except TimeoutError:
                # While audio goes by the socket, presence goes on in the room: only so is it known that it works again.
                only_room = self.carrier is Carrier.WEBSOCKET and self._room.joined
                if self._clock() - self._spoken_at < interval and not only_room:
                    continue
            self._nudged.clear()
            if not self._microphone_on():
                self.beside.rest()
            self._look_at_track()
            if self.numbered:
                self._send_missing()
                self._tails = max(0, self._tails - 1)
                if self._by_track is None or self._by_track.is_replaced or self._capture.kept_seconds:
                    self.put(self._capture.presence(microphone_on=self._microphone_on()))

    def _look_at_track(self) -> None:
        if self._by_track is not None:
            told_live = self.told is not None and self.told.state == "live"
            self._by_track.look(
                room=self._is_welcome(),
                numbered=self.numbered,
                microphone_on=self._microphone_on(),
                live=told_live and self.counts.on_sockets == self._put_before,
            )

    def _presence_due(self) -> float:
        state, code = (None, None) if self.told is None else (self.told.state, self.told.code)
        due = audio_routes.presence_interval(state, code, spoke=bool(self._tails))
        return due if self._by_track is None else min(due, self._by_track.due_in)

    async def replay(self) -> None:
        """Sends again what is missed, behind all that is newer; until cancelled."""
        while True:
            await self._missing.any_late.wait()
            await self._idle.wait()
            await self._lanes[AudioRoute.SOCKET].emptied()
            if self.socket is None or not self._missing.late:
                self._missing.any_late.clear()
                continue
            frame = self._missing.late.popleft()
            for again in repair(frame, self._sending.level, self._repairs, flags=FLAG_REPLAYED):
                if await self._onto_socket(again.encoded()):
                    self.counts.replayed += 1
                else:
                    self._missing.drop()
            await asyncio.sleep(len(frame.pcm) / BYTES_PER_MS / 1000 / REPLAY_SPEED)

    @property
    def carrier(self) -> Carrier | None:
        """The way of the next frame; None while there is none. Where both ways are used, the room."""
        routes = self._routes(both=self._sending.level.both)
        if not routes:
            return None
        if AudioRoute.ROOM not in routes:
            return Carrier.WEBSOCKET
        return Carrier.TRACK if self._transport is Transport.TRACK else Carrier.DATA

    def _routes(self, *, both: bool) -> tuple[AudioRoute, ...]:
        """By which audio goes now."""
        if self._by_track is not None:
            if self._by_track.carries:
                return (AudioRoute.ROOM,)
            return () if self.socket is None else (AudioRoute.SOCKET,)
        return audio_routes.choose_routes(
            room=self._is_welcome(), socket=self.socket is not None, both=both, reliable=self._sending.level.reliable
        )

    def _is_welcome(self) -> bool:
        """There is a place in the room, and the cloud listens there."""
        told_socket = self.told is not None and self.told.transport == "websocket"
        return self._room.joined and self._transport is not Transport.WEBSOCKET and not told_socket

    def _dispatch(self, frames: list[Outgoing]) -> None:
        """Puts coded frames into the lanes of the routes that audio goes by."""
        now, level = self._clock(), self._sending.level
        routes = self._routes(both=level.both)
        self.meter.look()
        if level is not self._used:
            former, self._used = self._used, level
            frames = [*self._recoded(former, level), *frames]
        self.beside.put(merged(frames), self.socket if routes == (AudioRoute.SOCKET,) else None)
        for route in routes:
            for frame in merged(frames) if route is AudioRoute.SOCKET else frames:
                self._sending.sent(route, frame.stop, frame.size, now)
                if route is AudioRoute.SOCKET:
                    self._put_on_socket(frame)
                else:
                    self._lanes[route].put(frame, level.copies)
        self.counts.unsent += 0 if routes else len(frames)
        if AudioRoute.ROOM in routes and self._by_track is None:
            if self.insistence.rouse(self.meter.trip + self._room_pace.together):
                self._sending.refused(now)
            elif level is STATIC and audio_routes.is_doubtful(self._room.silent, self.meter.trip):
                self._put_newest_on_socket()
        waits = {route: self._lanes[route].backlog(now) for route in routes}
        held = waits.get(AudioRoute.ROOM, 0.0) if level.coding is Coding.PCM else 0.0
        self.meter.judge(0.0 if held else min(waits.values(), default=0.0), held)
        if self._sending.level is not level:  # what waits is coded at once, before it is sent
            self._dispatch([])

    def _put_newest_on_socket(self) -> None:
        """What the cloud may not have of the last seconds, as far as the socket does not carry it yet."""
        for frame in self._capture.newest(DOUBTED) if self.socket is not None else ():
            if not self._missing.is_carried(frame):
                self._put_on_socket(Outgoing(frame.number, frame.stop, frame.pcm))

    def _carries_more(self) -> bool:
        """The cloud reports, and the link is not known to be full."""
        return self._sending.level not in (STATIC, LEVELS[-1])

    def _recoded(self, former: Level, level: Level) -> list[Outgoing]:
        """What still waits for the socket, or as PCM for the room, as the new level wants it."""
        now = self._clock()
        lanes = list(self._lanes.values()) if former.coding is Coding.PCM else [self._lanes[AudioRoute.SOCKET]]
        if level.coding is Coding.PCM or not any(lane.backlog(now) for lane in lanes):
            return []
        waiting = [frame for lane in lanes for frame in lane.take_back()]
        return recoded(waiting, self._capture, level, self._repairs)

    def _put_on_socket(self, frame: Outgoing) -> None:
        self._missing.carry(frame.number.position, frame.stop)
        self._lanes[AudioRoute.SOCKET].put(frame)

    def _room_takes(self, frame: Outgoing, waited: float) -> bool:
        """PCM goes into the room as quickly as the link carries it: what waits here can still be coded."""
        held = frame.pcm and self._sending.level is not STATIC and waited <= ROOM_AGE
        return not held or self._room_pace.takes(len(frame.pcm), LEVELS[0].bit_rate // 8)

    async def _into_room(self, payload: bytes) -> bool:
        return await self._room.send(payload, TOPIC_NUMBERED, timeout=SEND_TIMEOUT)

    async def _onto_socket(self, payload: bytes) -> bool:
        return await self._onto(self.socket, payload)

    async def _onto(self, socket: CloudSocket | None, payload: bytes) -> bool:
        rate = self._sending.level.bit_rate // 8
        if socket is None or not await socket.room_for(len(payload), rate, SOCKET_PATIENCE):
            return False
        return await socket.send_audio(payload)

    def _is_wanted(self, frame: Outgoing, waited: float) -> bool:
        if frame.number.presence:
            return waited <= ROOM_AGE
        return frame.number.epoch != self._capture.epoch or bool(self._capture.part(frame.number, frame.stop))

    def _passed(self, frame: Outgoing, done: bool) -> None:
        """What the room does not take goes by the socket. Presence alone waits for the room's channels to open, which
        says nothing of the link."""
        self._count(Carrier.DATA, frame, done)
        if not done and self._room.joined and not frame.number.presence:
            self._sending.refused(self._clock())
        alone = frame.pcm or frame.packets
        if not done and alone and self.socket is not None and not self._sending.level.both:
            self._put_on_socket(frame)

    def _carry(self, frame: Outgoing, done: bool) -> None:
        """What the socket did not take may be asked for again."""
        if not done:
            self._missing.drop()
        self._count(Carrier.WEBSOCKET, frame, done)

    def _count(self, carrier: Carrier, frame: Outgoing, done: bool) -> None:
        self.counts.deliver(carrier, frame.number, done=done, both=self._sending.level.both)

    def _be_present(self, frame: Frame) -> None:
        """On the room always; on the socket where audio goes by it and none did just now, but not while the room is
        only being joined. Where audio goes another way, presence must not overtake it: it says only what was
        acknowledged."""
        carries = self._routes(both=self._sending.level.both)
        if self._room.joined and self._by_track is None:
            number = frame.number if AudioRoute.ROOM in carries else self._behind(frame.number)
            self._lanes[AudioRoute.ROOM].put(Outgoing(number, number.position))
        settled = self._transport is not Transport.DATA or (self.told is not None and self.told.state != "connecting")
        speaks = self._microphone_on() and self._clock() - self._spoken_at < audio_routes.TAIL
        by_socket = self._by_track is not None or self.carrier is Carrier.WEBSOCKET
        if settled and not speaks and by_socket and self.socket is not None:
            self._lanes[AudioRoute.SOCKET].put(Outgoing(frame.number, frame.stop))

    def _behind(self, number: FrameNumber) -> FrameNumber:
        return number if self._sending.level is STATIC else self._capture.behind().number

    @staticmethod
    def _encoded(frame: Frame) -> bytes:
        return encode_numbered(frame.number, frame.pcm)
