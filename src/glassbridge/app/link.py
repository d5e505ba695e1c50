"""The connection of one app session: stays with the cloud that owns the user, follows the user to another cloud, and
ends with the session."""

import asyncio
import math
from contextlib import suppress
from typing import Final, Protocol

import structlog
from msgspec.structs import replace

from glassbridge.app.errors import NotConnected, SessionEnded
from glassbridge.app.socket import AppSocket, OnAudio, OnMessage, Unreachable
from glassbridge.core.app_socket import CloudComplaint, Next, SocketEnd, next_socket
from glassbridge.core.app_times import ACKNOWLEDGED_WITHIN, RECONNECT
from glassbridge.core.backoff import Backoff
from glassbridge.runtime.tasks import cancelled
from glassbridge.runtime.world import World
from glassbridge.wire import apps as wire
from glassbridge.wire.close_codes import CloseCode, ComeBack, come_back
from glassbridge.wire.codec import Message, UnknownMessage

log = structlog.get_logger()

GIVE_UP = 150.0
"""Seconds without the cloud: longer than the cloud goes on calling the app."""
SEND_WAIT = 10.0
"""Seconds that a message waits for the cloud to be back."""
NOW_JITTER = 0.5
ASKED_FOR = 20.0
"""Seconds after a cloud has called the app: if a cloud does not know the session in that time, it is another one behind
the same address."""
LOOK_ON = 0.1
"""Seconds between two tries to reach the right cloud, at most: each try reaches any cloud behind the address."""
LEAVE_TIME = 0.3
"""Seconds that the goodbye to a former cloud may take."""

MOVED = -1
"""Instead of a close code: this socket was left for another cloud."""
ENDED: Final[dict[int, SocketEnd]] = {MOVED: SocketEnd.LEFT, CloseCode.POLICY: SocketEnd.REFUSED}
BY_COME_BACK: Final = {
    ComeBack.NO: SocketEnd.GOODBYE,
    ComeBack.NOW: SocketEnd.RESTARTING,
    ComeBack.LATER: SocketEnd.BROKEN,
}
COMPLAINTS: Final[dict[str, CloudComplaint]] = {
    wire.ErrorCode.SESSION_NOT_FOUND: CloudComplaint.NOT_EXPECTED,
    wire.ErrorCode.APP_NOT_STARTED: CloudComplaint.NOT_EXPECTED,
    wire.ErrorCode.INVALID_API_KEY: CloudComplaint.HOPELESS,
    wire.ErrorCode.PACKAGE_NOT_FOUND: CloudComplaint.HOPELESS,
}


class Line(Protocol):
    """The connection of a session, as far as the session uses it."""

    @property
    def connected(self) -> bool: ...

    @property
    def is_over(self) -> bool: ...

    @property
    def asked_again(self) -> bool: ...

    def connect_to(self, url: str, cloud: str = "") -> bool: ...

    async def end(self, why: str, code: CloseCode = CloseCode.NORMAL) -> None: ...

    async def send(self, message: Message) -> None: ...

    async def run(self) -> str: ...


class CloudLink:
    """Used once: `run` until the session is over. `on_message` gets each message of the cloud, first the
    acknowledgement of each socket; `on_audio` gets raw audio."""

    def __init__(
        self, url: str, init: wire.ConnectionInit, on_message: OnMessage, on_audio: OnAudio, world: World
    ) -> None:
        self._world = world
        self._url = url
        self._init = init
        self._on_message = on_message
        self._on_audio = on_audio
        self._log = log.bind(session_id=init.session_id)
        self._socket: AppSocket | None = None
        """The one that the cloud has acknowledged."""
        self._up = asyncio.Event()
        self._called = asyncio.Event()
        """A cloud has called the app, or the session is over: end the pause."""
        self._leave = asyncio.Event()
        """The current socket is to be left for another cloud."""
        self._cloud = self._asking = ""
        """The cloud that last acknowledged a socket, and the cloud that called last. Empty: it has no name, as those of
        the original."""
        self._missed_since = self._asked_at = self._world.monotonic()
        self._let_in_at = -math.inf
        self._error: str | None = None
        """Code of the last complaint on the current socket."""
        self._over: str | None = None
        """Why the session is over."""

    @property
    def connected(self) -> bool:
        return self._socket is not None

    @property
    def is_over(self) -> bool:
        return self._over is not None

    @property
    def asked_again(self) -> bool:
        """A cloud has just called the app, and none has acknowledged a socket since."""
        return self._let_in_at < self._asked_at and self._world.monotonic() - self._asked_at < ASKED_FOR

    def connect_to(self, url: str, cloud: str = "") -> bool:
        """A cloud calls the app to this address: connects there at once. True if it is another cloud than before; then
        the former one is left at once, and its further messages are ignored."""
        moves = cloud != self._cloud if cloud and self._cloud else url != self._url
        self._url, self._asking = url, cloud
        self._missed_since = self._asked_at = self._world.monotonic()
        if moves:
            self._leave.set()
        self._called.set()
        return moves

    async def end(self, why: str, code: CloseCode = CloseCode.NORMAL) -> None:
        """Says goodbye; `run` returns soon."""
        self._over = self._over or why
        self._called.set()
        self._up.set()
        if self._socket is not None:
            await self._socket.close(code)

    async def send(self, message: Message) -> None:
        """Sends it now, or when the cloud is back. Raises NotConnected after SEND_WAIT; SessionEnded. Safe to
        cancel."""
        try:
            async with asyncio.timeout(SEND_WAIT):
                while True:
                    await self._up.wait()
                    if self._over is not None:
                        raise SessionEnded(self._over)
                    socket = self._socket
                    if socket is not None and await socket.say(message):
                        return
                    self._forget(socket)
        except TimeoutError:
            raise NotConnected("the cloud cannot be reached right now") from None

    async def run(self) -> str:
        """Stays connected; returns why the session is over. Safe to cancel."""
        backoff = Backoff(RECONNECT, self._world.chance)
        delay = backoff.next_delay()
        while True:
            await self._pause(delay)
            if self._over is None and self._world.monotonic() - self._missed_since > GIVE_UP:
                self._over = "no cloud has this session any more"
            if self._over is not None:
                self._up.set()
                return self._over
            try:
                self._leave.clear()
                init = replace(self._init, cloud=self._asking or None)
                socket = await AppSocket.open(self._url, init, self._world)
            except Unreachable as error:
                self._log.info("cloud unreachable", error=str(error))
                delay = backoff.next_delay()
                continue
            acknowledged, code = await self._attend(socket)
            if acknowledged:
                backoff.reset()
                self._missed_since = self._world.monotonic()
            delay = self._after(code, backoff)

    async def _pause(self, seconds: float) -> None:
        """Waits, but ends as soon as a cloud calls the app."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._called.wait()
        self._called.clear()

    async def _attend(self, socket: AppSocket) -> tuple[bool, int]:
        """(whether the cloud acknowledged the socket, close code)"""
        self._error = None
        accepted = asyncio.Event()
        listening = asyncio.create_task(
            socket.listen(lambda message: self._hear(message, socket, accepted), self._on_audio), name="app:listen"
        )
        waiting = asyncio.create_task(accepted.wait(), name="app:accepted")
        leaving = asyncio.create_task(self._leave.wait(), name="app:leave")
        try:
            first = asyncio.FIRST_COMPLETED
            done, _ = await asyncio.wait((listening, waiting, leaving), timeout=ACKNOWLEDGED_WITHIN, return_when=first)
            if not done:
                await socket.close(CloseCode.NORMAL)
            else:
                await asyncio.wait((listening, leaving), return_when=first)
            if self._leave.is_set() and self._over is None:
                await self._release(socket)
                return accepted.is_set(), MOVED
            code = await listening
        finally:
            self._forget(socket)
            await cancelled(listening, waiting, leaving)
            await socket.release()
        self._log.info("app socket closed", code=code, error=self._error)
        return accepted.is_set(), code if done else CloseCode.ABNORMAL

    async def _release(self, socket: AppSocket) -> None:
        """Tells the former cloud that the app has gone to another one: it neither calls the app again nor stops it."""
        self._forget(socket)
        release = wire.OwnershipRelease(
            package_name=self._init.package_name, session_id=self._init.session_id, reason="switching_clouds"
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_TIME):
                await socket.say(release)
                await socket.close(CloseCode.NORMAL)
        self._log.info("app socket left", reason="another cloud asks for the session")

    def _hear(self, message: wire.FromCloud | UnknownMessage, socket: AppSocket, accepted: asyncio.Event) -> None:
        if self._leave.is_set() or self._over is not None:
            return
        match message:
            case wire.ConnectionAck(cloud=str(cloud)) if cloud and self._asking not in ("", cloud):
                self._leave.set()  # a cloud that the user has left, behind the same address: the next try may be right
                return
            case wire.ConnectionAck(cloud=cloud):
                self._cloud = cloud if isinstance(cloud, str) else ""
                self._socket = socket
                self._let_in_at = self._world.monotonic()
                self._up.set()
                accepted.set()
            case wire.AppStopped(reason=reason, message=text):
                self._over = text or reason
            case wire.ConnectionError_(code=code):
                self._error = code
        self._on_message(message)

    def _forget(self, socket: AppSocket | None) -> None:
        if self._socket is socket:
            self._socket = None
            if self._over is None:
                self._up.clear()

    def _after(self, code: int, backoff: Backoff) -> float:
        """Seconds until the next attempt."""
        ended = ENDED.get(code) or BY_COME_BACK[come_back(code)]
        complaint = CloudComplaint.NONE if self._error is None else COMPLAINTS.get(self._error, CloudComplaint.OTHER)
        match next_socket(ended, complaint, asked=self.asked_again):
            case Next.LOOK_ON:
                return LOOK_ON * self._world.chance()
            case Next.SOON:
                return NOW_JITTER * self._world.chance()
            case Next.ASKED:
                return GIVE_UP + 1.0
            case Next.NEVER if complaint is CloudComplaint.HOPELESS:
                self._over = self._over or f"the cloud refuses this app ({self._error}): check package name and API key"
            case Next.NEVER:
                self._over = self._over or "the cloud has closed the session"
            case Next.LADDER:
                return backoff.next_delay()
        return 0.0
