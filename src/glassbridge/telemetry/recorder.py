"""What a flight recorder keeps in memory: counts of the last KEPT seconds, and events, both bounded.

Wall clock only by one anchor: time here is unix milliseconds that run with the monotonic clock.
"""

import struct
import time
from array import array
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import takewhile
from typing import Any, Final

import msgspec

from glassbridge.telemetry.redaction import MASK, Redactor, is_sensitive

KEPT: Final = 900
"""Seconds."""
PAGE: Final = 30
"""Seconds of counts that are kept together."""
EVENT_BYTES: Final = 64 << 10
"""Of one recorder; with the overhead of the objects that hold them."""
OVERHEAD: Final = 48
"""Bytes that the object of an event costs."""
MAX_TEXT: Final = 300
"""Characters of one value of an event."""
MAX_ITEMS: Final = 20
SEEN: Final = 1_000
"""Texts that need no second look."""
STEP: Final = 1_000
"""Milliseconds by which the wall clock must have run ahead (a machine that slept) before we follow it."""

_UNKNOWN: Final = 0xFFFF
_UNKNOWN_CELL: Final = array("H", [_UNKNOWN]).tobytes()
_MOST: Final = _UNKNOWN - 1
Redact = Callable[[str], str]

_encoder = msgspec.json.Encoder()
_HEADER: Final = struct.Struct(">QQ")
"""Number and time of an event, before the rest of it as JSON; big-endian, so that lines sort by number."""
_buffer = bytearray(_HEADER.size)
_decoder = msgspec.json.Decoder(dict[str, Any])


def redaction(secrets: Iterable[str] = ()) -> Redact:
    """Removes secrets; remembers what it has seen, for events say the same words again and again."""
    return lru_cache(SEEN)(Redactor(secrets))


class SteadyClock:
    """Unix milliseconds that never run backwards and do not follow small steps of the wall clock."""

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._ahead = wall() - monotonic()

    def __call__(self) -> int:
        """Now."""
        return int((self._monotonic() + self._ahead) * 1000)

    def follow(self) -> None:
        """After a sleep of the machine, during which the monotonic clock stood still."""
        ahead = self._wall() - self._monotonic()
        if (ahead - self._ahead) * 1000 > STEP:
            self._ahead = ahead


@lru_cache(SEEN)
def _alike(row: bytes) -> bytes:
    """A page of equal rows, one for all recorders."""
    return row * PAGE


@lru_cache(SEEN)
def _shared(page: bytes) -> bytes:
    """One for all recorders of phones that were as silent, where a second is missing in the middle."""
    return page


class Seconds:
    """Counts by second and column, of the last KEPT seconds. A second without a count is unknown.

    They are kept in pages. One whose seconds are all alike, so far, or in which nothing was counted, is shared by all
    recorders: a phone that says nothing has none of its own. What a shared page holds after `stop` was never counted.
    """

    __slots__ = ("_origin", "_pages", "_quiet_columns", "_quiet_from", "_quiet_to", "_width", "stop")

    def __init__(self, columns: int, first: int) -> None:
        self._width = columns
        self._origin = first
        self.stop = first
        """The second (unix) after the last one of which there is a row."""
        self._pages: dict[int, array[int] | bytes] = {}
        """By number, the oldest first; bytes: a shared one."""
        self._quiet_from: int | None = None
        self._quiet_to = first
        self._quiet_columns: tuple[int, ...] = ()
        """From when to when nothing was counted in which columns, as far as that is not written down yet."""

    @property
    def first(self) -> int:
        """The oldest second that is kept."""
        return max(self._origin, self.stop - KEPT)

    @property
    def nbytes(self) -> int:
        """Of its own pages."""
        return sum(page.itemsize * len(page) for page in self._pages.values() if isinstance(page, array))

    def add(self, second: int, column: int, count: int) -> None:
        """Counts; not before the oldest second."""
        self.add_all(second, ((column, count),))

    def add_all(self, second: int, counts: Iterable[tuple[int, int]]) -> None:
        """The same for several columns."""
        self._write_quiet()
        self._add_all(second, counts)

    def add_none(self, second: int, columns: tuple[int, ...]) -> None:
        """Nothing was counted in this second. It is written down at the next count or question: most phones say nothing
        most of the time."""
        if second - 1 != self._quiet_to or columns is not self._quiet_columns:
            self._write_quiet()
        if self._quiet_from is None:
            self._quiet_from, self._quiet_columns = second, columns
        self._quiet_to = second

    def _write_quiet(self) -> None:
        first, self._quiet_from = self._quiet_from, None
        if first is not None:
            for second in range(max(first, self._quiet_to - KEPT + 1), self._quiet_to + 1):
                self._add_all(second, ((column, 0) for column in self._quiet_columns))

    def _add_all(self, second: int, counts: Iterable[tuple[int, int]]) -> None:
        number, at = second // PAGE, second % PAGE * self._width
        if self.first <= second < self.stop:
            _count(self._own(number), at, counts)
        if second < self.stop:
            return
        row = array("H", _UNKNOWN_CELL * self._width)
        _count(row, 0, counts)
        page = self._pages.get(number)
        if second == self.stop and isinstance(page, bytes) and page.startswith(row, at * row.itemsize):
            self.stop += 1
            return
        self._reach(second)
        if second in (self._origin, number * PAGE):
            self._pages[number] = _alike(row.tobytes())
            return
        own = self._own(number)
        if all(count in (0, _UNKNOWN) for count in row):
            own[at:] = row * (PAGE - second % PAGE)
            self._pages[number] = _shared(own.tobytes())
        else:
            own[at : at + self._width] = row

    def rows(self, start: int, stop: int) -> tuple[int, list[list[int | None]]]:
        """(first second, for each column its counts) of what is kept between start and stop."""
        self._write_quiet()
        start, stop = max(start, self.first), min(stop, self.stop)
        if start >= stop:
            return start, [[] for _ in range(self._width)]
        first, last = start // PAGE, (stop - 1) // PAGE
        cells = memoryview(b"".join(self._pages[number] for number in range(first, last + 1))).cast("H")
        kept = cells[(start - first * PAGE) * self._width : (stop - first * PAGE) * self._width]
        columns = (kept[column :: self._width] for column in range(self._width))
        return start, [[None if count == _UNKNOWN else count for count in column] for column in columns]

    def _own(self, number: int) -> "array[int]":
        """The page to write into."""
        page = self._pages[number]
        if isinstance(page, bytes):
            counted = max(0, self.stop - number * PAGE) * self._width * len(_UNKNOWN_CELL)
            page = self._pages[number] = array("H", page[:counted].ljust(len(page), _UNKNOWN_CELL[:1]))
        return page

    def _reach(self, second: int) -> None:
        """There is a row of this second, and of each one before."""
        begin = max(self.stop, second - KEPT + 1)
        if begin // PAGE in self._pages:
            self._own(begin // PAGE)
        self.stop = second + 1
        for number in range(begin // PAGE, second // PAGE + 1):
            if number not in self._pages:
                self._pages[number] = _alike(_UNKNOWN_CELL * self._width)
                self._settle(number - 2)  # what others tell comes some seconds late
        while (oldest := next(iter(self._pages))) < self.first // PAGE:
            del self._pages[oldest]

    def _settle(self, number: int) -> None:
        page = self._pages.get(number)
        if isinstance(page, array):
            kept = page.tobytes()
            row = kept[: len(kept) // PAGE]
            if kept == row * PAGE:
                self._pages[number] = _alike(row)


def _count(cells: "array[int]", at: int, counts: Iterable[tuple[int, int]]) -> None:
    for column, count in counts:
        known = cells[at + column]
        cells[at + column] = min(_MOST, count if known == _UNKNOWN else known + count)


class Rising:
    """A total that is reported now and then: its growth is spread evenly over the time since the last report."""

    def __init__(self, seconds: Seconds, column: int) -> None:
        self._seconds = seconds
        self._column = column
        self._told: tuple[int, int] | None = None
        """(when, total)."""

    def begin(self, at_ms: int, total: int = 0) -> None:
        """Counts from here: the source of the total has begun anew."""
        self._told = at_ms, total

    def told(self, at_ms: int, total: int) -> None:
        """The total is now this. A smaller one than before begins anew."""
        before, self._told = self._told, (at_ms, total)
        if before is None or total < before[1]:
            return
        at_ms = max(at_ms, before[0] + 1)
        since, reached = max(before[0], at_ms - KEPT * 1000), before[1]
        span, growth, counted = at_ms - since, total - reached, reached
        for second in range(since // 1000, (at_ms - 1) // 1000 + 1):
            end = min((second + 1) * 1000, at_ms)
            now = reached + growth * (end - since) // span
            self._seconds.add(second, self._column, now - counted)
            counted = now


class Events:
    """What happened, as compact JSON; the oldest go when they are older than KEPT seconds or too many. Kinds that are
    `chatter`, which a peer can cause at will, have a little room of their own. No secret gets in: `redact`
    sees every text."""

    __slots__ = ("_chatter", "_redact", "_rings", "seq")

    def __init__(
        self, redact: Redact, limit: int = EVENT_BYTES, chatter: frozenset[str] = frozenset(), little: int = 0
    ) -> None:
        self._redact = redact
        self._chatter = chatter
        self._rings = _Ring(limit), _Ring(little)
        self.seq = 0
        """Of the newest event."""

    @property
    def size(self) -> int:
        """Bytes that are kept, with OVERHEAD."""
        return sum(ring.size for ring in self._rings)

    @property
    def dropped(self) -> int:
        """Events that had to go for want of room."""
        return sum(ring.dropped for ring in self._rings)

    def note(self, at_ms: int, kind: str, fields: Mapping[str, Any]) -> None:
        """Something happened."""
        self.seq += 1
        event: dict[str, Any] = {"kind": kind}
        event.update((name, MASK if is_sensitive(name) else self._clean(value)) for name, value in fields.items())
        _encoder.encode_into(event, _buffer, _HEADER.size)
        _HEADER.pack_into(_buffer, 0, self.seq, at_ms)
        for ring in self._rings:
            ring.forget_before(at_ms - KEPT * 1000)
        self._rings[kind in self._chatter].put(bytes(_buffer))

    def since(self, seq: int, from_ms: int = 0) -> list[dict[str, Any]]:
        """Those after number `seq`, not older than `from_ms`."""
        lines = sorted(line for ring in self._rings for line in ring.since(seq))
        events = ((*_HEADER.unpack_from(line), memoryview(line)[_HEADER.size :]) for line in lines)
        return [
            {"seq": seq, "at_ms": at_ms, **_decoder.decode(event)} for seq, at_ms, event in events if at_ms >= from_ms
        ]

    def lost_since(self, seq: int) -> int:
        """How many of those after number `seq` are not here any more."""
        return self.seq - seq - sum(len(ring.since(seq)) for ring in self._rings)

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._redact(value[:MAX_TEXT])
        if isinstance(value, list | tuple):
            return [self._clean(item) for item in value[:MAX_ITEMS]]
        return value


class _Ring:
    """Lines of at most `limit` bytes."""

    __slots__ = ("_limit", "_lines", "dropped", "size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lines: list[bytes] = []
        self.size = self.dropped = 0

    def put(self, line: bytes) -> None:
        self._lines.append(line)
        self.size += len(line) + OVERHEAD
        while self.size > self._limit:
            self._forget()
            self.dropped += 1

    def forget_before(self, at_ms: int) -> None:
        while self._lines and _HEADER.unpack_from(self._lines[0])[1] < at_ms:
            self._forget()

    def since(self, seq: int) -> list[bytes]:
        after = _HEADER.pack(seq + 1, 0)
        found = list(takewhile(lambda line: line >= after, reversed(self._lines)))
        return found[::-1]

    def _forget(self) -> None:
        self.size -= len(self._lines.pop(0)) + OVERHEAD
