"""The shell of a recognition: the ear of one user for one language. Audio goes in, transcripts with the times of the
session come out, and streams of the recogniser come and go behind it.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any

import structlog

from glassbridge.core import slowness
from glassbridge.core.machine import Record
from glassbridge.core.recogniser import (
    Audio,
    Close,
    Effect,
    Event,
    Fault,
    Feed,
    Healthy,
    Lost,
    Open,
    Opened,
    Reason,
    Recognition,
    RecognitionState,
    Release,
    SpeechBegins,
    SpeechEnds,
    Subscribed,
    Tick,
    Unsubscribed,
)
from glassbridge.core.slowness import Slow
from glassbridge.core.speech_clock import Lag, LagBook, StreamClock
from glassbridge.core.spoken import Piece, Spoken
from glassbridge.core.subscriptions import AUTO
from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE
from glassbridge.runtime.change import Change
from glassbridge.runtime.direct import DirectShell
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.speech.base import RecogniserError, RecogniserStream, Transcript, Want
from glassbridge.speech.supervisor import CLOSE_TIMEOUT, FINISH_TIMEOUT, Speech

_COMING = (RecognitionState.OPENING, RecognitionState.WAITING)
LAG_TOLD, LAG_BAD, LAG_WORST = 2.0, 5.0, 15.0
"""Seconds from the last sample to the answer that are told, ever louder."""


class Ear:
    """Born subscribed; everything that it owns ends in close(). All but finish() and close() never waits.

    `heard` gets every transcript; `trouble` a fault when nothing is understood any more, None when it is again; `slow`
    how late captions are, None when they are in time again. Not `measured`: what it hears was said some time ago, and
    how late that is understood says nothing.
    """

    def __init__(
        self,
        speech: Speech,
        want: Want,
        heard: Callable[[Transcript], None],
        trouble: Callable[[Fault | None], None],
        slow: Callable[[Slow | None], None] = lambda _slow: None,
        *,
        measured: bool = True,
        **about: str,
    ) -> None:
        self.want = want
        self._measured = measured
        self._speech = speech
        self._heard = heard
        self._trouble = trouble
        self._slow = slow
        self._log = structlog.get_logger().bind(language=want.language, target=want.target, **about)
        self._machine = Recognition(random.random, speech.recogniser.times)
        self._shell: DirectShell[Event] = DirectShell(self._machine, self._perform, Tick(), self._record)
        self._slowness: DirectShell[slowness.Event] = DirectShell(
            slowness.Slowness(), self._tell_of_slowness, slowness.Tick(), self._record_slowness
        )
        self._is_slow = self._is_crowded_out = False
        self._partials: float | None = 0.0
        """What the stream said last of its partial transcripts."""
        self._tasks = TaskGroup(f"ear:{want.language}", self._failed)
        self._spoken = Spoken()
        self._stream: RecogniserStream | None = None
        """What is fed."""
        self._made: dict[int, RecogniserStream] = {}
        """Opened, and not yet fed."""
        self._died: dict[int, RecogniserError] = {}
        """Ended before they were opened."""
        self._opening: asyncio.Task[Any] | None = None
        self._clocks: dict[int, StreamClock] = {}
        """Of the streams that may still answer."""
        self._fed_to = 0
        self._passed = 0
        """Nothing before is pending: it is finally understood, or what is pending begins here."""
        self._fault: Fault | None = None
        self.fed = 0
        """Bytes that streams were given."""
        self._gap = False
        """Something said since the last finish() will never be understood."""
        self._drops = (0, 0)
        self._changed = Change()
        self.lags = LagBook()
        self._shell.step(Subscribed())

    # ---- what is said

    def put(self, piece: Piece) -> None:
        """The user speaks."""
        self._spoken.keep(piece)
        self._shell.step(Audio())
        if self._stream is not None:
            self._feed(self._stream)
        elif self._measured and self._fault is None and (waited := self._spoken.waits(piece.came_at)) > slowness.LATE:
            self._slowness.step(slowness.Answered(waited))

    def pass_by(self, piece: Piece) -> None:
        """Silence: only its end may belong to the next words."""
        self._spoken.pass_by(piece)

    def begins(self, position: int) -> None:
        """The user begins to speak."""
        self._spoken.begins(position)
        self._shell.step(SpeechBegins())

    def ends(self) -> None:
        """The user has stopped speaking, and all of the speech is here."""
        self._shell.step(SpeechEnds())

    def _feed(self, stream: RecogniserStream) -> None:
        clock, now = self._clocks[self._machine.stream], monotonic()
        for piece in self._spoken.take():
            stream.feed(piece.pcm)
            clock.fed(len(piece.pcm) // BYTES_PER_SAMPLE, piece.end, piece.came_at, now)
            self._fed_to = piece.end
            self.fed += len(piece.pcm)
        if self._measured and (partials := stream.partials) != self._partials:
            self._partials = partials
            self._slowness.step(slowness.Paced(partials))
        if stream.stalled >= self._speech.recogniser.stuck:
            why = f"it has taken no audio for {stream.stalled:.0f} s"
            self._lost(self._machine.stream, RecogniserError(why, Reason.STUCK))

    async def finish(self) -> bool:
        """Returns when everything put so far was understood; False when some of it never will be.

        Takes FINISH_TIMEOUT seconds at most. Safe to cancel.
        """
        end = self._spoken.end
        try:
            async with asyncio.timeout(FINISH_TIMEOUT):
                while not await self._finish_stream(end):
                    pass
        except (TimeoutError, RecogniserError) as error:
            self._log.warning("speech not finished", error=type(error).__name__)
            self._gap = True
        self._count_drops()
        deaf = self._is_refused or (self._machine.state is RecognitionState.RESTING and self._spoken.waiting)
        complete, self._gap = not self._gap and not deaf, False
        return complete

    async def _finish_stream(self, end: int) -> bool:
        """Once a stream is there, or none will be. False: it was lost meanwhile, and what it was given is given again.
        If the user speaks again by then, the speech is not cut short: the stream ends the utterance itself.

        Raises RecogniserError.
        """
        while self._machine.state in _COMING and not self._is_refused:
            await self._change()
        stream, to = self._stream, self._fed_to
        if stream is None:
            return True
        if self._spoken.end > end:
            while self._stream is stream and self._passed < end:
                await self._change()
            return self._passed >= end
        try:
            await stream.finish()
        except RecogniserError:
            if self._stream is stream or self._machine.state not in _COMING:
                raise
            return False
        self._spoken.understood(to)
        return True

    async def fed_some(self) -> None:
        """Returns when a stream was given something. Safe to cancel."""
        while not self.fed:
            await self._change()

    async def _change(self) -> None:
        await self._changed.wait()

    @property
    def _is_refused(self) -> bool:
        return self._fault is not None and self._fault.refused

    def _count_drops(self) -> None:
        """Notes a gap when something was dropped since the last time; call it before a stream goes, too."""
        drops = self._spoken.dropped, self._stream.dropped_bytes if self._stream is not None else 0
        self._gap = self._gap or drops[0] > self._drops[0] or drops[1] > self._drops[1]
        self._drops = drops

    # ---- its end

    def retire(self) -> None:
        """There is no subscriber any more."""
        self._shell.step(Unsubscribed())

    async def close(self) -> None:
        """Releases everything; takes CLOSE_TIMEOUT seconds at most."""
        self._shell.step(Close())
        self._shell.stop()
        self._slowness.stop()
        self._speech.slow -= self._is_slow
        self._speech.crowded_out -= self._measured and self._is_crowded_out
        self._is_slow = self._is_crowded_out = False
        await self._tasks.settle(CLOSE_TIMEOUT)
        await self._tasks.close()

    # ---- what the machine wants done

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Open(number):
                self._opening = self._spawn(self._open(number), "open")
            case Feed(number):
                self._stream = self._made.pop(number)
                self._clocks[number] = StreamClock()
                self._drops = self._drops[0], 0
                if self._is_crowded_out:
                    self._spoken.crowded_out()
                self._feed(self._stream)
            case Release(number, finish):
                self._release(number, finish=finish)
            case Fault():
                self._judge(effect)
            case Healthy():
                self._judge(None)
        self._changed.told()

    def _judge(self, fault: Fault | None) -> None:
        crowded_out = fault is not None and fault.reason.crowded
        if self._measured:
            self._speech.crowded_out += crowded_out - self._is_crowded_out
        self._fault, self._is_crowded_out = fault, crowded_out
        self._trouble(fault)

    async def _open(self, number: int) -> None:
        try:
            stream = await self._speech.open(self.want, partial(self._hear, number), partial(self._lost, number))
        except RecogniserError as error:
            self._speech.note(error)
            self._shell.step(Lost(number, error.reason, str(error)))
            return
        if (early := self._died.pop(number, None)) is not None:
            self._discard(stream)
            self._shell.step(Lost(number, early.reason, str(early)))
            return
        self._made[number] = stream
        self._shell.step(Opened(number))

    def _hear(self, number: int, said: Transcript) -> None:
        clock = self._clocks.get(number)
        if clock is None:
            return
        begin, end = clock.begin(said.start_ms), clock.end(said.end_ms)
        self._passed = max(self._passed, end if said.final else begin)
        self._changed.told()
        if said.final:
            self._spoken.understood(end)
        lag = clock.lag(said.end_ms, monotonic()) if self._measured else None
        if lag is not None and said.text:
            self._note_lag(lag, final=said.final)
        per_ms = SAMPLE_RATE // 1000
        self._heard(
            replace(
                said,
                start_ms=min(begin, end) // per_ms,
                end_ms=end // per_ms,
                language=said.language or (None if self.want.language == AUTO else self.want.language),
                provider=said.provider or self._speech.recogniser.name,
            )
        )

    def _note_lag(self, lag: Lag, *, final: bool) -> None:
        self._slowness.step(slowness.Answered(lag.total))
        if not final:
            self._speech.partial_lagged(lag.total)
            return
        self.lags.note(lag)
        self._speech.lagged(lag.total)
        told = self._log.bind(waited=round(lag.waited, 2), recognised=round(lag.recognised, 2))
        if lag.total >= LAG_WORST:
            told.error("captions lag")
        elif lag.total >= LAG_BAD:
            told.warning("captions lag")
        elif lag.total >= LAG_TOLD:
            told.info("captions lag")

    def _tell_of_slowness(self, effect: slowness.Effect) -> None:
        slow = effect if isinstance(effect, Slow) else None
        self._speech.slow += (slow is not None) - self._is_slow
        self._is_slow = slow is not None
        self._slow(slow)

    def _record_slowness(self, record: Record[slowness.SlownessState]) -> None:
        self._log.info("captions slow" if record.new is slowness.SlownessState.SLOW else "captions in time")

    def _lost(self, number: int, error: RecogniserError) -> None:
        """A stream has ended; may come late, and before it was opened."""
        if number != self._machine.stream or self._machine.state is RecognitionState.ENDED:
            return
        self._speech.note(error)
        self._log.warning("recogniser stream failed", reason=error.reason.code, error=str(error))
        if not self._machine.state.open:
            self._died[number] = error
            return
        self._count_drops()
        self._spoken.lost()
        self._let_go(number)
        self._changed.told()
        self._shell.step(Lost(number, error.reason, str(error)))

    def _let_go(self, number: int) -> None:
        """The stream is of no use any more."""
        stream, self._stream = self._stream, None
        self._clocks.pop(number, None)
        if stream is not None:
            self._discard(stream)

    def _discard(self, stream: RecogniserStream) -> None:
        self._spawn(self._speech.release(stream, finish=False), "release")

    def _release(self, number: int, *, finish: bool) -> None:
        self._count_drops()
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        if (made := self._made.pop(number, None)) is not None:
            self._discard(made)
        elif self._stream is not None and finish:
            stream, self._stream = self._stream, None
            self._spawn(self._finish_and_release(number, stream), "release")
        else:
            self._let_go(number)

    async def _finish_and_release(self, number: int, stream: RecogniserStream) -> None:
        """Its last words still come; what breaks now breaks nothing."""
        try:
            await self._speech.release(stream, finish=True)
        finally:
            self._clocks.pop(number, None)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[Any]:
        return self._tasks.spawn(work, name)

    def _record(self, record: Record[RecognitionState]) -> None:
        self._log.info("recogniser", stream=record.generation, **record.fields)

    def _failed(self, task: str, error: BaseException) -> None:
        """The supervisor boundary: an unexpected error costs this stream and no other."""
        self._log.error("recogniser failed", task=task, exc_info=error)
        number = self._machine.stream
        self._let_go(number)
        self._shell.step(Lost(number, Reason.CRASHED))
