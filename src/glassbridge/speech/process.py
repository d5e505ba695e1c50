"""A speech process and the streams in it: audio in, transcripts out, without waiting."""

import asyncio
import signal
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic

import msgspec
import structlog

from glassbridge.core.recogniser import Reason
from glassbridge.core.speech_load import USUAL_FITS, Partials
from glassbridge.core.values import BYTES_PER_MS, BYTES_PER_SAMPLE
from glassbridge.runtime.child import Child, lines
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.speech.base import RecogniserError, Transcript
from glassbridge.speech.process_wire import FRAME, Answer, Finished, ProcessOrder, ProcessStatus, Ready, Said, Shed

log = structlog.get_logger()

START_TIMEOUT = 15.0
FINISH_TIMEOUT = 10.0
STOP_TIMEOUT = 1.0
SILENT = 6.0
"""Seconds without a sign of life after which a process is replaced."""
WATCH_EVERY = 1.0
MAX_PENDING_BYTES = 30_000 * BYTES_PER_MS
"""Audio of one stream that may wait for a slow process; the oldest is dropped."""
_UNSENT_BYTES = 200 * BYTES_PER_MS

_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


def _ignore(_: object) -> None: ...


class ProcessStream:
    """A RecogniserStream (speech/base.py), alone or one of many in a process."""

    def __init__(
        self,
        process: "SpeechProcess",
        number: int,
        on_transcript: Callable[[Transcript], None],
        on_lost: Callable[[RecogniserError], None],
    ) -> None:
        self.process = process
        self.number = number
        self._on_transcript = on_transcript
        self._on_lost = on_lost
        self._pending: deque[tuple[ProcessOrder, int, bytes]] = deque()
        self._pending_bytes = 0
        self._position = 0
        self._finishing: deque[asyncio.Future[None]] = deque()
        self._dropped_bytes = 0
        self.ended = False
        """True once nothing more comes, for whatever reason."""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def dropped_bytes(self) -> int:
        """Bytes that were dropped because the process did not keep up."""
        return self._dropped_bytes

    @property
    def stalled(self) -> float:
        """Seconds for which the process has given no sign of life while something waited for it."""
        return self.process.silent if self._pending else 0.0

    @property
    def behind(self) -> float:
        """The process tells no more."""
        return self.stalled

    @property
    def partials(self) -> float | None:
        """Seconds between two partial transcripts now; None: there are only finals."""
        return self.process.pace.interval

    def feed(self, pcm: bytes) -> None:
        """Gives PCM16 LE, 16 kHz, mono, whole samples. Never waits; ignored once ended."""
        if self.ended:
            return
        self._put(ProcessOrder.AUDIO, pcm)
        self._position += len(pcm) // BYTES_PER_SAMPLE
        while self._pending_bytes > MAX_PENDING_BYTES:
            self._drop_oldest()

    async def finish(self) -> None:
        """Finalises what is pending. Raises RecogniserError. Safe to cancel."""
        if self.ended:
            raise RecogniserError("the stream has ended")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._finishing.append(done)
        self._put(ProcessOrder.FINISH, b"")
        try:
            async with asyncio.timeout(FINISH_TIMEOUT):
                await done
        except TimeoutError:
            raise RecogniserError(f"no answer from the recogniser within {FINISH_TIMEOUT:.0f} s") from None

    async def close(self) -> None:
        """Gives the stream back; idempotent; at most 2 s."""
        if not self.ended:
            self._end(RecogniserError("the stream was closed", Reason.CLOSED))
        await self.process.release(self)

    def _put(self, order: ProcessOrder, pcm: bytes) -> None:
        self._pending.append((order, self._position, pcm))
        self._pending_bytes += len(pcm)
        self.process.wake()

    def _drop_oldest(self) -> None:
        """The oldest audio goes; requests to finish stay. The process sees the gap by the positions."""
        index = next(i for i, (order, _, _) in enumerate(self._pending) if order is ProcessOrder.AUDIO)
        size = len(self._pending[index][2])
        del self._pending[index]
        self._pending_bytes -= size
        self._dropped_bytes += size

    # ---- what the process does with it

    def take(self) -> tuple[ProcessOrder, int, bytes] | None:
        """The next thing to send."""
        if not self._pending:
            return None
        order, position, pcm = self._pending.popleft()
        self._pending_bytes -= len(pcm)
        return order, position, pcm

    def say(self, transcript: Transcript) -> None:
        """Something was understood."""
        self._on_transcript(transcript)

    def finished(self) -> None:
        """The oldest request to finish is answered."""
        if self._finishing and not (done := self._finishing.popleft()).done():
            done.set_result(None)

    def lose(self, error: RecogniserError) -> None:
        """The process is gone."""
        if not self.ended:
            self._end(error)
            self._on_lost(error)

    def _end(self, error: RecogniserError) -> None:
        self.ended = True
        self._pending.clear()
        for done in self._finishing:
            if not done.done():
                done.set_exception(error)
                done.exception()  # its caller may have given up waiting
        self._on_transcript = _ignore


class SpeechProcess:
    """Born by start(), ended by close() or by itself; `on_ended` is called once then, with the number of streams that
    are lost. It serves `each` streams in its life and ends with the last one; None: as many as it can bear."""

    def __init__(
        self,
        child: Child,
        on_ended: Callable[["SpeechProcess", int], None],
        each: int | None = None,
        on_status: Callable[[], None] = lambda: None,
    ) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self._lines = lines(child.stdout)
        self._child = child
        self._stdin = child.stdin
        self._stdin.transport.set_write_buffer_limits(high=_UNSENT_BYTES)
        self._on_ended = on_ended
        self._on_status = on_status
        self._each = each
        self._streams: dict[int, ProcessStream] = {}
        self._closing: deque[int] = deque()
        """Streams that the process is to forget."""
        self._numbers = 0
        self._wake = asyncio.Event()
        self._tasks = TaskGroup(f"speech {child.pid}", on_error=self._failed)
        self._helpers: list[asyncio.Task[None]] = []
        """They are not needed once the process is gone."""
        self._heard_at = monotonic()
        self.status = ProcessStatus(Partials.FAST.name, 0.0, 0.0, 0.0, fits=1, room=USUAL_FITS, most=USUAL_FITS)
        self.ended = False

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        on_ended: Callable[["SpeechProcess", int], None],
        each: int | None = None,
        on_status: Callable[[], None] = lambda: None,
    ) -> "SpeechProcess":
        """Returns when the model is loaded. Raises RecogniserError. When cancelled, no process is left."""
        try:
            child = await Child.start(command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        except OSError as error:
            raise RecogniserError(f"no recogniser process can be started: {error.strerror}") from None
        process = cls(child, on_ended, each, on_status)
        try:
            async with asyncio.timeout(START_TIMEOUT):
                word = await process._read()
        except TimeoutError:
            word = None
        except BaseException:
            await child.stop(0)
            raise
        if not isinstance(word, Ready):
            await child.stop(0)
            raise RecogniserError(f"a recogniser process does not start (status {child.returncode})")
        process._run()
        return process

    def _run(self) -> None:
        self._tasks.spawn(self._receive(), "receive")
        self._helpers = [self._tasks.spawn(self._send(), "send"), self._tasks.spawn(self._watch(), "watch")]

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def streams(self) -> int:
        """In use."""
        return len(self._streams)

    @property
    def pace(self) -> Partials:
        """How often there are partial transcripts."""
        return Partials[self.status.pace]

    @property
    def fits(self) -> int:
        """Speakers who may come now; the newest streams are not in the status yet."""
        if self._each is not None:
            return max(0, self._each - self._numbers)
        return max(0, self.status.fits - self._newest)

    @property
    def room(self) -> int:
        """Speakers who may come now, and once it is known what the newest ones cost."""
        return self.fits if self._each is not None else max(0, self.status.room - self._newest)

    @property
    def may_have_room(self) -> bool:
        """A speaker may be admitted now or soon: the machine may only be busy with something else."""
        return self.fits > 0 if self._each is not None else self.status.most > self._newest

    @property
    def _newest(self) -> int:
        return max(0, len(self._streams) - self.status.streams)

    @property
    def silent(self) -> float:
        """Seconds since the last sign of life."""
        return monotonic() - self._heard_at

    @property
    def is_alive(self) -> bool:
        """It has given a sign of life lately: a new stream would not go from one that stands still to another."""
        return self.silent < SILENT / 2

    def open(
        self, on_transcript: Callable[[Transcript], None], on_lost: Callable[[RecogniserError], None]
    ) -> ProcessStream:
        """A new stream."""
        self._numbers += 1
        stream = ProcessStream(self, self._numbers, on_transcript, on_lost)
        self._streams[stream.number] = stream
        stream._put(ProcessOrder.OPEN, b"")
        return stream

    async def release(self, stream: ProcessStream) -> None:
        """A stream is not used any more; at most 2 s."""
        if self._streams.pop(stream.number, None) is not None and not self.ended:
            self._closing.append(stream.number)
            self.wake()
        if self._each is not None and not self._streams and not self.fits:
            await self.close()

    def wake(self) -> None:
        """Something is to be sent."""
        self._wake.set()

    async def close(self) -> None:
        """Ends the process; idempotent; at most 2 s."""
        self._end(None)
        await self._child.stop(STOP_TIMEOUT)
        await self._tasks.close(STOP_TIMEOUT)

    async def _send(self) -> None:
        """In turns: a stream that has much to send holds up no other."""
        with suppress(ConnectionError):  # the process is gone: the receiving side says so
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._closing:
                    await self._write(ProcessOrder.CLOSE, self._closing.popleft(), 0, b"")
                more = True
                while more:
                    more = False
                    for stream in list(self._streams.values()):
                        if (next_ := stream.take()) is not None:
                            more = True
                            order, position, pcm = next_
                            await self._write(order, stream.number, position, pcm)

    async def _write(self, order: ProcessOrder, stream: int, position: int, pcm: bytes) -> None:
        self._stdin.write(FRAME.pack(order, stream, position, len(pcm)) + pcm)
        await self._stdin.drain()

    async def _receive(self) -> None:
        while (answer := await self._read()) is not None:
            self._heard_at = monotonic()
            match answer:
                case Said(number, transcript):
                    if (stream := self._streams.get(number)) is not None:
                        stream.say(transcript)
                case Finished(number):
                    if (stream := self._streams.get(number)) is not None:
                        stream.finished()
                case Shed(number):
                    if (stream := self._streams.pop(number, None)) is not None:
                        stream.lose(RecogniserError(Reason.OVERLOADED.text, Reason.OVERLOADED))
                case ProcessStatus():
                    self.status = answer
                    self._on_status()
        status = await self._child.wait()
        if not self.ended:
            log.warning("a recogniser process died", pid=self._child.pid, status=status, streams=len(self._streams))
        self._end(RecogniserError(f"the recogniser process died (status {status})"))

    async def _read(self) -> Answer | None:
        """None at the end. A line that cannot be read (native code may write there too) is passed over."""
        async for line in self._lines:
            with suppress(msgspec.DecodeError, RecursionError):
                answer: Answer = _answers.decode(line)
                return answer
        return None

    async def _watch(self) -> None:
        """Replaces a process that gives no sign of life. When we stood still ourselves, it gets its time again."""
        looked_at = monotonic()
        while True:
            await asyncio.sleep(WATCH_EVERY)
            now = monotonic()
            if now - looked_at > 2 * WATCH_EVERY:
                self._heard_at = now
            looked_at = now
            if self.silent > SILENT:
                log.warning("a recogniser process is stuck", pid=self._child.pid, seconds=round(self.silent, 1))
                why = f"its process gave no sign of life for {self.silent:.0f} s"
                self._child.signal(signal.SIGKILL)
                self._end(RecogniserError(why, Reason.STUCK))
                return

    def _failed(self, task: str, error: BaseException) -> None:
        log.error("a recogniser process failed", task=task, exc_info=error)
        self._child.signal(signal.SIGKILL)
        self._end(RecogniserError("an error inside the recogniser"))

    def _end(self, error: RecogniserError | None) -> None:
        if self.ended:
            return
        self.ended = True
        for helper in self._helpers:
            if helper is not asyncio.current_task():
                helper.cancel()
        self._stdin.close()
        streams, self._streams = list(self._streams.values()), {}
        self._on_ended(self, 0 if error is None else len(streams))
        for stream in streams:
            if error is not None:
                stream.lose(error)
            else:
                stream._end(RecogniserError("the recogniser is closed", Reason.CLOSED))
