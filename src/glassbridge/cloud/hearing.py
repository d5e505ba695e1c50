"""What is understood of one user: an ear for each language that somebody asks for, behind one gate of speech.

The phone's captions and the subscriptions of apps say which ears there are; ears that would get the same stream of the
recogniser are one. Late audio is recognised in its place, beside the current speech.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

import structlog

from glassbridge.core.in_order import Fill, Hole
from glassbridge.core.late_sound import SEAM, LateSound, Timeline
from glassbridge.core.machine import Record
from glassbridge.core.recogniser import Fault
from glassbridge.core.slowness import Slow
from glassbridge.core.speech_gate import (
    AllDelivered,
    Begins,
    Effect,
    Ends,
    Event,
    GateState,
    SamplesDelivered,
    Silent,
    Speaking,
    SpeechGate,
    Tick,
)
from glassbridge.core.spoken import Piece
from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE
from glassbridge.runtime.direct import DirectShell
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.speech.base import RecogniserError, Transcript, Want
from glassbridge.speech.ear import Ear
from glassbridge.speech.mending import Mending
from glassbridge.speech.supervisor import Speech
from glassbridge.telemetry import metrics

log = structlog.get_logger()

_handed = metrics.FRAMES_DELIVERED.cell("recogniser")
_PER_MS = SAMPLE_RATE // 1000

LEAVE_AFTER = 0.5
"""Seconds for which an ear outlives its last subscriber: sets of subscriptions are often replaced twice in a row."""


@dataclass(slots=True)
class _Seat:
    """An ear, and what it was asked for."""

    ear: Ear
    mending: Mending
    asked: frozenset[Want] = frozenset()
    fault: Fault | None = field(default=None)
    slow: Slow | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    """A stream of the recogniser that is asked for, open or not."""

    wants: frozenset[Want]
    since: int
    """Samples of the session before it."""


class _Ids:
    """Numbers that name utterances."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> int:
        self.last += 1
        return self.last


class Hearing:
    """Owned by one session.

    `heard` gets what was understood with the wants that it serves; `trouble` the fault of what is not understood now,
    or None, and whether the captions are among it; `slow` how late what is understood comes, or None; `ended` is called
    once for each speech, when all of it has come.
    """

    __slots__ = (
        "_about", "_asked", "_captions", "_catches_up", "_clock", "_ended", "_gate", "_heard", "_ids", "_loop",
        "_machine", "_mend_timer", "_position", "_review", "_seats", "_skipped", "_slow", "_sound", "_speech",
        "_tasks", "_timeline", "_trouble",
    )  # fmt: skip

    def __init__(
        self,
        speech: Speech,
        captions: Want | None,
        heard: Callable[[Transcript, frozenset[Want]], None],
        trouble: Callable[[Fault | None, bool], None],
        slow: Callable[[Slow | None], None],
        ended: Callable[[], None],
        catches_up: Callable[[], bool],
        clock: Callable[[], float],
        **about: str,
    ) -> None:
        self._speech = speech
        self._captions = captions
        self._heard = heard
        self._trouble = trouble
        self._slow = slow
        self._ended = ended
        self._catches_up = catches_up
        self._clock = clock
        self._about = about
        self._asked: dict[Want, _Asked] = {}
        """By what is opened for them."""
        self._seats: dict[Want, _Seat] = {}
        """The same, from the first sound on: a user who never speaks costs no ear."""
        self._position = 0
        """Samples that were heard, with the silence in place of holes."""
        self._skipped = 0
        """Samples of the session that were not: the rest of the holes."""
        self._timeline = Timeline()
        self._sound = LateSound()
        self._ids = _Ids()
        self._mend_timer: asyncio.TimerHandle | None = None
        self._review: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._tasks = TaskGroup("hearing")
        self._machine = SpeechGate(self._clock())
        self._gate: DirectShell[Event] = DirectShell(self._machine, self._pass_on, Tick(), self._record, clock)
        self.subscribe(())

    @property
    def position_ms(self) -> int:
        """Milliseconds of the session's audio so far, with the holes in it."""
        return self._end // _PER_MS

    @property
    def _end(self) -> int:
        return self._position + self._skipped

    @property
    def named(self) -> int:
        """Utterances have had names up to this number."""
        return self._ids.last

    def name_after(self, number: int) -> None:
        """Utterances get names beyond this number: those up to it may have been given."""
        self._ids.last = max(self._ids.last, number)

    def go_on_at(self, at_ms: int, named: int) -> None:
        """The session's audio began elsewhere: what comes from now on is so much later."""
        self._skipped += at_ms * _PER_MS
        self._timeline.leap(self._position, self._end)
        self.name_after(max(at_ms, named))

    def where(self, epoch: int, position: int) -> int | None:
        """The session's milliseconds of a position in a hole that was given up; None: it is in none."""
        found = self._sound.where(epoch, position)
        return None if found is None else found // _PER_MS

    @property
    def fed(self) -> int:
        """Bytes that the captions' recogniser was given, what came late among them, or that of any other language where
        there are no captions."""
        counts = {self._captions in seat.asked: seat.ear.fed + seat.mending.fed for seat in self._seats.values()}
        return counts.get(True, counts.get(False, 0))

    # ---- what is wanted

    def why_not(self, want: Want) -> str | None:
        """Why this cloud cannot serve it; None if it can."""
        try:
            self._speech.recogniser.serves(want)
        except RecogniserError as error:
            return str(error)
        return None

    def subscribe(self, wanted: Iterable[Want]) -> None:
        """Apps ask for exactly this from now on; wants that cannot be served are left out."""
        asked: dict[Want, set[Want]] = {}
        for want in frozenset(wanted) | ({self._captions} if self._captions is not None else set()):
            try:
                asked.setdefault(self._speech.recogniser.serves(want), set()).add(want)
            except RecogniserError as error:
                log.warning(
                    "not understood here", language=want.language, target=want.target, error=str(error), **self._about
                )
        former = self._asked
        self._asked = {
            key: _Asked(frozenset(wants), former[key].since if key in former else self._end)
            for key, wants in asked.items()
        }
        for key, seat in self._seats.items():
            if key in self._asked:
                seat.asked = self._asked[key].wants
        if self._seats:
            self._sit()
        if self._review is None and self._seats.keys() - self._asked.keys():
            self._review = self._loop.call_later(LEAVE_AFTER, self._leave)

    def _sit(self) -> None:
        """Makes an ear for each stream that is asked for and has none: the user speaks."""
        for key, asked in self._asked.items():
            if key not in self._seats:
                ear = Ear(
                    self._speech,
                    key,
                    partial(self._hear, key),
                    partial(self._judge, key),
                    partial(self._judge_pace, key),
                    measured=True,
                    **self._about,
                )
                mending = Mending(
                    self._speech,
                    key,
                    self._sound,
                    asked.since,
                    self._ids,
                    partial(self._say, key),
                    self._settle,
                    **self._about,
                )
                self._seats[key] = _Seat(ear, mending, asked.wants)

    def _leave(self) -> None:
        self._review = None
        for key in self._seats.keys() - self._asked.keys():
            seat = self._seats.pop(key)
            seat.ear.retire()
            self._tasks.spawn(seat.ear.close(), "close")
            self._tasks.spawn(seat.mending.close(), "close")
            if seat.fault is not None:
                self._tell()
            if seat.slow is not None:
                self._tell_of_pace()

    # ---- what is said

    def put(self, pcm: bytes) -> None:
        """Takes samples; never waits."""
        self._sound.put(self._end, pcm)
        self._put(pcm)

    def _put(self, pcm: bytes) -> None:
        if not self._seats:
            self._sit()
        piece = Piece(self._position, pcm, self._clock())
        self._position += len(pcm) // BYTES_PER_SAMPLE
        self._gate.step(SamplesDelivered(self._catches_up()))
        for seat in self._seats.values():
            seat.mending.heard(self._end)
            if self._machine.state.open:
                _handed.count += 1
                seat.ear.put(piece)
            else:
                seat.ear.pass_by(piece)

    def give_up(self, hole: Hole) -> None:
        """A stretch does not come, for now: silence stands for it, which ends the utterance before."""
        start = self._end
        self._sound.give_up(hole, start)
        silence = min(hole.samples, SEAM)
        if silence:
            self._put(bytes(silence * BYTES_PER_SAMPLE))
        self._skipped += hole.samples - silence
        self._timeline.leap(self._position, self._end)

    def miss(self, hole: Hole, before: int) -> None:
        """A hole that the former owner has left, so many samples before what comes next."""
        self._sound.give_up(hole, max(0, self._end - before))

    def fill(self, late: Fill) -> None:
        """Something of a hole comes after all: it is understood once no more is likely to come."""
        self._sit()
        now = self._clock()
        if late.hole is None or not self._sound.fill(late.hole, late.delivery, now):
            seconds = len(late.pcm) / BYTES_PER_SAMPLE / SAMPLE_RATE
            log.info("late audio without a place", seconds=round(seconds, 2), **self._about)
        elif self._mend_timer is None:
            wait = max(0.0, self._sound.restless_until() - now)
            self._mend_timer = self._loop.call_later(wait, self._mend)

    def _mend(self) -> None:
        self._mend_timer = None
        for seat in self._seats.values():
            seat.mending.mend()

    def _settle(self) -> None:
        """Something is understood in its place."""
        for place in list(self._sound.places):
            if place.is_complete and all(seat.mending.knows(place) for seat in self._seats.values()):
                self._sound.settle(place)

    def voice(self, speaking: bool) -> None:
        """What the phone says of speech."""
        self._gate.step(Speaking() if speaking else Silent())

    def all_heard(self) -> None:
        """The last numbered sample has been handed on."""
        self._gate.step(AllDelivered())

    def _record(self, record: Record[GateState]) -> None:
        log.debug("speech gate", **record.fields, **self._about)

    def _pass_on(self, effect: Effect) -> None:
        match effect:
            case Begins():
                self._sit()
                for seat in self._seats.values():
                    seat.ear.begins(self._position)
            case Ends():
                for seat in self._seats.values():
                    seat.ear.ends()
                self._ended()

    async def finish(self) -> bool:
        """Returns when everything said was understood, for the captions whether all of it was; False where there are
        none. Takes some seconds at most. Safe to cancel."""
        seats = list(self._seats.values())
        done = await asyncio.gather(*(self._finish(seat) for seat in seats))
        return any(well for seat, well in zip(seats, done, strict=True) if self._captions in seat.asked)

    async def _finish(self, seat: _Seat) -> bool:
        end = self._end
        well = await seat.ear.finish()
        if self._end > end:
            return well  # somebody speaks again, and what came late is understood meanwhile
        return await seat.mending.finish() and well

    async def close(self) -> None:
        """Gives all streams back; takes some seconds at most."""
        self._gate.stop()
        for timer in (self._review, self._mend_timer):
            if timer is not None:
                timer.cancel()
        self._asked.clear()
        seats = self._seats.values()
        await asyncio.gather(*(seat.mending.close() for seat in seats), *(seat.ear.close() for seat in seats))
        self._seats.clear()
        await self._tasks.settle(timeout=1.0)
        await self._tasks.close()

    # ---- what is understood

    def _hear(self, key: Want, said: Transcript) -> None:
        if (seat := self._seats.get(key)) is not None:
            start, end = said.start_ms * _PER_MS, said.end_ms * _PER_MS
            said = replace(
                said,
                start_ms=min(self._timeline.begin(start), self._timeline.end(end)) // _PER_MS,
                end_ms=self._timeline.end(end) // _PER_MS,
            )
            self._heard(seat.mending.named(said), seat.asked)

    def _say(self, key: Want, said: Transcript) -> None:
        if (seat := self._seats.get(key)) is not None:
            self._heard(said, seat.asked)

    def _judge(self, key: Want, fault: Fault | None) -> None:
        if (seat := self._seats.get(key)) is not None:
            seat.fault = fault
            self._tell()

    def _judge_pace(self, key: Want, slow: Slow | None) -> None:
        if (seat := self._seats.get(key)) is not None:
            seat.slow = slow
            self._tell_of_pace()

    def _tell_of_pace(self) -> None:
        """The worst of all."""
        found = [seat.slow for seat in self._seats.values() if seat.slow is not None]
        self._slow(max(found, key=lambda slow: slow.seconds, default=None))

    def _tell(self) -> None:
        """One word for all: that of the captions first."""
        faults = {self._captions in seat.asked: seat.fault for seat in self._seats.values() if seat.fault is not None}
        self._trouble(faults.get(True) or faults.get(False), True in faults)
