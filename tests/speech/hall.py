"""A hall of people who speak, in virtual time: the whole of speech/ with a model of its processes and of the machine.

Ears, supervisor, pool and the streams to the processes are the programs' own, and so is what runs inside of a process
(the interpreter, its segments and its load). Only the processor time is made up: what a transcript and a frame cost,
what other programs take, and how long a process takes to start.
"""

import asyncio
import random
from array import array
from bisect import bisect_right
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import msgspec
import pytest

from glassbridge.core.recogniser import Fault
from glassbridge.core.slowness import Slow
from glassbridge.core.spoken import Piece
from glassbridge.runtime.child import Child
from glassbridge.runtime.tasks import cancelled
from glassbridge.speech.base import Transcript, Want
from glassbridge.speech.ear import Ear
from glassbridge.speech.interpreter import Interpreter
from glassbridge.speech.moonshine import MoonshineRecogniser
from glassbridge.speech.process_wire import FRAME, Answer, ProcessOrder, Ready
from glassbridge.speech.supervisor import Speech
from glassbridge.speech.worker import STATUS_EVERY
from tests.speech.test_segments import Loud

FRAME_MS = 200
PER_MS = 16
"""Samples."""
PAUSE_MS = 800
HANGOVER_MS = 1_000
"""Of a phone's voice detector."""
SETTLED = 15.0
"""Seconds."""


@dataclass
class Machine:
    """Processors, and what all but the speech processes take of them at a time. A transcript costs `fixed` seconds and
    `rate` for each second of it."""

    others: Callable[[float], float] = lambda _now: 0.8
    processors: int = 2
    rate: float = 0.022
    fixed: float = 0.012
    frame: float = 0.00012
    start: float = 1.2
    least: float = 0.3
    """Of a processor that a busy process gets however much others want: a scheduler is fair."""
    working: int = 0
    used: float = 0.0
    """Processor seconds of the speech processes."""
    begun: float = 0.0

    def speed(self, now: float) -> float:
        free = self.processors - self.others(now - self.begun)
        return min(1.0, max(self.least, free / max(1, self.working)))


class ProcessDouble:
    """A Child that runs on this loop."""

    def __init__(self, machine: Machine, pid: int) -> None:
        self.machine, self.pid = machine, pid
        self.returncode: int | None = None
        self.stdin = self
        self.transport = self
        self.stdout = asyncio.StreamReader()
        self.cpu = 0.0
        self._debt = 0.0
        self._looked = (self._loop.time(), machine.used)
        self._input = bytearray()
        self._changed = asyncio.Event()
        self._died = asyncio.Event()
        self._running = asyncio.create_task(self._serve())

    # ---- as a child and its pipes

    def set_write_buffer_limits(self, high: int) -> None: ...

    def write(self, data: bytes) -> None:
        self._input += data
        self._changed.set()

    async def drain(self) -> None:
        if self.returncode is not None:
            raise BrokenPipeError

    def close(self) -> None:
        self.signal(9)

    def signal(self, number: int) -> None:
        if self.returncode is None:
            self.returncode = -number
            self._running.cancel()
            self.stdout.feed_eof()
            self._died.set()

    async def wait(self) -> int | None:
        await self._died.wait()
        return self.returncode

    async def stop(self, grace: float) -> int | None:
        self.signal(15)
        return self.returncode

    # ---- as a process

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def _clock(self) -> float:
        return self._loop.time() + self._debt

    def work(self, seconds: float) -> None:
        """So much processor time is taken."""
        self._debt += seconds / self.machine.speed(self._clock())
        self.cpu += seconds
        self.machine.used += seconds

    async def _spend(self) -> None:
        if self._debt:
            self.machine.working += 1
            try:
                await asyncio.sleep(self._debt)
            finally:
                self.machine.working -= 1
            self._debt = 0.0

    def transcribe(self, pcm: bytes) -> str:
        """As a model: each sentence is a tone of its own."""
        self.work(self.machine.fixed + self.machine.rate * len(pcm) / 2 / 1000 / PER_MS)
        return " ".join(str(tone & 0xFF) for tone in dict.fromkeys(array("H", pcm)[::320]) if tone)

    def _detector(self) -> "Listening":
        return Listening(self)

    def _idle(self) -> float:
        (at, used), now = self._looked, self._clock()
        self._looked = now, self.machine.used
        speech = (self.machine.used - used) / max(1e-3, now - at)
        taken = self.machine.others(now - self.machine.begun) + speech
        return max(0.0, 1.0 - taken / self.machine.processors)

    def _say(self, answer: Answer) -> None:
        self.stdout.feed_data(msgspec.json.encode(answer) + b"\n")

    def _frames(self) -> Iterator[tuple[ProcessOrder, int, int, bytes]]:
        taken, self._input = self._input, bytearray()
        at = 0
        while at < len(taken):
            order, stream, position, size = FRAME.unpack_from(taken, at)
            at += FRAME.size + size
            yield ProcessOrder(order), stream, position, bytes(taken[at - size : at])

    async def _serve(self) -> None:
        self.work(self.machine.start)
        await self._spend()
        self.interpreter = interpreter = Interpreter(
            self, self._detector, self._clock, lambda: self.cpu, self._idle, self.machine.rate
        )
        self._say(Ready())
        status_at = self._loop.time()
        while True:
            if (now := self._loop.time()) >= status_at:
                status_at = now + STATUS_EVERY
                for answer in interpreter.review(now):
                    self._say(answer)
            wait = max(0.0, min(status_at - now, interpreter.rest(now)))
            if not self._input and wait:
                self._changed.clear()
                timer = self._loop.call_later(wait, self._changed.set)
                await self._changed.wait()
                timer.cancel()
            for frame in self._frames():
                for answer in interpreter.obey(*frame):
                    self._say(answer)
            answers = list(interpreter.work() or ())
            await self._spend()
            for answer in answers:
                self._say(answer)
            await asyncio.sleep(0)


class Listening(Loud):
    """A detector that costs something."""

    def __init__(self, process: ProcessDouble) -> None:
        super().__init__()
        self._process = process

    def probability(self, frame: bytes) -> float:
        self._process.work(self._process.machine.frame)
        return super().probability(frame)


@dataclass
class Person:
    """Says sentences of 2 to 4 s, each with a pause after it, for `share` of the time: 15 s and then silence. `gated`:
    the phone sends no silence."""

    share: float
    chance: random.Random
    gated: bool = False
    begins: float | None = None
    """Seconds until the first word; None: somewhere in the round of speech and silence."""
    lags: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the beginning, and of the lag, of each final transcript."""
    finals: list[Transcript] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    """Seconds since the beginning at which it was told that there is no room."""
    slow: bool = False
    _spans: list[tuple[int, float]] = field(default_factory=list)
    """Milliseconds of the session, and the time at which they were said."""

    async def speak(self, speech: Speech, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()

        def hear(said: Transcript) -> None:
            if said.final:
                index = bisect_right(self._spans, said.end_ms - 1, key=lambda span: span[0]) - 1
                at_ms, at = self._spans[max(0, index)]
                self.lags.append((loop.time() - begun, loop.time() - at - (said.end_ms - at_ms) / 1000))
                self.finals.append(said)

        def judge(fault: Fault | None) -> None:
            if fault is not None and fault.refused:
                self.refused.append(loop.time() - begun)

        def slow(found: Slow | None) -> None:
            self.slow = self.slow or found is not None

        ear = Ear(speech, Want("en-US"), hear, judge, slow)
        position, silent, was_sent = 0, HANGOVER_MS, False
        for number, tone in enumerate(self._tones(seconds)):
            await asyncio.sleep(max(0.0, begun + number * FRAME_MS / 1000 - loop.time()))
            silent = 0 if tone else silent + FRAME_MS
            sent = not self.gated or silent <= HANGOVER_MS
            if sent:
                if not was_sent:
                    self._spans.append((position // PER_MS, begun + number * FRAME_MS / 1000))
                    ear.begins(position)
                ear.put(Piece(position, bytes([tone]) * (FRAME_MS * PER_MS * 2), loop.time()))
                position += FRAME_MS * PER_MS
            elif was_sent:
                ear.ends()
            was_sent = sent
        await ear.finish()
        await ear.close()

    @property
    def words_once_and_in_order(self) -> bool:
        """Each sentence is a number, one more than the one before; a long one may be in two parts."""
        heard = [int(word) for said in self.finals for word in said.text.split()]
        return all(after - before in (0, 1) for before, after in pairwise(heard))

    def _tones(self, seconds: float) -> Iterator[int]:
        frames = round(seconds * 1000 / FRAME_MS)
        tone = 0
        quiet = round(15 * (1 / self.share - 1) * 1000 / FRAME_MS)
        skip = round(self.chance.random() * (quiet + 15_000 / FRAME_MS)) if self.begins is None else 0
        if self.begins is not None:
            for _ in range(round(self.begins * 1000 / FRAME_MS)):
                yield 0
                frames -= 1
        while frames > 0:
            spoken = 0
            while spoken < 15_000 // FRAME_MS:
                length = self.chance.randrange(10, 21)
                tone = tone % 250 + 1
                for left in (*[tone] * length, *[0] * (PAUSE_MS // FRAME_MS)):
                    spoken += 1
                    if skip:
                        skip -= 1
                    elif frames > 0:
                        frames -= 1
                        yield left
            for _ in range(quiet):
                if skip:
                    skip -= 1
                elif frames > 0:
                    frames -= 1
                    yield 0


@dataclass
class Hall:
    """All of them, and their cloud's recogniser."""

    machine: Machine
    people: list[Person]
    processes: list[ProcessDouble] = field(default_factory=list)

    async def speak(
        self, seconds: float, patch: pytest.MonkeyPatch, beside: Iterable[Coroutine[Any, Any, None]]
    ) -> None:
        """All join within 2 s, and say sentences for so many seconds."""

        async def start(*_: Any, **__: Any) -> Child:
            self.processes.append(ProcessDouble(self.machine, len(self.processes) + 1))
            return cast(Child, self.processes[-1])

        patch.setattr(Child, "start", start)
        self.machine.begun = asyncio.get_running_loop().time()
        recogniser = MoonshineRecogniser(processes=self.machine.processors)
        recogniser.warm_up()
        speech = Speech(recogniser)

        async def join(person: Person) -> None:
            await asyncio.sleep(person.chance.random() * 2)
            await person.speak(speech, seconds)

        tasks = [asyncio.ensure_future(one) for one in beside]
        await asyncio.gather(*(join(person) for person in self.people))
        await cancelled(*tasks)
        await recogniser.close()

    # ---- figures

    def lags(self) -> list[float]:
        """Of all final transcripts, once all have joined."""
        return sorted(lag for person in self.people for at, lag in person.lags if at >= SETTLED)

    def p95(self) -> float:
        lags = self.lags()
        return lags[len(lags) * 95 // 100]

    @property
    def latest(self) -> float:
        return self.lags()[-1]

    @property
    def refused(self) -> int:
        return sum(bool(person.refused) for person in self.people)

    @property
    def taken_away(self) -> int:
        """Those who had captions and lost them."""
        return sum(any(at > person.lags[0][0] for at in person.refused) for person in self.people if person.lags)

    @property
    def captioned(self) -> int:
        return sum(bool(person.lags) for person in self.people)
