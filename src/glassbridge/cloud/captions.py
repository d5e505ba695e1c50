"""Captions of one session: its recogniser stream, opened when there is something to hear, reopened when it fails."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import monotonic

import structlog

from glassbridge.core.backoff import Backoff, Ladder
from glassbridge.core.diagnosis import RECOGNISER_FAILED, RECOGNISER_STUCK, Finding
from glassbridge.runtime.queues import AgedQueue, QueueClosed
from glassbridge.speech.base import Recogniser, RecogniserError, RecogniserStream, Transcript

log = structlog.get_logger()

QUEUE_CHUNKS = 2_000
MAX_AGE = 10.0
"""Seconds that audio waits for a recogniser; older audio is not captioned."""
OPEN_TIMEOUT = 15.0
FINISH_TIMEOUT = 10.0
IDLE = 30.0
"""Seconds without audio after which the stream is given back: recognisers are few."""
STUCK = 10.0
"""Seconds without taking audio that waits, after which a recogniser is replaced: one on a machine that is too busy
takes some now and then, and a new one would only cost more."""
UNAVAILABLE = "Captions are not available"


class Captions:
    """A listener. `show` gets every transcript; `tell` a sentence for people, once for each trouble that lasts;
    `on_health` a finding when the recogniser fails, and None when there is one again."""

    wants_late = True

    def __init__(
        self,
        recogniser: Recogniser,
        show: Callable[[Transcript], None],
        tell: Callable[[str], None],
        on_health: Callable[[Finding | None], None],
        chance: Callable[[], float],
    ) -> None:
        self._recogniser = recogniser
        self._show = show
        self._tell = tell
        self._on_health = on_health
        self._finding: Finding | None = None
        self._queue: AgedQueue[bytes] = AgedQueue(QUEUE_CHUNKS, MAX_AGE)
        self._backoff = Backoff(Ladder(), chance)
        self._stream: RecogniserStream | None = None
        self._number = 0
        """Of the newest stream: what older ones say late is not heard."""
        self._failed = 0
        """Number of the newest stream that failed."""
        self._opened_at = 0.0
        self._broken: list[RecogniserStream] = []
        """Streams that failed and are still to be closed."""
        self.fed = 0
        """Bytes that recognisers were given so far."""
        self._gap = False
        """Something said since the last finish() will never be captioned."""
        self._drops = (0, 0)
        """Chunks dropped by our queue, bytes dropped by the stream, as far as counted."""
        self._trouble = False
        """A stream is wanted and not to be had."""
        self._all_fed = asyncio.Event()
        self._all_fed.set()

    def put(self, pcm: bytes) -> None:
        """Takes samples; never waits."""
        self._all_fed.clear()
        self._queue.put(pcm)

    async def run(self) -> None:
        """Feeds the recogniser until close(). Safe to cancel."""
        while True:
            try:
                async with asyncio.timeout(IDLE if self._stream else None):
                    _, pcm = await self._queue.get()
            except TimeoutError:
                await self._release()
                continue
            except QueueClosed:
                return
            stream = self._stream or await self._open()
            if stream is None:
                return
            if pcm:
                stream.feed(pcm)
                self.fed += len(pcm)
            if stream.stalled >= STUCK:
                self._lose(self._number, RECOGNISER_STUCK, f"it has taken no audio for {stream.stalled:.0f} s")
            if not len(self._queue):
                self._all_fed.set()

    async def finish(self) -> bool:
        """Returns when everything put so far has been captioned; False when some of it never will be.

        Takes FINISH_TIMEOUT seconds at most. Safe to cancel.
        """
        if self._trouble:
            return False
        try:
            async with asyncio.timeout(FINISH_TIMEOUT):
                await self._all_fed.wait()
                if self._stream is not None:
                    await self._stream.finish()
        except (TimeoutError, RecogniserError) as error:
            log.warning("speech not finished", error=type(error).__name__)
            self._gap = True
        self._count_drops()
        complete, self._gap = not self._gap, False
        return complete

    def _count_drops(self) -> None:
        """Notes a gap when something was dropped since the last time; call it before a stream goes, too."""
        drops = self._queue.dropped, self._stream.dropped_bytes if self._stream is not None else 0
        self._gap = self._gap or drops[0] > self._drops[0] or drops[1] > self._drops[1]
        self._drops = drops

    async def close(self) -> None:
        """Gives the stream back; run() has ended or been cancelled before."""
        self._queue.close()
        await self._release()

    async def _open(self) -> RecogniserStream | None:
        """A stream, however long it takes; None when there will never be one."""
        while True:
            await asyncio.sleep(self._backoff.next_delay())
            await self._close_broken()
            self._number = number = self._number + 1
            try:
                async with asyncio.timeout(OPEN_TIMEOUT):
                    stream = await self._recogniser.open(self._show, partial(self._fail, number))
            except (RecogniserError, TimeoutError) as error:
                self._say_once(str(error) or "the recogniser does not answer")
                if isinstance(error, RecogniserError) and not error.retry:
                    return None
                continue
            if self._failed == number:
                self._broken.append(stream)
                continue
            self._trouble = False
            self._judge(None)
            self._stream, self._opened_at = stream, monotonic()
            return stream

    def _say_once(self, reason: str) -> None:
        if not self._trouble:
            log.warning("captions unavailable", error=reason)
            self._judge(replace(RECOGNISER_FAILED, text=f"audio arrives, but it is not captioned: {reason}"))
            self._tell(f"{UNAVAILABLE}: {reason}")
        self._trouble = self._gap = True

    def _judge(self, finding: Finding | None) -> None:
        if finding is not self._finding:
            self._finding = finding
            self._on_health(finding)

    def _fail(self, number: int, error: RecogniserError) -> None:
        """A stream says that it has ended."""
        self._lose(number, RECOGNISER_FAILED, str(error))

    def _lose(self, number: int, finding: Finding, why: str) -> None:
        """A stream is of no use any more; the next one is opened at once, not with the next word."""
        if number != self._number or self._failed == number:
            return
        log.warning("recogniser stream failed", error=why)
        self._judge(finding)
        self._queue.put(b"")
        self._failed = number
        self._gap = True
        if self._stream is not None:
            if monotonic() - self._opened_at >= IDLE:
                self._backoff.reset()
            self._broken.append(self._stream)
            self._stream = None

    async def _close_broken(self) -> None:
        while self._broken:
            await self._broken[0].close()
            del self._broken[0]

    async def _release(self) -> None:
        self._count_drops()
        stream, self._stream = self._stream, None
        self._backoff.reset()
        await self._close_broken()
        if stream is not None:
            await stream.close()
