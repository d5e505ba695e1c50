"""Never nothing: a hosted recogniser with an offline one that stands by. The rules are in core/standby.py.

A stream keeps what was said since the last final transcript. Whichever recogniser takes over is given that; the other
one's transcripts of it are not said. So no word is lost, and none is said twice.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic

import structlog

from glassbridge.core import standby
from glassbridge.core.admission import Admission, Limits
from glassbridge.core.machine import Record
from glassbridge.core.recogniser import Reason, StreamTimes
from glassbridge.core.standby import HELD, LATE, Accompany, Believe, Drop, Lost, Open, Opened, Return, TakeOver
from glassbridge.core.values import BYTES_PER_MS
from glassbridge.runtime.direct import DirectShell
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.speech.base import Recogniser, RecogniserError, RecogniserStream, Transcript, Want

log = structlog.get_logger()

KEPT_BYTES = 30_000 * BYTES_PER_MS
"""Audio that is kept until it is finally understood."""
HOSTED_FINISH = 3.0
OFFLINE_FINISH = 10.0
SEAM_MS = 400
"""How far the times of two recognisers may be apart at a pause; the shortest that ends an utterance is longer."""
MOST_BESIDE = 8
"""Final transcripts of the hosted one that may wait for those of the offline one."""


class StandbyRecogniser:
    """A Recogniser (speech/base.py) of two, both owned by it."""

    stuck = 30.0
    """Each of the two is watched by itself."""

    def __init__(self, hosted: Recogniser, offline: Recogniser) -> None:
        self.name = hosted.name
        self.times: StreamTimes = replace(hosted.times, proven=0.0, longest=float("inf"))
        self.limits = Limits(streams=max(hosted.limits.streams, offline.limits.streams), share=hosted.limits.share)
        self.hosted = hosted
        self.offline = offline
        self._admission = Admission(hosted.limits)
        self._refused: RecogniserError | None = None
        """The key is wrong: other streams need not try it."""
        self._failed = False
        self._good_since: float | None = None

    def serves(self, want: Want) -> Want:
        """As the hosted one. Raises RecogniserError."""
        return self.hosted.serves(want)

    @property
    def fits(self) -> int | None:
        """As many as there are streams: the offline one need not do anything."""
        return None

    def warm_up(self) -> None:
        """The offline one must be there at once."""
        self.hosted.warm_up()
        self.offline.warm_up()

    async def open(
        self, want: Want, on_transcript: Callable[[Transcript], None], on_lost: Callable[[RecogniserError], None]
    ) -> RecogniserStream:
        """A new stream, at once. For wants that the offline one cannot serve it has the hosted one only.

        Raises RecogniserError.
        """
        try:
            offline = self.offline.serves(_offline_want(want))
        except RecogniserError:
            return await self.hosted.open(want, on_transcript, on_lost)
        stream = StandbyStream(self, want, offline, on_transcript, on_lost)
        stream.begin()
        return stream

    async def open_hosted(
        self, want: Want, on_transcript: Callable[[Transcript], None], on_lost: Callable[[RecogniserError], None]
    ) -> RecogniserStream:
        """A stream of the hosted one. Raises RecogniserError."""
        if self._refused is not None:
            raise self._refused
        if self._admission.full:
            raise RecogniserError("all streams of the hosted recogniser are in use", Reason.BUSY)
        until = monotonic() + standby.PATIENCE
        while wait := self._admission.wait(monotonic()):
            if monotonic() + wait > until:
                raise RecogniserError("too many streams are begun at once", Reason.TOO_MANY)
            await asyncio.sleep(wait)
        try:
            stream = await self.hosted.open(want, on_transcript, on_lost)
        except BaseException:
            self._admission.failed()
            raise
        self._admission.opened()
        return stream

    async def close_hosted(self, stream: RecogniserStream) -> None:
        """Gives a stream of the hosted one back."""
        try:
            await stream.close()
        finally:
            self._admission.gone()

    @property
    def trusted(self) -> bool:
        """Whether the hosted one is worth waiting for."""
        held = self._good_since is not None and monotonic() - self._good_since >= HELD
        return not self._failed or held

    def went_well(self) -> None:
        """A stream of the hosted one is there."""
        if self._good_since is None:
            self._good_since = monotonic()

    def went_wrong(self, error: RecogniserError) -> None:
        """A stream of the hosted one failed."""
        self._failed, self._good_since = True, None
        if error.reason is Reason.UNAUTHORISED and self._refused is None:
            log.error("the recogniser refuses our key", provider=self.name, error=str(error))
            self._refused = error

    async def close(self) -> None:
        """Ends both; idempotent; at most 3 s."""
        await asyncio.gather(self.hosted.close(), self.offline.close())


def _offline_want(want: Want) -> Want:
    """The hosted one forgets regions; the offline one knows English by its region."""
    return replace(want, language="en-US") if want.language == "en" else want


@dataclass(slots=True)
class _Side:
    """A stream of one of the two, and where in ours it begins."""

    stream: RecogniserStream
    name: str
    base_ms: int


class StandbyStream:
    """A RecogniserStream (speech/base.py). Times are those of what it was fed."""

    def __init__(
        self,
        owner: StandbyRecogniser,
        want: Want,
        offline_want: Want,
        on_transcript: Callable[[Transcript], None],
        on_lost: Callable[[RecogniserError], None],
    ) -> None:
        self._owner = owner
        self._want, self._offline_want = want, offline_want
        self._on_transcript, self._on_lost = on_transcript, on_lost
        self._machine = standby.Standby(random.random, trusted=owner.trusted)
        self._shell: DirectShell[standby.Event] = DirectShell(
            self._machine, self._perform, standby.Tick(), self._record
        )
        self._tasks = TaskGroup("standby", self._failed)
        self._kept: deque[tuple[int, bytes]] = deque()
        """Audio without a final transcript yet: milliseconds of ours at which it begins, and samples."""
        self._kept_bytes = 0
        self._fed_bytes = 0
        self._hosted: _Side | None = None
        self._offline: _Side | None = None
        self._opened: dict[int, RecogniserStream] = {}
        self._opening_offline = False
        self._beside: deque[Transcript] = deque(maxlen=MOST_BESIDE)
        """What the hosted one finally understood beside the offline one: not said."""
        self._passed_ms = 0
        """Nothing before is pending: it is finally understood, or what is pending begins here."""
        self._offline_end: int | None = None
        """Milliseconds at which the offline one's last final transcript ends."""
        self._error: RecogniserError | None = None
        self._changed = asyncio.Event()
        self._dropped_bytes = 0
        self._ended = False

    def begin(self) -> None:
        """Sets it going."""
        for effect in self._machine.begin(monotonic()):
            self._perform(effect)
        self._shell.step(standby.Tick())
        self._tasks.spawn(self._watch(), "watch")

    # ---- what its owner asks

    @property
    def dropped_bytes(self) -> int:
        """Bytes that neither of the two was given in time."""
        side = self._believed
        return self._dropped_bytes + (0 if side is None else side.stream.dropped_bytes)

    @property
    def stalled(self) -> float:
        """Whichever is believed is watched here."""
        return 0.0

    @property
    def behind(self) -> float:
        """The same."""
        return 0.0

    @property
    def partials(self) -> float | None:
        """Of whichever is believed."""
        side = self._believed
        return 0.0 if side is None else side.stream.partials

    def feed(self, pcm: bytes) -> None:
        """Gives PCM16 LE, 16 kHz, mono, whole samples. Never waits; ignored once ended."""
        if self._ended:
            return
        self._kept.append((self._fed_bytes // BYTES_PER_MS, pcm))
        self._kept_bytes += len(pcm)
        self._fed_bytes += len(pcm)
        while self._kept_bytes > KEPT_BYTES:
            _, gone = self._kept.popleft()
            self._kept_bytes -= len(gone)
            if self._believed is None:
                self._dropped_bytes += len(gone)
        for side in (self._hosted, self._offline):
            if side is not None:
                side.stream.feed(pcm)

    async def finish(self) -> None:
        """Finalises what is pending, by whichever is believed then. When somebody speaks again by then, nobody is cut
        short: the utterance ends by itself. Raises RecogniserError. Safe to cancel."""
        end, fed = self._fed_bytes // BYTES_PER_MS, self._fed_bytes
        while not self._ended:
            side = self._believed
            if side is None or self._fed_bytes > fed:
                if self._passed_ms >= end:
                    return
                self._changed.clear()
                await self._changed.wait()
                continue
            hosted = side is self._hosted
            if not hosted and self._hosted is not None:
                self._tasks.spawn(self._finish_beside(self._hosted.stream), "finish")
            try:
                async with asyncio.timeout(HOSTED_FINISH if hosted else OFFLINE_FINISH):
                    await side.stream.finish()
                return
            except (TimeoutError, RecogniserError):
                if side is self._offline:  # otherwise the hosted one came back meanwhile
                    raise
                if side is self._hosted:
                    self._owner.went_wrong(RecogniserError("the hosted recogniser is late", Reason.STUCK))
                    self._shell.step(standby.Late(self._machine.stream))
        raise self._error or RecogniserError("the stream has ended", Reason.CLOSED)

    @staticmethod
    async def _finish_beside(stream: RecogniserStream) -> None:
        """It is not awaited, but it may be the pause at which the hosted one is believed again."""
        with suppress(RecogniserError):
            await stream.finish()

    async def close(self) -> None:
        """Releases both; idempotent; at most 2 s."""
        if self._ended:
            return
        self._end(None)
        await self._tasks.close(1.0)
        hosted = list(self._opened.values()) + ([] if self._hosted is None else [self._hosted.stream])
        closing = [self._owner.close_hosted(stream) for stream in hosted]
        if self._offline is not None:
            closing.append(self._offline.stream.close())
        self._hosted = self._offline = None
        self._opened.clear()
        await asyncio.gather(*closing)

    # ---- what the machine wants done

    @property
    def _believed(self) -> _Side | None:
        return self._offline if self._machine.state.offline else self._hosted

    def _perform(self, effect: standby.Effect) -> None:
        match effect:
            case Open(number):
                self._tasks.spawn(self._open_hosted(number), "open")
            case Believe(number) | Accompany(number):
                kept = isinstance(effect, Believe)
                self._hosted = self._side(self._opened.pop(number), self._owner.hosted.name, kept=kept)
            case Drop():
                self._let_go()
            case TakeOver(cause):
                log.warning("offline recogniser takes over", cause=cause, provider=self._owner.name)
                self._let_go()
                if self._offline is None and not self._opening_offline:
                    self._opening_offline = True
                    self._tasks.spawn(self._open_offline(), "open")
            case Return():
                self._return()
        self._changed.set()

    def _side(self, stream: RecogniserStream, name: str, *, kept: bool) -> _Side:
        """A stream that hears what is kept, or only what comes."""
        waiting = list(self._kept) if kept else []
        side = _Side(stream, name, waiting[0][0] if waiting else self._fed_bytes // BYTES_PER_MS)
        for _, pcm in waiting:
            stream.feed(pcm)
        return side

    async def _open_hosted(self, number: int) -> None:
        try:
            stream = await self._owner.open_hosted(
                self._want, partial(self._hear_hosted, number), partial(self._lose_hosted, number)
            )
        except RecogniserError as error:
            self._lose_hosted(number, error)
            return
        awaited = self._machine.state in (standby.StandbyState.OPENING, standby.StandbyState.RETRYING)
        if number != self._machine.stream or not awaited or self._ended:
            await self._owner.close_hosted(stream)
            return
        self._opened[number] = stream
        self._owner.went_well()
        self._shell.step(Opened(number))

    async def _open_offline(self) -> None:
        try:
            stream = await self._owner.offline.open(self._offline_want, self._hear_offline, self._lose)
        except RecogniserError as error:
            self._lose(error)
            return
        self._opening_offline = False
        self._offline = self._side(stream, self._owner.offline.name, kept=True)
        self._changed.set()

    def _let_go(self) -> None:
        side, self._hosted = self._hosted, None
        self._forget_pause()
        if side is not None:
            self._tasks.spawn(self._owner.close_hosted(side.stream), "close")

    def _lose_hosted(self, number: int, error: RecogniserError) -> None:
        if self._ended or number != self._machine.stream:
            return
        self._owner.went_wrong(error)
        if (opened := self._opened.pop(number, None)) is not None:
            self._tasks.spawn(self._owner.close_hosted(opened), "close")
        self._let_go()
        self._shell.step(Lost(number, error.reason))

    def _lose(self, error: RecogniserError) -> None:
        """Without the offline one there is no recogniser left."""
        if not self._ended:
            self._end(error)
            self._on_lost(error)

    def _end(self, error: RecogniserError | None) -> None:
        self._ended, self._error = True, error
        self._shell.stop()
        self._changed.set()

    async def _watch(self) -> None:
        """Is the hosted one in time?"""
        while not self._ended:
            await asyncio.sleep(0.25)
            if self._hosted is not None and self._hosted.stream.behind > LATE:
                self._owner.went_wrong(RecogniserError("the hosted recogniser is late", Reason.STUCK))
                self._shell.step(standby.Late(self._machine.stream))

    def _agreed(self) -> int | None:
        """How many of those beside end where the offline one's last final transcript does, or before; None: the two
        have not ended at the same pause."""
        if self._offline_end is None:
            return None
        ends = [abs(said.end_ms - self._offline_end) <= SEAM_MS for said in self._beside]
        return ends.index(True) + 1 if True in ends else None

    def _look_for_a_pause(self) -> None:
        if self._agreed() is not None:
            self._shell.step(standby.Agreed(self._machine.stream))

    def _return(self) -> None:
        """What the hosted one understood after the pause is said now."""
        said, offline = list(self._beside)[self._agreed() :], self._offline
        assert self._hosted is not None
        assert offline is not None
        self._offline = None
        self._forget_pause()
        self._tasks.spawn(offline.stream.close(), "close")
        log.info("hosted recogniser is back", provider=self._owner.name)
        for transcript in said:
            self._say(transcript, self._hosted.name)

    def _forget_pause(self) -> None:
        self._beside.clear()
        self._offline_end = None

    # ---- what is understood

    def _hear_hosted(self, number: int, said: Transcript) -> None:
        side = self._hosted
        if number != self._machine.stream or side is None:
            return
        said = _moved(said, side.base_ms)
        if not self._machine.state.offline:
            self._say(said, side.name)
        elif said.final and said.text:
            self._beside.append(said)
            self._look_for_a_pause()

    def _hear_offline(self, said: Transcript) -> None:
        side = self._offline
        if side is None or not self._machine.state.offline:
            return
        said = _moved(said, side.base_ms)
        self._say(said, side.name)
        if said.final and said.text:
            self._offline_end = said.end_ms
            self._look_for_a_pause()

    def _say(self, said: Transcript, name: str) -> None:
        self._passed_ms = max(self._passed_ms, said.end_ms if said.final else said.start_ms)
        self._changed.set()
        if said.final:
            self._understood(said.end_ms)
        self._on_transcript(replace(said, provider=name))

    def _understood(self, until_ms: int) -> None:
        """Audio before this need not be recognised again."""
        while self._kept and (begin := self._kept[0][0]) < until_ms:
            pcm = self._kept.popleft()[1]
            rest = pcm[(until_ms - begin) * BYTES_PER_MS :]
            self._kept_bytes -= len(pcm) - len(rest)
            if rest:
                self._kept.appendleft((until_ms, rest))

    def _record(self, record: Record[standby.StandbyState]) -> None:
        log.info("standby", stream=record.generation, **record.fields)

    def _failed(self, task: str, error: BaseException) -> None:
        log.error("a recogniser stream failed", task=task, exc_info=error)
        self._lose(RecogniserError("an error inside the recogniser"))


def _moved(said: Transcript, by_ms: int) -> Transcript:
    return replace(said, start_ms=said.start_ms + by_ms, end_ms=said.end_ms + by_ms)
