"""The load of one speech process: how often are partial transcripts made, and how many more speakers fit?

Rules
- Final transcripts are what counts; partial ones are made as often as the machine can bear: as the fastest of
  `Partials` whose expected load is under BUSY.
- What work costs is counted in processor time; how quick the machine is now, in processor time for each second of
  work (`speed`): other programs take the rest.
- Answers that come late prove that the expectation is wrong: one pace slower at once, and no faster one for HOLD
  seconds.
- A speaker fits as long as all finals of all speakers fit under BUSY, and into LEFT of the processor time that is
  really there: what this process got lately, partial transcripts included, and its share of the idle time. On a busy
  machine few fit at first, and more as the process proves to get what they need. A stream counts by the share of time
  in which its user spoke lately; a new one counts as a speaker without a pause, until it is known better, and one that
  has been silent since it is there as nobody.
- What a speaker costs is measured by what was done, not by what has come: a second of final transcripts, also of those
  that are late. How much is known from partial transcripts, too, before the first final one.
- New speakers make the machine slower for all. So no more are let in at a time than RAMP or those that are known, until
  the new ones have spoken for KNOWN seconds or were silent for SILENT seconds; and none while answers are late. These
  wait: lateness passes, and is no reason to refuse.
- A speaker who was admitted stays as long as anything else helps. People who paused may all speak at once, and other
  programs may take the machine. Speakers are sent away when there are no partial transcripts left to save and, for
  PATIENT looks, finals are so late and the load so high that they will be OVERDUE within HORIZON seconds. The newest go
  first, until the rest fits; once half are gone, until the rest may do at all. The oldest always stays.

It does not know processes, audio or time.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from math import ceil
from typing import Final

BUSY: Final = 0.75
"""Share of its time that a process may work."""
LEFT: Final = 0.85
"""Share of the processor time that is there which finals may take."""
LEAST: Final = 0.2
"""Processors that a process can always count on."""
STEADY: Final = 0.5
"""How much a look at the machine counts against those before."""
LATE: Final = 1.0
"""Seconds that a job may wait until the pace slows down."""
OVERDUE: Final = 3.0
"""Seconds that a final may wait."""
HORIZON: Final = 4.0
"""Seconds within which speakers are sent away rather than that finals become OVERDUE."""
DRAINS: Final = 0.65
"""Expected load of the finals at which what waits is done soon: so many speakers stay then."""
PATIENT: Final = 2
HOLD: Final = 5.0
LEARNT: Final = 0.2
"""How much a measurement counts against what was known."""
ACTIVITY_SECONDS: Final = 5.0
"""Time constant of a stream's share of speech."""
LATELY_SECONDS: Final = 2.0
"""The same for counting the users who speak now."""
RAMP: Final = 4
KNOWN: Final = 2.0
SILENT: Final = 1.5
"""Seconds after which a user who has not spoken yet counts as silent."""
USUAL_LISTENING: Final = 0.006
USUAL_RATE: Final = 0.03
"""Seconds of processor time for a second of speech that is transcribed once."""
USUAL_REPEATS: Final = 1.25
"""How often a second of speech is transcribed for final transcripts: with its pauses, and to find where to cut."""
USUAL_FITS: Final = int(BUSY / (USUAL_LISTENING + USUAL_RATE * USUAL_REPEATS))
MOST_REPEATS: Final = 4.0
LONG: Final = 1.5
"""Seconds of speech from which on a transcript tells how quick the machine is."""
USUAL_PARTIAL: Final = 0.08
"""Seconds of processor time for a partial transcript, until it is measured."""
SLOWEST: Final = 0.02
SPEAKING: Final = 0.1
"""A stream whose share of speech is above this counts as one that speaks."""
LEAST_SPEECH: Final = 1.0
"""Seconds of speech that a measurement is made of."""


class Partials(Enum):
    """How often there is a partial transcript of a speech; `interval` in seconds, None: only finals."""

    FAST = ("fast", 0.5)
    SLOWER = ("slower", 1.0)
    SLOW = ("slow", 2.0)
    FINALS = ("finals only", None)

    def __init__(self, label: str, interval: float | None) -> None:
        self.label = label
        self.interval = interval


PACES: Final = tuple(Partials)


class Work(Enum):
    """What a process spends its time on."""

    LISTENING = "listening"
    FINAL = "final"
    PARTIAL = "partial"


@dataclass(slots=True)
class _Stream:
    activity: float = 1.0
    lately: float = 1.0
    speech: float = 0.0
    """Seconds of speech since the last look."""
    spoken: float = 0.0
    """In all."""
    age: float = 0.0
    """Seconds."""

    @property
    def is_silent(self) -> bool:
        """Since it is there."""
        return not self.spoken and self.age >= SILENT

    @property
    def is_new(self) -> bool:
        """What it costs is not known yet."""
        return self.spoken < KNOWN and not self.is_silent

    @property
    def share(self) -> float:
        """Of the time in which its user speaks, as far as is known."""
        return 0.0 if self.is_silent else self.activity


@dataclass(slots=True)
class _Period:
    """Between two looks."""

    worked: Counter[Work] = field(default_factory=Counter)
    """Seconds of processor time."""
    lasted: float = 0.0
    """Seconds that all of it took."""
    partials: int = 0
    final_speech: float = 0.0
    """Seconds of it that were finally understood."""
    late: float = 0.0


class SpeechLoad:
    """Of one process. Its shell tells what was done, and calls `look` about once a second. `rate` is what a second of
    speech costs once, as far as was measured at the start."""

    def __init__(self, now: float, rate: float = USUAL_RATE) -> None:
        self.pace = Partials.FAST
        self.busy = 0.0
        """Share of the time worked, in the last period."""
        self.speed = 1.0
        """Processor time for each second of work, lately."""
        self.late = 0.0
        """Seconds that the latest job of the last period was late."""
        self._streams: dict[int, _Stream] = {}
        self._period = _Period()
        self._looked_at = now
        self._hold_until = now
        self._overloaded = 0
        """Looks in a row."""
        self._used, self._idle = 0.0, 0.0
        """Processors that this process used lately, and its share of the idle ones."""
        self._looks = 0
        self._listening = USUAL_LISTENING
        self._rate = rate
        self._repeats = USUAL_REPEATS
        self._partial_cost = USUAL_PARTIAL
        self._since_measured = _Period()
        self._speech_since = 0.0

    # ---- what happens

    def opened(self, stream: int) -> None:
        """A stream is there."""
        self._streams[stream] = _Stream()

    def closed(self, stream: int) -> None:
        """A stream is gone."""
        self._streams.pop(stream, None)

    def spoken(self, stream: int, seconds: float) -> None:
        """So much speech has come."""
        if (known := self._streams.get(stream)) is not None:
            known.speech += seconds
            known.spoken += seconds

    def worked(self, work: Work, seconds: float, cpu: float, speech: float = 0.0) -> None:
        """Something took so many seconds, so many of them of a processor; a final transcript is one of so many seconds
        of speech."""
        self._period.worked[work] += cpu  # type: ignore[assignment]
        self._period.lasted += seconds
        if work is Work.PARTIAL:
            self._period.partials += 1
        elif work is Work.FINAL:
            self._period.final_speech += speech

    def transcribed(self, speech: float, cpu: float) -> None:
        """So much speech was transcribed once, in so much processor time."""
        if speech >= LONG:
            self._rate += LEARNT * (min(2.0, cpu / speech) - self._rate)

    def waited(self, seconds: float) -> None:
        """A job was answered so many seconds after it could have been begun."""
        self._period.late = max(self._period.late, seconds)

    # ---- what follows

    def look(self, now: float, idle: float = 1.0) -> Partials:
        """Judges the period since the last look, in which such a share of all processors was idle."""
        length = max(1e-3, now - self._looked_at)
        period, self._period, self._looked_at = self._period, _Period(), now
        self.busy = min(1.0, period.lasted / length)
        self.late = period.late
        self._look_at_machine(period, length, idle)
        self._learn(period, length)
        wanted = next((pace for pace in PACES if self._expected(pace) <= BUSY), Partials.FINALS)
        slower = PACES[min(PACES.index(self.pace) + 1, len(PACES) - 1)]
        if self.late > LATE:
            wanted = max(wanted, slower, key=PACES.index)
            self._hold_until = now + HOLD
        elif PACES.index(wanted) < PACES.index(self.pace):
            wanted = PACES[PACES.index(self.pace) - 1] if now >= self._hold_until else self.pace
            if wanted is not self.pace:
                self._hold_until = now + HOLD / 2
        self.pace = wanted
        return self.pace

    def shed(self) -> list[int]:
        """Streams that are to go, the newest first; call it after `look`, and tell by `closed` that they are gone."""
        load = self._cost * sum(stream.lately for stream in self._streams.values()) / self.speed
        nothing_helps = self.pace is Partials.FINALS and load > BUSY and self.late > LATE
        overloaded = nothing_helps and self.late + HORIZON * (load - 1.0) > OVERDUE
        self._overloaded = self._overloaded + 1 if overloaded else 0
        if self._overloaded < PATIENT:
            return []
        self._overloaded = -PATIENT  # what waits is done meanwhile
        speakers = [number for number, stream in self._streams.items() if stream.lately > SPEAKING]
        gone: list[int] = []
        for number in reversed(speakers[1:]):
            if gone and load <= (DRAINS if len(gone) < len(speakers) // 2 else 1.0):
                break
            gone.append(number)
            load -= self._streams[number].lately * self._cost / self.speed
        return gone

    def _look_at_machine(self, period: _Period, length: float, idle: float) -> None:
        used = sum(period.worked.values())
        if period.lasted > 0.0:
            weight = STEADY * min(1.0, 4.0 * period.lasted / length)
            self.speed += weight * (min(1.0, max(SLOWEST, used / period.lasted)) - self.speed)
        self._looks += 1
        weight = max(STEADY, 1.0 / self._looks)
        self._used += weight * (min(1.0, used / length) - self._used)
        self._idle += weight * (idle - self._idle)
        self.speed = max(self.speed, min(1.0, self._used + self._idle))  # other programs have stopped

    def _learn(self, period: _Period, length: float) -> None:
        keep, keep_lately = (max(0.0, 1.0 - length / long) for long in (ACTIVITY_SECONDS, LATELY_SECONDS))
        for stream in self._streams.values():
            share = min(1.0, stream.speech / length)
            self._speech_since += stream.speech
            stream.activity = keep * stream.activity + (1.0 - keep) * share
            stream.lately = keep_lately * stream.lately + (1.0 - keep_lately) * share
            stream.speech = 0.0
            stream.age += length
        if period.partials:
            spent = period.worked[Work.PARTIAL] / period.partials
            self._partial_cost += LEARNT * (spent - self._partial_cost)
        since = self._since_measured
        since.worked.update(period.worked)
        since.final_speech += period.final_speech
        if self._speech_since >= LEAST_SPEECH * max(4, len(self._streams)):
            self._listening += LEARNT * (since.worked[Work.LISTENING] / self._speech_since - self._listening)
            since.worked[Work.LISTENING] = self._speech_since = 0
        if since.final_speech >= LEAST_SPEECH * max(4, len(self._streams)):
            repeats = since.worked[Work.FINAL] / since.final_speech / self._rate
            self._repeats += LEARNT * (min(repeats, MOST_REPEATS) - self._repeats)
            since.worked[Work.FINAL] = since.final_speech = 0

    @property
    def _cost(self) -> float:
        """Seconds of processor time for a second of speech."""
        return self._listening + self._rate * self._repeats

    @property
    def speakers(self) -> float:
        """How many speak, on average."""
        return sum(stream.share for stream in self._streams.values())

    def _expected(self, pace: Partials) -> float:
        """The share of time that this pace would take."""
        partials = 0.0 if pace.interval is None else self._partial_cost / pace.interval
        return self.speakers * (self._cost + partials) / self.speed

    @property
    def room(self) -> int:
        """Speakers that still fit, each of whom may speak without a pause, as far as is known."""
        there = LEFT * max(LEAST, self._used + self._idle) if self._looks else BUSY
        return self._room(min(BUSY * self.speed, there))

    @property
    def most(self) -> int:
        """The same if other programs left the machine to this one."""
        return self._room(BUSY)

    def _room(self, processors: float) -> int:
        return max(0, int(processors / self._cost - self.speakers + 1e-9))

    @property
    def fits(self) -> int:
        """How many of them may come now."""
        if self.late > LATE:
            return 0
        new = [stream.share for stream in self._streams.values() if stream.is_new]
        return max(0, min(self.room, max(RAMP, len(self._streams) - len(new)) - ceil(sum(new))))
