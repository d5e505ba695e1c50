"""Late audio is recognised in its place: the utterances around a hole are heard again, by a recognition of their
own, with the late audio. The rules are in core/utterances.py and core/late_sound.py.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import monotonic
from typing import Any

import structlog

from glassbridge.core.late_sound import LateHole, LateSound, Timeline
from glassbridge.core.spoken import Piece
from glassbridge.core.utterances import Spoilt, Utterance, Utterances
from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.speech.base import Transcript, Want
from glassbridge.speech.ear import Ear
from glassbridge.speech.supervisor import Speech

AT_ONCE = 20 * SAMPLE_RATE
"""Samples that a stream is given at once; later audio is fed HURRY times as quickly as it was spoken."""
HURRY = 10
OPENING = 15.0
"""Seconds until there must be a stream."""
LOOK_EVERY = 0.5
"""Seconds between two looks at whether the utterance after a hole is known."""
ANSWER_TIME = 5.0
"""Seconds that a recogniser may be late with the beginning of an utterance."""
TRIES = 3
AGAIN = 5.0
"""Seconds until the next try."""
FINISH = 20.0
MOST_TEXT = 256 << 10
"""Characters that one stretch may be understood as; half an hour of speech has a tenth of that."""
_PER_MS = SAMPLE_RATE // 1000


class Finals(list[Transcript]):
    """The final transcripts of one stretch; what goes beyond MOST_TEXT is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self._room = MOST_TEXT

    def add(self, said: Transcript) -> None:
        """Keeps it if it is final and says something."""
        if said.final and 0 < len(said.text) <= self._room:
            self._room -= len(said.text)
            self.append(said)


class Mending:
    """Of one ear. `say` gets what takes the place of former transcripts; `mended` is called after each change."""

    def __init__(
        self,
        speech: Speech,
        want: Want,
        sound: LateSound,
        since: int,
        ids: Iterator[int],
        say: Callable[[Transcript], None],
        mended: Callable[[], None],
        **about: str,
    ) -> None:
        self._speech = speech
        self._want = want
        self._sound = sound
        self._ids = ids
        self._say = say
        self._mended = mended
        self._about = about
        self._log = structlog.get_logger().bind(language=want.language, target=want.target, **about)
        self._utterances = Utterances(since)
        self._end = since
        self._answered = since
        """What was said until ANSWER_TIME ago, about."""
        self._asked: tuple[float, int] | None = None
        """Monotonic seconds, and what had been said then."""
        self._settled = False
        self._understood: dict[str, int] = {}
        """Changes of each place that are understood, or were tried often enough."""
        self._changed = asyncio.Event()
        self._fed = 0
        self._ear: Ear | None = None
        """Of the recognition that runs."""
        self._tasks = TaskGroup(f"mending:{want.language}", self._failed)
        self._task: asyncio.Task[Any] | None = None

    @property
    def fed(self) -> int:
        """Bytes that its recognitions were given."""
        return self._fed + (self._ear.fed if self._ear is not None else 0)

    # ---- what is said meanwhile

    def heard(self, end: int) -> None:
        """So much was said, in samples of the session."""
        self._end = end
        self._settled = False

    def named(self, said: Transcript) -> Transcript:
        """What the ear understood, in times of the session, with an id if it is final."""
        if not said.final:
            self._utterances.goes_on(said.start_ms * _PER_MS)
            self._changed.set()
            return said
        said = replace(said, id=f"u{next(self._ids)}")
        self._utterances.ended(_utterance(said))
        self._changed.set()
        return said

    # ---- what comes late

    def knows(self, place: LateHole) -> bool:
        """Whether all of its late audio is recognised, or belongs to another ear."""
        return place.start < self._utterances.since or self._understood.get(place.id, 0) >= place.changes

    def mend(self) -> None:
        """No more audio of the holes is coming for now."""
        if self._task is None and self._next() is not None:
            self._task = self._tasks.spawn(self._run(), "mend")

    async def finish(self) -> bool:
        """Everything said is understood; returns when what came late is, too, after FINISH seconds at most."""
        self._settled = True
        self._changed.set()
        self.mend()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=FINISH)
        return self._next() is None

    async def close(self) -> None:
        """Gives back what it has; takes some seconds at most."""
        await self._tasks.close()

    def _next(self) -> LateHole | None:
        return next((place for place in self._sound.places if not self.knows(place)), None)

    async def _run(self) -> None:
        tries = 0
        try:
            while (place := self._next()) is not None:
                spoilt, changes = await self._find(place)
                tries += 1
                understood = await self._understand(spoilt)
                if understood is None and tries < TRIES:
                    await asyncio.sleep(AGAIN)
                    continue
                if understood is None:
                    self._log.warning("late words not understood", hole=place.id)
                else:
                    self._replace(place, spoilt, understood)
                tries = 0
                self._understood |= changes
                still = {one.id for one in self._sound.places}
                self._understood = {name: count for name, count in self._understood.items() if name in still}
                self._mended()
        finally:
            self._task = None

    async def _find(self, place: LateHole) -> tuple[Spoilt, dict[str, int]]:
        """The utterances beside the hole, once they are known, with the other holes in them; and how often these were
        changed so far."""
        while True:
            self._changed.clear()
            self._look(monotonic())
            restless = not self._settled and monotonic() < self._sound.restless_until()
            if not restless and (found := self._spoilt(place)) is not None:
                return found
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _look(self, now: float) -> None:
        if self._asked is not None and now >= self._asked[0] + ANSWER_TIME:
            self._answered, self._asked = self._asked[1], None
        if self._asked is None:
            self._asked = now, self._end

    def _spoilt(self, place: LateHole) -> tuple[Spoilt, dict[str, int]] | None:
        """None: not known yet."""
        found: Spoilt | None = None
        changes: dict[str, int] = {}
        waiting = [place]
        while waiting:
            one = waiting.pop()
            its = self._utterances.spoilt(
                one.start, one.stop, end=self._end, answered=self._answered, settled=self._settled
            )
            if its is None:
                return None
            changes[one.id] = one.changes
            found = its if found is None else found.with_(its)
            others = (other for other in self._sound.places if other.fills and other.id not in changes)
            waiting = [other for other in others if found.touches(other.start, other.stop)]
        assert found is not None
        return self._kept(found), changes

    def _kept(self, found: Spoilt) -> Spoilt:
        """Only as far as its sound is still here."""
        oldest = self._sound.kept_from
        if found.start >= oldest:
            return found
        whole = tuple(one for one in found.utterances if one.start >= oldest)
        start = max([oldest, *(one.stop for one in found.utterances if one.start < oldest)])
        return replace(found, start=min(start, found.stop), utterances=whole)

    async def _understand(self, spoilt: Spoilt) -> list[Transcript] | None:
        """Final transcripts in times of the session; None: not all of it could be understood."""
        said = Finals()
        timeline = Timeline()
        self._ear = ear = Ear(
            self._speech,
            self._want,
            said.add,
            lambda _fault: None,
            lambda _slow: None,
            measured=False,
            **self._about,
        )
        position = 0
        try:
            for start, pcm in self._sound.stretch(spoilt.start, spoilt.stop):
                timeline.leap(position, start)
                ear.put(Piece(position, pcm, monotonic()))
                position += len(pcm) // BYTES_PER_SAMPLE
                if position > AT_ONCE:
                    async with asyncio.timeout(OPENING):
                        await ear.fed_some()
                    await asyncio.sleep(len(pcm) / BYTES_PER_SAMPLE / SAMPLE_RATE / HURRY)
            complete = await ear.finish()
        except TimeoutError:
            return None
        finally:
            self._fed, self._ear = self.fed, None
            await ear.close()
        if not complete:
            return None
        return [
            replace(
                one,
                start_ms=timeline.begin(one.start_ms * _PER_MS) // _PER_MS,
                end_ms=timeline.end(one.end_ms * _PER_MS) // _PER_MS,
            )
            for one in said
        ]

    def _replace(self, place: LateHole, spoilt: Spoilt, understood: list[Transcript]) -> None:
        """Where nothing was understood, what stands there stays."""
        self._log.info("late words understood", hole=place.id, replaced=len(spoilt.utterances), by=len(understood))
        gone = tuple(one.id for one in spoilt.utterances)
        new = [
            replace(one, id=f"u{next(self._ids)}", inserts=place.id, replaces=gone if one is understood[0] else ())
            for one in understood
        ]
        if new:
            self._utterances.replace(spoilt.utterances, [_utterance(one) for one in new])
        for one in new:
            self._say(one)

    def _failed(self, task: str, error: BaseException) -> None:
        """The supervisor boundary: an unexpected error leaves the transcript as it was."""
        self._log.error("late words not understood", task=task, exc_info=error)


def _utterance(said: Transcript) -> Utterance:
    assert said.id is not None
    return Utterance(said.id, said.start_ms * _PER_MS, said.end_ms * _PER_MS)
