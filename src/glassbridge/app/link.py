"""Keeps one session connected to its cloud, and knows when that is over."""

import asyncio
import random
from contextlib import suppress
from time import monotonic

import structlog

from glassbridge.app.errors import NotConnected, SessionEnded
from glassbridge.app.socket import AppSocket, OnAudio, OnMessage, Unreachable
from glassbridge.core.backoff import Backoff, Ladder
from glassbridge.runtime.tasks import cancelled
from glassbridge.wire import apps as wire
from glassbridge.wire.close_codes import CloseCode, ComeBack, come_back
from glassbridge.wire.codec import Message, UnknownMessage

log = structlog.get_logger()

RECONNECT = Ladder(base=0.25, cap=5.0)
GIVE_UP = 150.0
"""Seconds without the cloud: longer than it goes on asking for the app."""
SEND_WAIT = 10.0
"""Seconds that a message waits for the cloud to be back."""
ACK_TIMEOUT = 5.0
NOW_JITTER = 0.5

ASK_FIRST = frozenset({wire.ErrorCode.SESSION_NOT_FOUND, wire.ErrorCode.APP_NOT_STARTED})
"""The cloud does not expect us (it may have been started anew): it will ask when it does."""
HOPELESS = frozenset({wire.ErrorCode.INVALID_API_KEY, wire.ErrorCode.PACKAGE_NOT_FOUND})


class Link:
    """Used once: `run` until the session is over. `on_message` hears what the cloud says, the acknowledgement of each
    socket first; `on_audio` raw audio."""

    def __init__(self, url: str, init: wire.ConnectionInit, on_message: OnMessage, on_audio: OnAudio) -> None:
        self._url = url
        self._init = init
        self._on_message = on_message
        self._on_audio = on_audio
        self._log = log.bind(session_id=init.session_id)
        self._socket: AppSocket | None = None
        """The one that the cloud has acknowledged."""
        self._up = asyncio.Event()
        self._nudged = asyncio.Event()
        self._missed_since = monotonic()
        self._error: str | None = None
        """Code of the last complaint on the current socket."""
        self._over: str | None = None
        """Why the session is over."""

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def nudge(self, url: str) -> None:
        """The cloud asks for us: at this address, now."""
        self._url = url
        self._missed_since = monotonic()
        self._nudged.set()

    async def end(self, why: str, code: CloseCode = CloseCode.NORMAL) -> None:
        """Says goodbye; `run` returns soon."""
        self._over = self._over or why
        self._nudged.set()
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
        backoff = Backoff(RECONNECT, random.random)
        delay = backoff.next_delay()
        while True:
            await self._pause(delay)
            if self._over is None and monotonic() - self._missed_since > GIVE_UP:
                self._over = "no cloud has this session any more"
            if self._over is not None:
                self._up.set()
                return self._over
            try:
                socket = await AppSocket.open(self._url, self._init)
            except Unreachable as error:
                self._log.info("cloud unreachable", error=str(error))
                delay = backoff.next_delay()
                continue
            acknowledged, code = await self._attend(socket)
            if acknowledged:
                backoff.reset()
                self._missed_since = monotonic()
            delay = self._after(code, backoff)

    async def _pause(self, seconds: float) -> None:
        """Waits, but not on when the cloud asks for us."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._nudged.wait()
        self._nudged.clear()

    async def _attend(self, socket: AppSocket) -> tuple[bool, int]:
        """(whether the cloud let us in, close code)"""
        self._error = None
        accepted = asyncio.Event()
        listening = asyncio.create_task(
            socket.listen(lambda message: self._hear(message, socket, accepted), self._on_audio), name="app:listen"
        )
        waiting = asyncio.create_task(accepted.wait(), name="app:accepted")
        try:
            await asyncio.wait((listening, waiting), timeout=ACK_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
            silent = not accepted.is_set() and not listening.done()
            if silent:
                await socket.close(CloseCode.NORMAL)
            code = await listening
        finally:
            self._forget(socket)
            await cancelled(listening, waiting)
        self._log.info("app socket closed", code=code, error=self._error)
        return accepted.is_set(), CloseCode.ABNORMAL if silent else code

    def _hear(self, message: wire.FromCloud | UnknownMessage, socket: AppSocket, accepted: asyncio.Event) -> None:
        match message:
            case wire.ConnectionAck():
                self._socket = socket
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
        if self._error in ASK_FIRST:
            return GIVE_UP + 1.0
        if self._error in HOPELESS:
            self._over = self._over or f"the cloud refuses this app ({self._error}): check package name and API key"
        match come_back(code):
            case ComeBack.NO:
                self._over = self._over or "the cloud has closed the session"
            case ComeBack.NOW:
                return NOW_JITTER * random.random()  # noqa: S311 - jitter
            case ComeBack.LATER:
                pass
        return backoff.next_delay()
