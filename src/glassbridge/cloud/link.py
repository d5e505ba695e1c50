"""The shell around the audio link (core/audio_link.py): turns its effects into calls to a bridge, and what bridges do
into its events. What it logs, read from top to bottom, is the story of a fault (cloud/story.py)."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Protocol

import structlog

from glassbridge.cloud.audio import Microphone, OddByte
from glassbridge.cloud.bridge_answers import BridgeError, hindered_by
from glassbridge.cloud.bridge_pool import BridgePool
from glassbridge.cloud.examination import AskPhone, Examiner
from glassbridge.cloud.flight import Flight
from glassbridge.cloud.holes import HoleListener
from glassbridge.cloud.seat_client import SeatClient
from glassbridge.cloud.story import Story
from glassbridge.cloud.unnumbered import Unnumbered
from glassbridge.core import audio_link as machine_of
from glassbridge.core.audio_link import (
    AskStatus,
    AudioLink,
    AudioReceived,
    AudioRoute,
    Away,
    Dismiss,
    Effect,
    Event,
    Examine,
    Examined,
    Join,
    Joined,
    JoinFailed,
    Keep,
    Leave,
    LinkState,
    News,
    Notice,
    Notify,
    PhoneAnswered,
    Status,
    StreamBroke,
    Tick,
    Unwanted,
    Wanted,
)
from glassbridge.core.machine import Record
from glassbridge.core.phone_way import Nudge, PhoneWay
from glassbridge.core.recovery import BridgeFault
from glassbridge.core.values import Generation, UserId
from glassbridge.runtime.change import Change
from glassbridge.runtime.pulse import Pulse
from glassbridge.runtime.shell import Shell
from glassbridge.runtime.tasks import TaskGroup, cancelled
from glassbridge.telemetry import metrics
from glassbridge.telemetry.traces import Origin
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.audio_frames import FrameError, FrameNumber

TICK = Tick()
HEARD_EVERY = 0.1
"""Seconds after a frame in which others by the same route are not told to the machine, unless its state changed."""


_malformed = metrics.FRAMES_DROPPED.cell("stream", "malformed")
_received = {
    AudioRoute.ROOM: metrics.FRAMES_RECEIVED.cell("stream"),
    AudioRoute.SOCKET: metrics.FRAMES_RECEIVED.cell("socket"),
}


class AudioSink(Protocol):
    """The receiver of one session's audio."""

    @property
    def microphone(self) -> Microphone: ...

    @property
    def unnumbered(self) -> Unnumbered: ...


class LinkShell:
    """Owned by one session. `tell` gets each notice for the phone; `ask_phone` asks it for a sign of life, `nudge`
    moves one that understands no notices."""

    __slots__ = (
        "_ask_phone", "_attempt", "_clock", "_examiner", "_flight", "_former", "_former_place", "_former_seat",
        "_greeting", "_heard_at", "_last_frame", "_leaving", "_loop", "_nudge", "_pool", "_seat", "_session_id",
        "_shell", "_sound", "_story", "_tasks", "_tell", "_turned", "_user", "_way", "frames", "machine",
    )  # fmt: skip

    def __init__(
        self,
        user: UserId,
        session_id: str,
        machine: AudioLink,
        pool: BridgePool,
        examiner: Examiner,
        sound: AudioSink,
        tell: Callable[[Notice], None],
        ask_phone: AskPhone,
        nudge: Callable[[Nudge], None],
        tasks: TaskGroup,
        former: asyncio.Task[None] | None,
        flight: Flight,
        log: structlog.stdlib.BoundLogger,
        pulse: Pulse,
        clock: Callable[[], float],
    ) -> None:
        self._user = user
        self._clock = clock
        self._session_id = session_id
        self.machine = machine
        self._pool = pool
        self._examiner = examiner
        self._sound = sound
        self._tell = tell
        self._ask_phone = ask_phone
        self._nudge = nudge
        self._way = PhoneWay()
        self._greeting: asyncio.TimerHandle | None = None
        self._tasks = tasks
        self._former = former
        """Closes this user's former session. A bridge that knows no generations could take its leaving for ours."""
        self._loop = asyncio.get_running_loop()
        self._flight = flight
        self._story = Story(log, clock, flight, pulse)
        self._shell: Shell[Event] = Shell(machine, self._perform, TICK, self._record, clock)
        self._attempt: asyncio.Task[None] | None = None
        self._former_place: asyncio.Task[None] | None = None
        """Serves a place that is kept until the next one stands."""
        self._former_seat: SeatClient | None = None
        self._leaving: list[asyncio.Task[None]] = []
        self._seat: SeatClient | None = None
        self._turned = Change()
        """Of its state."""
        self._heard_at: dict[AudioRoute, float] = {}
        self.frames: Counter[AudioRoute] = Counter()
        """That came by each route, presence included, what was sent again left out."""
        self._last_frame: dict[AudioRoute, float] = {}

    @property
    def state(self) -> LinkState:
        return self.machine.state

    @property
    def generation(self) -> Generation:
        return self.machine.generation

    @property
    def place(self) -> SeatClient | None:
        """The place of a bridge that is in the room and can play there; None when none is."""
        seat, machine = self._seat, self.machine
        here = seat is not None and seat.joined and seat.generation == machine.generation and machine.state.placed
        return seat if here else None

    @property
    def coming(self) -> bool:
        """Whether a bridge is on its way into the room."""
        return not self.machine.state.placed and self.machine.state is not LinkState.IDLE

    @property
    def serving(self) -> bool:
        """A task joins for the machine, or hears its stream."""
        return self._attempt is not None and not self._attempt.done()

    async def changed(self) -> None:
        """Returns when the state has changed. Safe to cancel."""
        await self._turned.wait()

    @property
    def ears(self) -> list[HoleListener]:
        """Listeners of the microphone."""
        return self._story.ears

    @property
    def dead_for(self) -> float:
        """Seconds for which audio should be flowing and is not."""
        return self._story.dead_for

    @property
    def trace(self) -> str:
        """The traceparent of the start or fault that goes on; empty while none does."""
        return self._story.trace

    def arrive(self, wanted: Wanted, parent: Origin | None) -> None:
        """A socket of the phone is here; it may have begun a trace."""
        self._way.reached()
        self._story.arrived(numbers=wanted.numbers, parent=parent)
        self._shell.post(wanted)

    def depart(self) -> None:
        """The phone's socket is gone."""
        self._story.departed()
        self._shell.post(Away())

    def post(self, event: Event) -> None:
        """Puts an event into the machine's mailbox."""
        self._shell.post(event)

    def heard(
        self, route: AudioRoute, *, numbered: bool, generation: Generation | None = None, track: bool = False
    ) -> None:
        """Something came by this route (in the room: in the place of `generation`). Few frames need the mailbox."""
        now = self._last_frame[route] = self._clock()
        self.frames[route] += 1
        _received[route].count += 1
        if not numbered:
            self._way.heard(route, track=track)
        if now - self._heard_at.get(route, 0.0) < HEARD_EVERY:
            return
        self._heard_at[route] = now
        self._shell.post(
            AudioReceived(route, self.machine.generation if generation is None else generation, numbered, track)
        )

    @property
    def room_age_ms(self) -> int | None:
        """Milliseconds since something came out of the room; None: nothing has."""
        last = self._last_frame  # each ping asks, and mostly nothing has come
        return round((self._clock() - last[AudioRoute.ROOM]) * 1000) if last and AudioRoute.ROOM in last else None

    def ages(self) -> dict[str, int | None]:
        """Milliseconds since the last frame by each route; None before any."""
        now, last = self._clock(), self._last_frame
        return {
            f"{route.name.lower()}_age_ms": round((now - last[route]) * 1000) if route in last else None
            for route in AudioRoute
        }

    def start(self) -> None:
        """Begins to turn the machine; the owner of the tasks is told its errors."""
        self._shell.start(self._tasks, "audio-link")

    async def close(self, timeout: float, *, leaves: bool = True) -> None:
        """Gives up what is held; returns when the bridge has been told, after `timeout` seconds at most. Without
        `leaves` no bridge is told anything: the next owner's join replaces ours."""
        self._story.departed()
        if self._greeting is not None:
            self._greeting.cancel()
        if leaves:
            self._shell.post(Unwanted())
        self._shell.stop()
        deadline = self._clock() + timeout
        await self._shell.stopped(timeout)
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=max(0.0, deadline - self._clock()))

    def _record(self, record: Record[LinkState]) -> None:
        self._turned.told()
        self._heard_at.clear()
        self._story.changed(record)

    async def _perform(self, effect: Effect) -> None:
        match effect:
            case Join(generation, elsewhere, keeps):
                if keeps and self._former_place is None:
                    self._former_place, self._former_seat = self._attempt, self._seat
                elif self._attempt is not None:
                    await cancelled(self._attempt)
                if not keeps:
                    await self._part_with_former_place()
                self._attempt = self._tasks.spawn(self._serve(generation, elsewhere), f"join-{generation}")
            case Dismiss():
                await self._part_with_former_place()
            case Keep(_, instead_of):
                if self._seat is self._former_seat:  # no bridge was asked yet
                    self._seat = None
                self._leave(instead_of)
                self._attempt, self._former_place = self._former_place, None
                self._seat, self._former_seat = self._former_seat, None
            case Leave(generation):
                await self._part_with_former_place()
                self._leave(generation)
            case AskStatus(generation):
                self._tasks.spawn(self._ask_status(generation), f"status-{generation}")
            case Examine(generation):
                self._tasks.spawn(self._examine(generation), f"examine-{generation}")
            case machine_of.AskPhone(generation):
                self._tasks.spawn(self._ask(generation), f"ask-phone-{generation}")
            case machine_of.InvitePhone():
                self._move(self._way.invite(self._clock()))
            case Notify(notice):
                self._notify(notice)

    def _notify(self, notice: Notice) -> None:
        self._story.told(notice, self.machine.generation)
        self._tell(notice)
        self._move(self._way.told(notice, self._clock()))

    def _move(self, nudge: Nudge | None) -> None:
        """Does what moves a phone that understands no notice, and comes back when more is due."""
        if nudge is not None:
            self._nudge(nudge)
        if self._greeting is not None:
            self._greeting.cancel()
        due = self._way.due
        self._greeting = None if due is None else self._loop.call_at(due, self._greet)

    def _greet(self) -> None:
        self._move(self._way.tick(self._clock()))

    # ---- a place

    def _leave(self, generation: Generation) -> None:
        attempt, self._attempt = self._attempt, None
        seat, self._seat = self._seat, None
        task = self._tasks.spawn(self._give_up(attempt, seat, generation), f"leave-{generation}")
        self._leaving.append(task)
        task.add_done_callback(self._leaving.remove)

    async def _part_with_former_place(self) -> None:
        former, self._former_place, self._former_seat = self._former_place, None, None
        if former is not None:
            await cancelled(former)

    async def _give_up(
        self, attempt: asyncio.Task[None] | None, seat: SeatClient | None, generation: Generation
    ) -> None:
        """A bridge that is in the room is told before its stream ends; one that is on its way is called back first, for
        only then can it not get there after our word."""
        joined = seat is not None and seat.joined
        if attempt is not None and not joined:
            await cancelled(attempt)
        if seat is not None:
            left = await seat.leave("the session does not need it")
            self._story.done("leave", generation, "left" if left else "unanswered", bridge=seat.bridge.target)
        if attempt is not None:
            await cancelled(attempt)

    async def _serve(self, generation: Generation, elsewhere: bool) -> None:
        """One attempt and, when it succeeds, its stream until that ends."""
        earlier = [*self._leaving] if self._former is None else [*self._leaving, self._former]
        if earlier:
            await asyncio.wait(earlier)
        begun = self._clock()
        not_on = self._seat.bridge if elsewhere and self._seat is not None else None
        with self._story.part("join", generation=generation) as span:
            try:
                seat = await self._pool.join(self._user, self._session_id, generation, self._sit, not_on)
            except BridgeError as error:
                span.end(error.trouble.code)
                self._story.done("join", generation, error.trouble.code, took=self._clock() - begun)
                self.post(JoinFailed(generation, error.trouble, error.above, str(error)))
                return
            span.set(bridge=seat.bridge.target)
        try:
            self._story.done("join", generation, "joined", took=self._clock() - begun, bridge=seat.bridge.target)
            self._flight.begin("livekit_in", "bridge_out")
            self.post(Joined(generation))
            odd = OddByte()
            trouble = await seat.listen(lambda chunk: self._take(chunk, generation, odd))
            if self._seat is seat:  # not given up meanwhile
                self._story.lost(generation, trouble, bridge=seat.bridge.target)
                if trouble is BridgeFault.DIED:
                    self._pool.is_lost(seat.bridge)
            self.post(StreamBroke(generation, trouble))
        finally:
            seat.release()

    def _sit(self, seat: SeatClient) -> None:
        self._seat = seat

    def _take(self, chunk: pb.AudioChunk, generation: Generation, odd: OddByte) -> None:
        if chunk.HasField("hops") and generation == self.machine.generation:
            self._flight.told(livekit_in=chunk.hops.livekit_in, bridge_out=chunk.hops.bridge_out)
        if chunk.HasField("news"):
            self._hear_news(chunk.news, generation)
        elif chunk.HasField("number"):
            given = chunk.number
            number = FrameNumber(given.epoch, given.position, given.capture_time_us, given.flags, given.coding)
            try:
                self._sound.microphone.take_numbered(number, chunk.pcm_data, AudioRoute.ROOM)
            except FrameError:
                _malformed.count += 1
                return
            if not number.replayed:
                self.heard(AudioRoute.ROOM, numbered=True, generation=generation)
        elif chunk.pcm_data:
            self._take_unnumbered(chunk, generation, odd)

    def _take_unnumbered(self, chunk: pb.AudioChunk, generation: Generation, odd: OddByte) -> None:
        track = chunk.source == pb.AUDIO_SOURCE_TRACK
        try:
            pcm = odd.whole(chunk.pcm_data) if track else self._sound.unnumbered.samples(chunk.pcm_data, odd)
        except FrameError:
            _malformed.count += 1
            return
        if pcm:
            self._sound.microphone.take_plain(pcm)
            self.heard(AudioRoute.ROOM, numbered=False, generation=generation, track=track)

    def _hear_news(self, news: pb.RoomNews, generation: Generation) -> None:
        hindered = hindered_by(news)
        code = hindered.code if hindered is not None else ""
        self._story.news(generation, phone_here=news.phone_here, leaving=news.leaving, hindered=code)
        if news.leaving and self._seat is not None and self._seat.generation == generation:
            self._pool.is_leaving(self._seat.bridge)
        self.post(News(generation, phone_here=news.phone_here, leaving=news.leaving, hindered=hindered))

    # ---- questions

    async def _ask_status(self, generation: Generation) -> None:
        seat = self._seat
        if seat is not None and seat.generation == generation:
            with self._story.part("ask status", generation=generation):
                status = await seat.status()
            self._story.done("ask_status", generation, status.lost.code if status.lost is not None else "in_room")
            self.post(Status(generation, status.lost))

    async def _examine(self, generation: Generation) -> None:
        seat = self._seat if self._seat is not None and self._seat.generation == generation else None
        with self._story.part("examine", generation=generation):
            evidence = await self._examiner.examine(self._user, seat, self._ask_phone)
        self._story.examined(generation, evidence)
        self.post(Examined(generation, evidence))

    async def _ask(self, generation: Generation) -> None:
        answers = await self._ask_phone()
        self._story.done("ask_phone", generation, "answers" if answers else "silent")
        self.post(PhoneAnswered(generation, answers))
