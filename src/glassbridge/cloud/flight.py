"""The flight recorder of one session (docs/recorder.md): what happened, what passed each hop, how it is now."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from glassbridge.cloud.audio import Listener
from glassbridge.cloud.meter import LevelMeter
from glassbridge.core.flight import COLUMNS, Counts, Gap, GapFold, find_gaps
from glassbridge.core.gaps import Gap as TranscriptGap
from glassbridge.core.gaps import GapState
from glassbridge.core.newest import Newest
from glassbridge.core.values import UserId
from glassbridge.runtime.lazy import Lazy
from glassbridge.speech.base import Transcript
from glassbridge.telemetry.recorder import EVENT_BYTES, MAX_TEXT, Events, Redact, Rising, Seconds, SteadyClock

OWN: Final = ("cloud_in", "socket_in", "recogniser_fed", "recogniser_answered", "apps_out")
"""Columns that this cloud counts itself, as a source gives them."""
_OWN_COLUMNS: Final = tuple(COLUMNS.index(name) for name in OWN)

NO_FACTS: Final = {"link": "idle", "generation": 0, "epoch": 0, "bridge": None, "numbered": False, "apps": {}}
NO_TOTALS: Final = (0,) * len(OWN)
CHATTER: Final = frozenset({"voice", "microphone", "network", "app"})
"""Kinds of events that a phone can cause as often as it likes: they never push out a decision."""
CHATTER_BYTES: Final = 16 << 10
CAPTIONS: Final = 50
"""Captions of one session that are kept."""

Row = dict[str, Any]


class Source(Protocol):
    """What a living session says of itself when it is asked."""

    def totals(self) -> tuple[int, ...]:
        """What it has counted so far, in the order of OWN; one that falls has begun anew."""

    def facts(self) -> Row:
        """`link`, `generation`, `epoch`, `bridge`, `numbered`, `apps` of a row."""

    @property
    def listeners(self) -> list[Listener]:
        """The listeners of its microphone; the caller that adds one removes it again."""


@dataclass(slots=True)
class _Told:
    """What the phone knows."""

    state: str = "connecting"
    text: str = ""
    code: str = ""
    hop: str | None = None
    transport: str | None = None
    since_ms: int = 0


class Captions:
    """The recent words, and where words are missing; for those who watch, or who ask for it."""

    def __init__(self) -> None:
        self._said: Newest[tuple[int, Row]] = Newest(CAPTIONS)
        self.said = 0
        """So far."""

    def put(self, at_ms: int, said: Transcript) -> None:
        """An interim one is replaced by what follows, unless that was said before it."""
        row = {"at_ms": at_ms, "text": said.text[:MAX_TEXT], "final": said.final}
        if said.id is not None:
            row |= {"id": said.id, "start_ms": said.start_ms}
        if said.inserts is not None:
            row |= {"inserts": said.inserts, "replaces": said.replaces}
        if said.inserts is not None:
            self._append_before_interim(row)
            return
        if self._said and not self._said[-1][1]["final"]:
            self._said.pop()
        self._append(row)

    def gap(self, at_ms: int, gap: TranscriptGap) -> None:
        """Words are missing here, or a gap that is known is another one now."""
        row = {"gap": gap.id, "start_ms": gap.at_ms, "seconds": gap.seconds, "state": gap.state.value}
        self._append_before_interim({"at_ms": at_ms, "text": "", "final": True} | row)

    def _append_before_interim(self, row: Row) -> None:
        interim = self._said.pop() if self._said and not self._said[-1][1]["final"] else None
        self._append(row)
        if interim is not None:
            self._said.append(interim)

    def _append(self, row: Row) -> None:
        self.said += 1
        self._said.append((self.said, row))

    def all(self) -> list[Row]:
        """In the order in which it was said: each gap as it is now, none that was filled, and what came late; the last
        caption may still change."""
        rows: dict[str | int, Row] = {}
        for number, row in self._said:
            key: str | int = row.get("gap") or row.get("id") or number
            known = rows.get(key)
            rows[key] = row if known is None else row | {"at_ms": known["at_ms"]}
            for gone in row.get("replaces", ()):
                rows.pop(gone, None)
            if known is None and ("gap" in row or "inserts" in row):
                rows = _in_place(rows, key)
        return [row for row in rows.values() if row.get("state") != GapState.FILLED.value]

    def since(self, said: int) -> list[Row]:
        """What came after so many, each change of a gap a row."""
        return [row for number, row in self._said if number > said]


def _in_place(rows: dict[str | int, Row], key: str | int) -> dict[str | int, Row]:
    """The row of this key before the first one that was said later."""
    start, others = rows[key]["start_ms"], [one for one in rows if one != key]
    later = next((at for at, one in enumerate(others) if rows[one].get("start_ms", -1) > start), len(others))
    return {one: rows[one] for one in (*others[:later], key, *others[later:])}


_LIGHTS: Final = {"live": "ok", "connecting": "wait", "interrupted": "bad", "unavailable": "bad"}


class Flight:
    """The recorder of one session."""

    __slots__ = (
        "_captions", "_facts", "_fold", "_gaps", "_keeps", "_rising", "_source", "_started_ms", "_told", "_totals",
        "_watchers", "clock", "ended_ms", "events", "id", "meter", "seconds", "user",
    )  # fmt: skip

    def __init__(self, user: UserId, session_id: str, clock: SteadyClock, redact: Redact, *, keeps: bool) -> None:
        """`keeps`: counts and events, too, not only how it is now."""
        self.id = session_id
        self.user = user
        self.ended_ms: int | None = None
        self.seconds = Seconds(len(COLUMNS), clock() // 1000)
        self.events = Events(redact, EVENT_BYTES, CHATTER, CHATTER_BYTES)
        self._captions: Captions | None = None
        self.clock = clock
        self._keeps = keeps
        self.meter: LevelMeter | None = None
        """While it is watched."""
        self._watchers = 0
        self._started_ms = clock()
        self._source: Source | None = None
        """None before it begins, and after its end."""
        self._facts: Row = NO_FACTS
        self._totals: tuple[int, ...] = NO_TOTALS
        self._rising: dict[str, Rising] = {}
        """By column, once it is told."""
        self._told = _Told(since_ms=self._started_ms)
        self._fold = GapFold(keep=1)
        self._gaps: tuple[tuple[int, int], list[Gap]] | None = None
        """As found for (number of events, seconds): each watcher asks."""

    @Lazy
    def captions(self) -> Captions:
        """Of this session."""
        return Captions()

    # ---- what happens

    def attach(self, source: Source) -> None:
        """From now on the link can be asked."""
        self._source = source

    def note(self, kind: str, **fields: Any) -> None:
        """An event; cheap, but not for each frame."""
        now = self.clock()
        if self._keeps:
            self.events.note(now, kind, fields)
            self._fold.hear({"kind": kind, "at_ms": now, **fields})
        match kind:
            case "audio state":
                self._tell(fields["state"], now, **{k: fields.get(k) for k in ("text", "code", "hop", "transport")})
            case "phone socket" if not fields["here"]:
                self._tell("away", now, text="the phone is not connected", code="phone_away")

    def _tell(self, state: str, now: int, **about: Any) -> None:
        since = self._told.since_ms if self._told.state == state else now
        self._told = _Told(
            state, about["text"] or "", about["code"] or "", about.get("hop"), about.get("transport"), since
        )

    def understood(self, said: Transcript) -> None:
        """A caption."""
        if self._keeps or self._watchers:
            self.captions.put(self.clock(), said)

    def words_missing(self, gap: TranscriptGap) -> None:
        """A gap in the transcript, or its outcome."""
        if self._keeps or self._watchers:
            self.captions.gap(self.clock(), gap)

    def begin(self, *columns: str) -> None:
        """The source of these totals begins anew, at 0."""
        for name in columns:
            self._rise(name).begin(self.clock())

    def told(self, **totals: int) -> None:
        """Totals that others count, by column."""
        if self._keeps:
            now = self.clock()
            for name, total in totals.items():
                self._rise(name).told(now, total)

    def _rise(self, column: str) -> Rising:
        if (found := self._rising.get(column)) is None:
            found = self._rising[column] = Rising(self.seconds, COLUMNS.index(column))
        return found

    def book(self, second: int) -> None:
        """The counts since the last call belong to this second (unix)."""
        if self._source is None or not self._keeps:
            return
        before, self._totals = self._totals, self._source.totals()
        if self._totals == before:
            self.seconds.add_none(second, _OWN_COLUMNS)
            return
        grown = [total - was if total >= was else total for was, total in zip(before, self._totals, strict=True)]
        self.seconds.add_all(second, zip(_OWN_COLUMNS, grown, strict=True))

    def end(self) -> None:
        """The session is over; its last state stays."""
        now = self.clock()
        self.book(now // 1000)
        self._facts = {**self._current(), "apps": {}}
        self._source, self.ended_ms = None, now
        self._tell("ended", now, text="", code="")

    # ---- what is asked

    @contextmanager
    def listened_to(self) -> Iterator[None]:
        """It is watched: its level is measured."""
        self._watchers += 1
        if self._watchers == 1 and self._source is not None:
            self.meter = LevelMeter(self.clock)
            self._source.listeners.append(self.meter)
        try:
            yield
        finally:
            self._watchers -= 1
            if self._watchers == 0 and self.meter is not None:
                if self._source is not None:
                    self._source.listeners.remove(self.meter)
                self.meter = None

    def row(self) -> Row:
        """One line of the list of sessions."""
        told = self._told
        light = _LIGHTS.get(told.state, "off")
        return {
            "id": self.id,
            "user": self.user,
            "light": "part" if light == "ok" and told.code else light,
            "state": told.state,
            "text": told.text,
            "code": told.code,
            "hop": told.hop,
            "transport": told.transport,
            "since_ms": told.since_ms,
            "started_ms": self._started_ms,
            "ended_ms": self.ended_ms,
            **self._current(),
            "last": self._last(),
            "gaps": self._fold.found,
        }

    def _current(self) -> Row:
        return self._facts if self._source is None else self._source.facts()

    def _last(self) -> list[int | None]:
        """A second for which others have had the time to tell what they counted."""
        second = self.clock() // 1000 - 2
        _, columns = self.seconds.rows(second, second + 1)
        return [column[0] if column else None for column in columns]

    def gaps(self) -> list[Gap]:
        """Dead hops of the last 15 minutes, the oldest first."""
        key = self.events.seq, self.complete
        if self._gaps is None or self._gaps[0] != key:
            counts, events = Counts(*self.seconds.rows(0, self.complete)), self.events.since(0)
            now = self.ended_ms or self.clock()
            self._gaps = key, find_gaps(events, now, counts, numbered=self._current()["numbered"])
        return self._gaps[1]

    @property
    def complete(self) -> int:
        """The second (unix) before which all are over; it stands still once the session has ended."""
        return self.clock() // 1000 if self.ended_ms is None else self.ended_ms // 1000 + 1

    def timeline(self, *, seconds: int | None = None, after: int = 0, with_captions: bool = False) -> Row:
        """All that is kept: of the last so many seconds, of events after number `after`."""
        stop = self.complete
        start, columns = self.seconds.rows(0 if seconds is None else stop - seconds, stop)
        return {
            "session": self.row(),
            "full": after == 0,
            "now_ms": self.clock(),
            "start_ms": start * 1000,
            "columns": COLUMNS,
            "seconds": columns,
            "events": self.events.since(after, 0 if seconds is None else (stop - seconds) * 1000),
            "gaps": [_gap_row(gap) for gap in self.gaps()],
            "events_dropped": self.events.lost_since(after) if after else self.events.dropped,
            "levels": None,
            "captions": self.captions.all() if with_captions else None,
        }


def _gap_row(gap: Gap) -> Row:
    return {
        "hop": gap.hop,
        "lane": gap.lane,
        "from_ms": gap.from_ms,
        "to_ms": gap.to_ms,
        "code": gap.code,
        "text": gap.text,
        "named_by": gap.named_by.value,
        "silent_ms": gap.silent_ms,
        "around": gap.around,
        "actions": gap.actions,
        "healed_by": gap.healed_by,
    }
