"""The bridge's own flight recorder: workers tell what passes each room, the supervisor remembers it when they are dead.

A worker says it on its lifeline (bridge/process.py), in lines of JSON: each decision at once, the counts of all rooms
once a second. The last lines of a killed worker are in the socket and are still read. The supervisor keeps the last 15
minutes of MAX_PLACES places.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import structlog

from glassbridge.core.values import Generation, UserId
from glassbridge.telemetry.recorder import KEPT, Events, Rising, Seconds, SteadyClock, redaction

log = structlog.get_logger()

WORD: Final = "flight"
"""Begins each line."""
COLUMNS: Final = ("livekit_in", "bridge_out")
ROOMS_IN_A_LINE: Final = 50
"""The supervisor reads lines of 64 KiB at most, and user ids can be long."""
MAX_PLACES: Final = 2_000
EVENT_BYTES: Final = 4 << 10
"""Of one place."""

Passed = tuple[UserId, Generation, int, int]
"""Frames of one place so far: out of the room, and to the cloud."""


class Said(msgspec.Struct, omit_defaults=True):
    """One line."""

    at_ms: int
    passed: list[Passed] = []
    decision: dict[str, Any] = {}
    """`user_id` and `generation`, and the fields of the log line."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Said)


class Reporter:
    """The worker's side; `say` takes a line and never waits."""

    def __init__(self, say: Callable[[str], None], clock: SteadyClock | None = None) -> None:
        self._say = say
        self._clock = clock or SteadyClock()

    def decided(self, **fields: Any) -> None:
        """A room decided something."""
        self._tell(Said(self._clock(), decision=fields))

    async def run(self, passed: Callable[[], Sequence[Passed]]) -> None:
        """Tells the counts of all rooms each second; until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            self._clock.follow()
            self.tell_counts(passed())

    def tell_counts(self, passed: Sequence[Passed]) -> None:
        """Of all rooms, as they are now."""
        now = self._clock()
        for start in range(0, len(passed), ROOMS_IN_A_LINE):
            self._tell(Said(now, passed=list(passed[start : start + ROOMS_IN_A_LINE])))

    def _tell(self, said: Said) -> None:
        self._say(f"{WORD} {_encoder.encode(said).decode()}")


@dataclass(slots=True)
class _Place:
    """What one worker told of one join."""

    worker: int
    pid: int
    user: str
    generation: int
    seconds: Seconds
    counts: tuple[Rising, ...]
    events: Events
    told_ms: int
    alive: bool = True


class FlightCopy:
    """The supervisor's side."""

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        self._clock = clock or SteadyClock()
        self._redact = redaction()
        self._places: OrderedDict[tuple[int, str, int], _Place] = OrderedDict()
        """By process, user and generation; the one that was told of last comes last."""
        self.malformed = 0
        """Lines that could not be read."""

    def __len__(self) -> int:
        return len(self._places)

    def hear(self, worker: int, pid: int, line: str) -> None:
        """A worker said this."""
        try:
            said = _decoder.decode(line)
        except msgspec.DecodeError:
            self.malformed += 1
            return
        for user, generation, *totals in said.passed:
            place = self._place(worker, pid, user, generation, said.at_ms)
            for rising, total in zip(place.counts, totals, strict=True):
                rising.told(said.at_ms, total)
        if said.decision:
            fields = said.decision
            place = self._place(
                worker, pid, str(fields.pop("user_id", "")), int(fields.pop("generation", 0)), said.at_ms
            )
            place.events.note(said.at_ms, "room decision", fields)

    def ended(self, pid: int) -> None:
        """That process is no more."""
        for place in self._places.values():
            if place.pid == pid:
                place.alive = False

    def find(self, user: str) -> dict[str, Any]:
        """All that is known of this user, the oldest place first (docs/recorder.md)."""
        self._forget()
        return {"now_ms": self._clock(), "rooms": [_row(p) for p in self._places.values() if p.user == user]}

    def _place(self, worker: int, pid: int, user: str, generation: int, at_ms: int) -> _Place:
        key = pid, user, generation
        place = self._places.get(key)
        if place is None:
            seconds = Seconds(len(COLUMNS), at_ms // 1000)
            counts = tuple(Rising(seconds, column) for column in range(len(COLUMNS)))
            for rising in counts:
                rising.begin(at_ms)
            events = Events(self._redact, EVENT_BYTES)
            place = self._places[key] = _Place(worker, pid, user, generation, seconds, counts, events, at_ms)
        place.told_ms = at_ms
        self._places.move_to_end(key)
        self._forget()
        return place

    def _forget(self) -> None:
        oldest = self._clock() - KEPT * 1000
        while self._places:
            key, place = next(iter(self._places.items()))
            if len(self._places) <= MAX_PLACES and place.told_ms >= oldest:
                return
            del self._places[key]


def _row(place: _Place) -> dict[str, Any]:
    start, columns = place.seconds.rows(0, place.seconds.stop)
    return {
        "user": place.user,
        "generation": place.generation,
        "worker": place.worker,
        "pid": place.pid,
        "alive": place.alive,
        "start_ms": start * 1000,
        "columns": COLUMNS,
        "seconds": columns,
        "events": place.events.since(0),
    }
