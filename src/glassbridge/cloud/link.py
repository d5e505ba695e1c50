"""The shell around the audio link (core/audio_link.py): turns its effects into calls to a bridge, and what bridges do
into its events."""

import asyncio
from collections.abc import Callable

import structlog

from glassbridge.cloud.audio import Microphone, OddByte
from glassbridge.cloud.bridge_client import BridgeError, BridgePool, Seat
from glassbridge.core.audio_link import (
    AskStatus,
    AudioLink,
    Effect,
    Event,
    Heard,
    Join,
    Joined,
    JoinFailed,
    Leave,
    LinkState,
    Notice,
    Notify,
    Path,
    Status,
    StreamBroke,
    Tick,
    Unwanted,
)
from glassbridge.core.machine import Record
from glassbridge.core.values import Generation, UserId
from glassbridge.runtime.shell import Shell
from glassbridge.runtime.tasks import TaskGroup, cancelled
from glassbridge.wire import livekit_bridge_pb2 as pb
from glassbridge.wire.audio_frames import FrameNumber

HEARD_EVERY = 0.25
"""Seconds after a frame in which further ones are not told to the machine."""

log = structlog.get_logger()


class LinkShell:
    """Owned by one session. `tell` gets each notice for the phone."""

    def __init__(
        self,
        user: UserId,
        session_id: str,
        machine: AudioLink,
        pool: BridgePool,
        microphone: Microphone,
        tell: Callable[[Notice], None],
        tasks: TaskGroup,
        former: asyncio.Task[None] | None,
    ) -> None:
        self._user = user
        self._machine = machine
        self._pool = pool
        self._microphone = microphone
        self._tell = tell
        self._tasks = tasks
        self._former = former
        """Closes this user's former session. A bridge that knows no generations could take its leaving for ours."""
        self._log = log.bind(user_id=user, session_id=session_id)
        self._shell: Shell[Event] = Shell(machine, self._perform, Tick(), self._record)
        self._turning: asyncio.Task[None] | None = None
        self._attempt: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._seat: Seat | None = None
        self._heard_at: dict[Path, float] = {}
        self._loop = asyncio.get_running_loop()

    @property
    def state(self) -> LinkState:
        return self._machine.state

    @property
    def generation(self) -> Generation:
        return self._machine.generation

    def post(self, event: Event) -> None:
        """Puts an event into the machine's mailbox."""
        self._shell.post(event)

    def heard(self, path: Path, *, numbered: bool, generation: Generation | None = None) -> None:
        """Something came by this path (in the room: in the place of `generation`). Few frames need the mailbox."""
        now = self._loop.time()
        if (
            self._machine.state in (LinkState.LIVE, LinkState.IDLE)
            and now - self._heard_at.get(path, 0.0) < HEARD_EVERY
        ):
            return
        self._heard_at[path] = now
        self._shell.post(Heard(path, self._machine.generation if generation is None else generation, numbered))

    def start(self) -> None:
        """Begins to turn the machine; what goes wrong in it is heard by the owner of the tasks."""
        self._turning = self._tasks.spawn(self._shell.run(), "audio-link")

    async def close(self, timeout: float) -> None:
        """Gives up what is held; returns when the bridge has been told, after `timeout` seconds at most."""
        self._shell.post(Unwanted())
        self._shell.stop()
        deadline = self._loop.time() + timeout
        if self._turning is not None:
            await asyncio.wait((self._turning,), timeout=timeout)
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=max(0.0, deadline - self._loop.time()))

    def _record(self, record: Record[LinkState]) -> None:
        self._log.info(
            "audio link", old=record.old.label, on=record.event, new=record.new.label,
            generation=record.generation, cause=record.cause,
        )  # fmt: skip

    async def _perform(self, effect: Effect) -> None:
        match effect:
            case Join(generation):
                if self._attempt is not None:
                    await cancelled(self._attempt)
                self._attempt = self._tasks.spawn(self._serve(generation), f"join-{generation}")
            case Leave(generation):
                attempt, self._attempt = self._attempt, None
                seat, self._seat = self._seat, None
                task = self._tasks.spawn(self._give_up(attempt, seat), f"leave-{generation}")
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)
            case AskStatus(generation):
                self._tasks.spawn(self._ask(generation), f"status-{generation}")
            case Notify(notice):
                self._log.info("audio state", state=notice.state.value, code=notice.code)
                self._tell(notice)

    async def _give_up(self, attempt: asyncio.Task[None] | None, seat: Seat | None) -> None:
        """A bridge that is in the room is told before its stream ends; one that is on its way is called back first, for
        only then can it not get there after our word."""
        joined = seat is not None and seat.joined
        if attempt is not None and not joined:
            await cancelled(attempt)
        if seat is not None:
            await seat.leave("the session does not need it")
        if attempt is not None:
            await cancelled(attempt)

    async def _serve(self, generation: Generation) -> None:
        """One attempt and, when it succeeds, its stream until that ends."""
        earlier = [*self._leaving] if self._former is None else [*self._leaving, self._former]
        if earlier:
            await asyncio.wait(earlier)
        try:
            seat = await self._pool.join(self._user, generation, self._sit)
        except BridgeError as error:
            self.post(JoinFailed(generation, error.trouble))
            return
        try:
            self.post(Joined(generation))
            odd = OddByte()
            trouble = await seat.listen(lambda chunk: self._take(chunk, generation, odd))
            self.post(StreamBroke(generation, trouble))
        finally:
            seat.release()

    def _sit(self, seat: Seat) -> None:
        self._seat = seat

    async def _ask(self, generation: Generation) -> None:
        seat = self._seat
        if seat is not None and seat.generation == generation:
            self.post(Status(generation, await seat.status()))

    def _take(self, chunk: pb.AudioChunk, generation: Generation, odd: OddByte) -> None:
        if chunk.HasField("number"):
            given = chunk.number
            number = FrameNumber(given.epoch, given.position, given.capture_time_us, given.flags, given.coding)
            self._microphone.take_numbered(number, chunk.pcm_data)
            if not number.replayed:
                self.heard(Path.ROOM, numbered=True, generation=generation)
        elif chunk.pcm_data:
            self._microphone.take_plain(odd.whole(chunk.pcm_data))
            self.heard(Path.ROOM, numbered=False, generation=generation)
