"""A stream of speech and the process behind it: audio in, transcripts out, never waiting for one another."""

import asyncio
import signal
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic

import msgspec
import structlog

from glassbridge.core.recogniser import Reason
from glassbridge.core.values import BYTES_PER_MS, BYTES_PER_SAMPLE
from glassbridge.runtime.child import Child, lines
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.speech.base import RecogniserError, Transcript
from glassbridge.speech.worker import AUDIO, FINISH, FINISHED, FRAME, READY

log = structlog.get_logger()

START_TIMEOUT = 15.0
FINISH_TIMEOUT = 10.0
STOP_TIMEOUT = 1.0
MAX_PENDING_BYTES = 30_000 * BYTES_PER_MS
"""Audio that may wait for a slow process, beside the 2 s that its pipe holds; the oldest is dropped."""
_UNSENT_BYTES = 200 * BYTES_PER_MS

_answers = msgspec.json.Decoder(Transcript | str)


def _ignore(_: object) -> None: ...


class RecogniserProcess:
    """A RecogniserStream (speech/base.py), started before anybody needs it and attached to its owner later."""

    def __init__(self, child: Child, on_ended: Callable[["RecogniserProcess"], None]) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self._lines = lines(child.stdout)
        self._child = child
        self._stdin = child.stdin
        self._stdin.transport.set_write_buffer_limits(high=_UNSENT_BYTES)
        self._on_ended = on_ended
        self._on_transcript: Callable[[Transcript], None] = _ignore
        self._on_lost: Callable[[RecogniserError], None] = _ignore
        self._pending: deque[tuple[int, int, bytes]] = deque()
        self._pending_bytes = 0
        self._wake = asyncio.Event()
        self._position = 0
        self._finishing: deque[asyncio.Future[None]] = deque()
        self._tasks = TaskGroup(f"recogniser {child.pid}", on_error=self._failed)
        self._dropped_bytes = 0
        self._taken_at = 0.0
        self.ended = False
        """True once nothing more comes, for whatever reason."""

    @classmethod
    async def start(
        cls, command: Sequence[str], on_ended: Callable[["RecogniserProcess"], None]
    ) -> "RecogniserProcess":
        """Returns when the model is loaded. Raises RecogniserError. When cancelled, no process is left."""
        pipe = asyncio.subprocess.PIPE
        try:
            child = await Child.start(command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)
        except OSError as error:
            raise RecogniserError(f"no recogniser process can be started: {error.strerror}") from None
        process = cls(child, on_ended)
        try:
            async with asyncio.timeout(START_TIMEOUT):
                word = await process._read()
        except TimeoutError:
            word = None
        except BaseException:
            await child.stop(0)
            raise
        if word != READY:
            await child.stop(0)
            raise RecogniserError(f"a recogniser process does not start (status {child.returncode})")
        process._run()
        return process

    def _run(self) -> None:
        self._tasks.spawn(self._receive(), "receive")
        self._sender = self._tasks.spawn(self._send(), "send")

    @property
    def pid(self) -> int:
        return self._child.pid

    def attach(self, on_transcript: Callable[[Transcript], None], on_lost: Callable[[RecogniserError], None]) -> None:
        """From now on this is somebody's stream."""
        self._on_transcript, self._on_lost = on_transcript, on_lost

    @property
    def dropped_bytes(self) -> int:
        """Bytes that were dropped because the recogniser did not keep up."""
        return self._dropped_bytes

    @property
    def stalled(self) -> float:
        """Seconds for which audio has been waiting and none was taken."""
        return monotonic() - self._taken_at if self._pending else 0.0

    @property
    def partials(self) -> float:
        """They come as they can."""
        return 0.0

    def feed(self, pcm: bytes) -> None:
        """Gives PCM16 LE, 16 kHz, mono, whole samples. Never waits; ignored once ended."""
        if self.ended:
            return
        if not self._pending:
            self._taken_at = monotonic()
        self._queue(AUDIO, pcm)
        self._position += len(pcm) // BYTES_PER_SAMPLE
        while self._pending_bytes > MAX_PENDING_BYTES:
            self._drop_oldest()

    async def finish(self) -> None:
        """Finalises what is pending. Raises RecogniserError. Safe to cancel."""
        if self.ended:
            raise RecogniserError("the stream has ended")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._finishing.append(done)
        self._queue(FINISH, b"")
        try:
            async with asyncio.timeout(FINISH_TIMEOUT):
                await done
        except TimeoutError:
            raise RecogniserError(f"no answer from the recogniser within {FINISH_TIMEOUT:.0f} s") from None

    async def close(self) -> None:
        """Ends the process; idempotent; at most 2 s."""
        self._end(None)
        self._on_transcript = _ignore
        await self._child.stop(STOP_TIMEOUT)
        await self._tasks.close(STOP_TIMEOUT)

    def _queue(self, kind: int, pcm: bytes) -> None:
        self._pending.append((kind, self._position, pcm))
        self._pending_bytes += len(pcm)
        self._wake.set()

    def _drop_oldest(self) -> None:
        """The oldest audio goes; requests to finish stay. The process sees the gap by the positions."""
        index = next(i for i, (kind, _, _) in enumerate(self._pending) if kind == AUDIO)
        size = len(self._pending[index][2])
        del self._pending[index]
        self._pending_bytes -= size
        self._dropped_bytes += size

    async def _send(self) -> None:
        with suppress(ConnectionError):  # the process is gone: the receiving side says so
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._pending:
                    kind, position, pcm = self._pending.popleft()
                    self._pending_bytes -= len(pcm)
                    self._stdin.write(FRAME.pack(kind, position, len(pcm)) + pcm)
                    await self._stdin.drain()
                    self._taken_at = monotonic()

    async def _receive(self) -> None:
        while (answer := await self._read()) is not None:
            if isinstance(answer, Transcript):
                self._on_transcript(answer)
            elif answer == FINISHED and self._finishing and not (done := self._finishing.popleft()).done():
                done.set_result(None)
        status = await self._child.wait()
        if not self.ended:
            log.warning("a recogniser process died", pid=self._child.pid, status=status)
        self._end(RecogniserError(f"the recogniser process died (status {status})"))

    async def _read(self) -> Transcript | str | None:
        """None at the end. A line that cannot be read (native code may write there too) is passed over."""
        async for line in self._lines:
            with suppress(msgspec.DecodeError, RecursionError):
                answer: Transcript | str = _answers.decode(line)
                return answer
        return None

    def _failed(self, task: str, error: BaseException) -> None:
        log.error("a recogniser stream failed", task=task, exc_info=error)
        self._child.signal(signal.SIGKILL)
        self._end(RecogniserError("an error inside the recogniser"))

    def _end(self, error: RecogniserError | None) -> None:
        if self.ended:
            return
        self.ended = True
        self._sender.cancel()
        self._stdin.close()
        self._pending.clear()
        for done in self._finishing:
            if not done.done():
                done.set_exception(error or RecogniserError("the stream was closed", Reason.CLOSED))
        self._on_ended(self)
        if error is not None:
            self._on_lost(error)
