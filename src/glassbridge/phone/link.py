"""The shell around core/phone_link.py: opens and closes sockets, takes and leaves places, as the machine decides.

Its log: `phone socket` and `phone place` for each change of state, with its cause; `recovery` for each attempt, with
its `action`, `cause` and `result`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from glassbridge.core.machine import Record
from glassbridge.core.phone_link import Effect, Event, PhoneLink, Tell
from glassbridge.core.phone_place import Join, Leave, Narrowed, PlaceFailed, PlaceJoined, PlaceLeft, PlaceLost
from glassbridge.core.phone_socket import (
    PING_EVERY,
    CloseSocket,
    ComeBack,
    Hint,
    OpenSocket,
    Ping,
    SocketClosed,
    SocketFailed,
    Start,
    Stop,
    Tick,
)
from glassbridge.core.values import Generation
from glassbridge.livekit.participant import Connector
from glassbridge.phone import events
from glassbridge.phone.events import PhoneEvent
from glassbridge.phone.recovery import Recovery
from glassbridge.phone.room import Room
from glassbridge.phone.socket import CloudSocket, Refused, Unreachable
from glassbridge.runtime.shell import Shell
from glassbridge.runtime.tasks import TaskGroup, cancelled
from glassbridge.runtime.world import World
from glassbridge.telemetry.traces import Span, within
from glassbridge.wire import phone as wire
from glassbridge.wire.close_codes import CloseCode, come_back

log = structlog.get_logger()

CLOSE_TIMEOUT = 4.0

Message = wire.FromCloud | wire.UnknownMessage


class PhoneLinkShell:
    """Sockets and places of one phone. `core_token` signs in, `cloud` is the base URL of the right cloud now, `dial`
    connects to it. `hear` gets what is said by the socket that counts, `on_loss` hears of a socket to which
    nothing is to be said any more, `sent` gives the frames so far into the room and on sockets, `tell` gets the news.
    """

    def __init__(
        self,
        machine: PhoneLink,
        connect: Connector,
        core_token: str,
        cloud: Callable[[], str],
        dial: Callable[[str, Generation], Awaitable[CloudSocket]],
        hear: Callable[[Generation, CloudSocket, Message], Awaitable[None]],
        on_loss: Callable[[CloudSocket], None],
        sent: Callable[[], tuple[int, int]],
        tell: Callable[[PhoneEvent], None],
        on_failure: Callable[[str, BaseException], None],
        world: World,
    ) -> None:
        self.session_id = ""
        """For the log."""
        self.machine = machine
        self._world = world
        self._core_token = core_token
        self._cloud = cloud
        self._dial = dial
        self._hear = hear
        self._on_loss = on_loss
        self._sent = sent
        self._tell = tell
        self.recovery = Recovery()
        self._shell: Shell[Event] = Shell(machine, self._perform, Tick(), self._record, self.now)
        self._tasks = TaskGroup("phone-link", on_failure)
        self.room = Room(tell, self._came_of, connect, self._tasks, world, lambda: self.machine.socket.lag(self.now()))
        self._causes: dict[str, str] = {}
        """Of the newest change of each machine that had one."""
        self._begun: dict[str, float] = {}
        """When the newest attempt of each machine began, monotonic seconds."""
        self._turning: asyncio.Task[None] | None = None
        self._is_narrow = False
        self._conversations: dict[Generation, asyncio.Task[None]] = {}
        self._sockets: dict[Generation, CloudSocket] = {}
        """Those that are open."""

    def now(self) -> float:
        """Seconds on a clock that goes on while the machine sleeps: so a sleep is seen as a deadline that is late."""
        return self._world.since_boot()

    def start(self) -> None:
        """Wants to be connected from now on."""
        self._turning = self._tasks.spawn(self._shell.run(), "machine")
        self.post(Start())

    def post(self, event: Event) -> None:
        """Puts an event into the machine's mailbox."""
        self._shell.post(event)

    def narrow(self, narrow: bool) -> None:
        """Whether the link carries little more than the audio on the socket."""
        if narrow is not self._is_narrow:
            self._is_narrow = narrow
            self.post(Narrowed(narrow))

    async def cut(self) -> None:
        """All connections break silently."""
        await self.room.vanish()
        for socket in list(self._sockets.values()):
            await socket.vanish()

    async def close(self) -> None:
        """Leaves the room, says goodbye, releases everything; idempotent; about 5 s at most."""
        self.post(Stop())
        self._shell.stop()
        if self._turning is not None:
            await asyncio.wait((self._turning,), timeout=1.0)
        await self._tasks.settle(CLOSE_TIMEOUT)
        await self._tasks.close()

    def _record(self, record: Record[Any]) -> None:
        self._causes[record.machine] = record.cause or self._causes.get(record.machine, "started")
        self.recovery.changed(record)
        log.info(
            record.machine.replace("_", " "), generation=record.generation, session_id=self.session_id, **record.fields,
            **self.recovery.fields,
        )  # fmt: skip

    def _log_result(self, action: str, machine: str, generation: Generation, result: str) -> None:
        took = round((self._world.monotonic() - self._begun[machine]) * 1000)
        self.recovery.came_of(action, "" if result in ("open", "joined") else result)
        log.info(
            "recovery", action=action, generation=generation, cause=self._causes[machine], result=result, took_ms=took,
            session_id=self.session_id, **self.recovery.fields,
        )  # fmt: skip

    def _came_of(self, event: PlaceJoined | PlaceFailed | PlaceLost | PlaceLeft) -> None:
        match event:
            case PlaceJoined(place):
                self._log_result("join_room", "phone_place", place, "joined")
            case PlaceFailed(place, reason):
                self._log_result("join_room", "phone_place", place, reason)
        self.post(event)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case OpenSocket(number):
                self._begun["phone_socket"] = self._world.monotonic()
                attempt = self.recovery.part("open_socket")
                task = self._tasks.spawn(self._converse(number, attempt), f"socket-{number}")
                self._conversations[number] = task
                task.add_done_callback(lambda _: self._conversations.pop(number, None))
            case CloseSocket(number, goodbye):
                self._forget(number)
                self._tasks.spawn(self._hang_up(number, goodbye), f"hang-up-{number}")
            case Ping(number, ping):
                self._say(number, wire.Ping(timestamp=ping, sent=self._sent(), every=PING_EVERY))
            case Hint(number):
                self._say(number, wire.NetworkStateChange())
            case Join(place):
                self._begun["phone_place"] = self._world.monotonic()
                self.recovery.part("join_room")
                self.room.join(place, self._cloud(), self._core_token)
            case Leave(place, goodbye):
                self._tasks.spawn(self.room.leave(place, goodbye=goodbye), f"leave-{place}")
            case Tell(situation, text, retry_at):
                retry_in = None if retry_at is None else max(0.0, retry_at - self.now())
                self._tell(events.Told(situation.value, text, retry_in))

    async def _converse(self, number: Generation, attempt: Span) -> None:
        """One attempt and, when it succeeds, its socket until that ends."""
        cloud = self._cloud()
        try:
            with within(attempt):
                socket = await self._dial(cloud, number)
        except Refused as error:
            self._log_result("open_socket", "phone_socket", number, "refused")
            self.post(SocketFailed(number, final=True, reason=str(error)))
            return
        except Unreachable as error:
            self._log_result("open_socket", "phone_socket", number, error.why)
            self._tell(events.SocketChanged("unreachable", cloud, reason=str(error)))
            self.post(SocketFailed(number, final=False, reason=error.why))
            return
        self._sockets[number] = socket
        self._log_result("open_socket", "phone_socket", number, "open")
        self._tell(events.SocketChanged("open", cloud))
        try:
            code = await socket.listen(lambda message: self._listen(number, socket, message))
        finally:
            self._forget(number)
            del self._sockets[number]
        meaning = _meaning(code)
        self._tell(events.SocketChanged("closed", cloud, code, meaning))
        back = ComeBack[come_back(code).name]
        reason = meaning if back is not ComeBack.NO else f"the cloud closed the connection: {meaning}"
        self.post(SocketClosed(number, back, reason))

    async def _listen(self, number: Generation, socket: CloudSocket, message: Message) -> None:
        if number in (self.machine.socket.generation, self.machine.socket.kept):
            await self._hear(number, socket, message)

    async def _hang_up(self, number: Generation, goodbye: bool) -> None:
        socket = self._sockets.get(number)
        if socket is None:
            if (attempt := self._conversations.get(number)) is not None:
                await cancelled(attempt)
        elif goodbye:
            await socket.close(CloseCode.NORMAL)
        else:
            await socket.vanish()

    def _forget(self, number: Generation) -> None:
        if (socket := self._sockets.get(number)) is not None:
            self._on_loss(socket)

    def _say(self, number: Generation, message: wire.Message) -> None:
        if (socket := self._sockets.get(number)) is not None:
            self._tasks.spawn(socket.say(message), "say")


def _meaning(code: int) -> str:
    try:
        return CloseCode(code).meaning  # type: ignore[call-arg]
    except ValueError:
        return f"code {code}"
