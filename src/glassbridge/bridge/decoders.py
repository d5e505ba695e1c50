"""The decoder as its worker sees it: kept running, given sounds, replaced when it is dead or does not answer."""

import asyncio
import os
import random
import socket
import sys
from contextlib import suppress
from signal import SIGKILL, SIGXCPU, strsignal
from time import monotonic
from typing import Final

import structlog

from glassbridge.bridge.decoder import BORN, MAX_MESSAGE, NUMBER, READY, SoundRequest
from glassbridge.bridge.fetch import PlaybackError
from glassbridge.core.backoff import Backoff, Ladder
from glassbridge.runtime.child import Child
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.telemetry import metrics

log = structlog.get_logger()

START_TIMEOUT: Final = 10.0
"""Seconds in which a decoder must be ready; it takes 0.15 s."""
ANSWER_TIMEOUT: Final = 3.0
"""Seconds in which it must have forked a process for a sound; it takes 2 ms."""
SETTLED: Final = 10.0
"""A decoder that lived so long is replaced at once when it dies."""
TRIES: Final = 2
_DECODED_AHEAD: Final = 32 << 10
"""Bytes of PCM that may wait on the socket."""
_ENVIRONMENT: Final = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG")
"""All that a decoder may know of the environment: no secrets."""
_ONE_ARENA: Final = {"MALLOC_ARENA_MAX": "1"}
"""An arena takes 64 MB of addresses, which count as memory of a sound."""


class SoundLine:
    """The worker's end of one sound's socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self.pid = 0
        """Of the sound's process."""

    async def receive(self, within: float) -> bytes:
        """The next message; b"" when the process is gone. Raises TimeoutError. Safe to cancel."""
        async with asyncio.timeout(within):
            try:
                return await self._loop.sock_recv(self._socket, MAX_MESSAGE)
            except ConnectionError:
                return b""

    async def send(self, message: bytes, within: float) -> None:
        """Ignored when the process is gone: receive() says so. Raises TimeoutError."""
        async with asyncio.timeout(within):
            with suppress(ConnectionError):
                await self._loop.sock_sendall(self._socket, message)

    def close(self) -> None:
        """Hangs up: the process is killed. Idempotent."""
        self._socket.close()


class Decoders:
    """Owns the decoder of one worker: one at a time, the next one when it dies. `start()` is for whoever wants it warm;
    the first sound starts it otherwise."""

    def __init__(self, module: str = "glassbridge.bridge.decoder") -> None:
        """`module` is the program."""
        self._module = module
        self._tasks = TaskGroup("decoder", self._failed)
        self._keeping: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._child: Child | None = None
        self._control: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """Of the decoder that takes sounds; None while there is none."""
        return self._child.pid if self._child is not None and self._ready.is_set() else None

    def start(self) -> None:
        """Keeps one from now on. Idempotent."""
        if self._keeping is None or self._keeping.done():
            self._keeping = self._tasks.spawn(self._keep(), "keep")

    async def open(self, request: SoundRequest) -> SoundLine:
        """A process for one sound; close the line when it is not wanted any more. Raises PlaybackError. Safe to
        cancel."""
        self.start()
        for _ in range(TRIES):
            try:
                async with asyncio.timeout(START_TIMEOUT):
                    await self._ready.wait()
            except TimeoutError:
                break
            control = self._control
            if control is None:  # it died in this moment
                continue
            if (line := await self._fork(control, request)) is not None:
                return line
            if control is self._control:
                self._replace()
        raise PlaybackError("no_decoder", "the bridge's decoder does not run: its log says why; try again later")

    async def close(self) -> None:
        """Ends it, and all sounds with it."""
        await self._tasks.close()

    async def _fork(self, control: socket.socket, request: SoundRequest) -> SoundLine | None:
        """None: the decoder does not answer."""
        ours, theirs = _pair()
        line = SoundLine(ours)
        try:
            with theirs:
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _DECODED_AHEAD)
                socket.send_fds(control, [request.encode()], [theirs.fileno()])
            born = await line.receive(ANSWER_TIMEOUT)
        except (OSError, TimeoutError):
            born = b""
        except asyncio.CancelledError:
            line.close()
            raise
        if not born.startswith(BORN):
            line.close()
            return None
        (line.pid,) = NUMBER.unpack_from(born, 1)
        return line

    def _replace(self) -> None:
        if self._child is not None and self._ready.is_set():
            self._ready.clear()
            if self._child.returncode is None:
                log.warning("decoder stalled", pid=self._child.pid, action="replaced")
                with suppress(ProcessLookupError):
                    os.kill(self._child.pid, SIGKILL)  # not its group: sounds that play go on

    async def _keep(self) -> None:
        backoff = Backoff(Ladder(base=0.2, cap=5.0), random.random)
        while True:
            await asyncio.sleep(backoff.next_delay())
            began = monotonic()
            await self._run()
            if monotonic() - began > SETTLED:
                backoff.reset()
            metrics.DECODER_DEATHS.add()

    async def _run(self) -> None:
        """Returns when the decoder is dead."""
        ours, theirs = _pair()
        with ours:
            with theirs:
                argv = [sys.executable, "-m", self._module, str(theirs.fileno())]
                known = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
                try:
                    child = await Child.start(argv, env=known | _ONE_ARENA, pass_fds=[theirs.fileno()])
                except OSError as error:
                    log.warning("decoder not started", error=error.strerror)
                    return
            began = monotonic()
            try:
                async with asyncio.timeout(START_TIMEOUT):
                    hello = await asyncio.get_running_loop().sock_recv(ours, MAX_MESSAGE)
                if hello == READY:
                    self._child, self._control = child, ours
                    self._ready.set()
                    log.info("decoder started", pid=child.pid, took_s=round(monotonic() - began, 3))
                    await child.wait()
            except (TimeoutError, ConnectionError):
                pass
            finally:
                self._ready.clear()
                self._child = self._control = None
                status = await child.stop(0)
            log.warning("decoder died", pid=child.pid, status=status)

    def _failed(self, task: str, error: BaseException) -> None:
        log.error("decoder task failed", task=task, error=type(error).__name__, exc_info=error)


def _pair() -> tuple[socket.socket, socket.socket]:
    """Ours, which does not block, and theirs. Messages stay whole."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, theirs


def death_of_sound(status: int) -> PlaybackError:
    """What an exit status of a sound's process (negative: a signal) means to the caller."""
    if status == -SIGXCPU:
        return PlaybackError("too_costly", "decoding the audio takes too much processor time")
    how = strsignal(-status) if status < 0 else f"status {status}"
    return PlaybackError("decoder_died", f"the decoder of this sound died ({how})")
