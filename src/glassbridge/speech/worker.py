"""A speech process: what it is told comes by standard input, what it answers goes to standard output (process_wire.py).

One thread reads; the main thread obeys, then works. The process ends at the end of its input, or killed with its
parent. It writes nothing but its answers, and never sees a secret.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from threading import Condition, Thread
from time import monotonic
from typing import BinaryIO, Protocol

import msgspec

from glassbridge.core.speech_load import Partials
from glassbridge.core.values import BYTES_PER_MS
from glassbridge.runtime.garbage import spare_the_start
from glassbridge.speech.base import Transcript
from glassbridge.speech.process_wire import FRAME, Answer, Finished, ProcessOrder, ProcessStatus, Ready, Said

NICE = 2
"""Captions may be late, audio may not; but a process that starves helps no stream."""
STATUS_EVERY = 1.0
MOST_UNREAD = 16 << 20
"""Bytes of audio that may wait here; beyond this the pipe fills, and the parent drops the oldest."""
LISTENERS_UNREAD = 2_000 * BYTES_PER_MS
"""The same where a stream is understood as it comes: the waiting audio is the stream's lag."""


class Serves(Protocol):
    """Understands the streams of a process."""

    def obey(self, order: ProcessOrder, number: int, position: int, pcm: bytes) -> Iterable[Answer]:
        """One frame, and what is answered at once."""

    def work(self) -> Iterator[Answer] | None:
        """Does the most urgent job; None when there is none."""

    def review(self, now: float) -> Iterable[Answer]:
        """How it goes; call it each STATUS_EVERY seconds."""

    @property
    def pending(self) -> bool:
        """An answer is owed."""

    def rest(self, now: float) -> float:
        """Seconds until something is due by itself."""


class Transcriber(Protocol):
    """Turns the audio of one stream into transcripts, as it comes."""

    def feed(self, position: int, pcm: bytes) -> Iterable[Transcript]:
        """Audio from `position` on, in samples of the stream."""

    def finish(self) -> Iterable[Transcript]:
        """Finalises what is pending."""


class Listeners:
    """Serves each stream by a listener of its own, at once: for libraries that find utterances themselves."""

    def __init__(self, make: Callable[[], Transcriber]) -> None:
        self._make = make
        self._streams: dict[int, Transcriber] = {}
        self.pending = False

    def obey(self, order: ProcessOrder, number: int, position: int, pcm: bytes) -> Iterator[Answer]:
        """One frame. Requests for a stream that is not there are ignored."""
        if order is ProcessOrder.OPEN:
            self._streams[number] = self._make()
        elif order is ProcessOrder.CLOSE:
            self._streams.pop(number, None)
        elif (stream := self._streams.get(number)) is not None:
            heard = stream.feed(position, pcm) if order is ProcessOrder.AUDIO else stream.finish()
            yield from (Said(number, transcript) for transcript in heard)
            if order is ProcessOrder.FINISH:
                yield Finished(number)

    def work(self) -> None:
        """Everything is done at once."""

    def review(self, now: float) -> Iterator[Answer]:
        """A sign of life: its parent knows how many streams fit."""
        yield ProcessStatus(Partials.FAST.name, 0.0, 0.0, float(len(self._streams)), 0, len(self._streams))

    def rest(self, now: float) -> float:
        """Nothing is due by itself."""
        return STATUS_EVERY


@dataclass(slots=True)
class _Inbox:
    """Filled by the thread that reads."""

    frames: deque[tuple[ProcessOrder, int, int, bytes]] = field(default_factory=deque)
    size: int = 0
    ended: bool = False
    most: int = MOST_UNREAD
    changed: Condition = field(default_factory=Condition)

    def read(self, source: BinaryIO) -> None:
        """Until the input ends."""
        while len(head := source.read(FRAME.size)) == FRAME.size:
            order, stream, position, size = FRAME.unpack(head)
            pcm = source.read(size)
            with self.changed:
                self.changed.wait_for(lambda: self.size < self.most)
                self.frames.append((ProcessOrder(order), stream, position, pcm))
                self.size += size
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def take(self, wait: float) -> list[tuple[ProcessOrder, int, int, bytes]]:
        """All that is there; waits for something up to `wait` seconds."""
        with self.changed:
            self.changed.wait_for(lambda: self.frames or self.ended, wait)
            taken = list(self.frames)
            self.frames.clear()
            self.size = 0
            self.changed.notify_all()
            return taken


def serve(source: BinaryIO, sink: BinaryIO, serves: Serves, most_unread: int = MOST_UNREAD) -> None:
    """Answers until the input ends."""
    status_at = monotonic()

    def say(answer: Answer) -> None:
        sink.write(msgspec.json.encode(answer) + b"\n")
        sink.flush()

    def review() -> None:
        nonlocal status_at
        if (now := monotonic()) >= status_at:
            status_at = now + STATUS_EVERY
            for answer in serves.review(now):
                say(answer)

    inbox = _Inbox(most=most_unread)
    Thread(target=inbox.read, args=(source,), name="reader", daemon=True).start()
    say(Ready())
    while not inbox.ended or inbox.frames or serves.pending:
        review()
        now = monotonic()
        for frame in inbox.take(max(0.0, min(status_at - now, serves.rest(now)))):
            for answer in serves.obey(*frame):
                say(answer)
            review()
        for answer in serves.work() or ():
            say(answer)


def run(make: Callable[[], Serves], most_unread: int = MOST_UNREAD) -> None:
    """The whole life of a process: loads the model, then serves standard input and output."""
    spare_the_start()
    os.nice(NICE)
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not break an answer
    serves = make()
    with open(0, "rb", closefd=False) as source:
        serve(source, sink, serves, most_unread)
