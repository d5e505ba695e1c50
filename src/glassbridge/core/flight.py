"""Which hop was dead, from when until when, why, and what healed it: told from the events and the counts of a flight
recorder.

Rules
- A hop is dead from the last frame that came by it, not from the moment at which that was noticed, until audio is
  reported to be back by its route. Audio that goes around a dead hop by the socket does not heal it.
- The audio link's diagnosis counts: it has asked all sides. If it never named a hop for a gap, the counts do: the hop
  after the last one through which frames went.
- A dead hop on the way through the room is healed by audio in the room, if the phone uses the room at all: audio by the
  socket proves nothing about it.
- If another hop is named meanwhile, the gap of the former one ends and a new one begins: a dead bridge that is back,
  and then cannot reach LiveKit, gives two gaps.
- If audio was reported as live, but the counts show none for SILENT seconds from a phone that numbers its audio, that
  is a gap too, although no notice named it.

It knows no clock and no log: events are mappings with `at_ms` and `kind`, as they were noted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from glassbridge.core.newest import Newest

SILENT: Final = 3
"""Seconds without any frame that make a gap of their own."""
MAX_ACTIONS: Final = 20
MAX_LIVE: Final = 200
"""Stretches of live audio that are remembered: more than the events of a recorder can tell of."""
MAX_GAPS: Final = 500
PHONE_AWAY: Final = ("phone_away", "the phone is not connected")
ENDED: Final = "ended"
BY_ITSELF: Final = "by itself"
REPAIRS: Final = frozenset({"join:joined", "restart_recogniser:recognises", "phone:back", "phone:in_room"})
"""What can heal; other actions only find out."""

COLUMNS: Final = (
    "phone_sent",
    "socket_sent",
    "livekit_in",
    "bridge_out",
    "cloud_in",
    "socket_in",
    "recogniser_fed",
    "recogniser_answered",
    "apps_out",
)
"""What is counted for each second, in this order (docs/recorder.md)."""

LANES: Final = {
    "phone": ("phone_sent", "socket_sent"),
    "livekit": ("livekit_in",),
    "bridge": ("bridge_out",),
    "cloud": ("cloud_in", "socket_in"),
    "recogniser": ("recogniser_fed", "recogniser_answered"),
    "apps": ("apps_out",),
}
"""Top to bottom as the audio goes; each with its columns."""

_LANE_OF: Final = {"stream": "bridge", None: "cloud"}
"""Hops that have no lane of their own."""

_WAY: Final = ("phone_sent", "livekit_in", "bridge_out", "cloud_in")
_DEAD_BEFORE: Final = {"phone_sent": "phone", "livekit_in": "livekit", "bridge_out": "bridge", "cloud_in": "stream"}
"""The dead hop if frames were seen before this count and none by it."""

Event = Mapping[str, Any]


class NamedBy(Enum):
    """The source that named the hop. The values are those of the wire."""

    DECISION = "decision"
    COUNTERS = "counters"


@dataclass(slots=True)
class Gap:
    """One dead hop. Times in unix milliseconds."""

    hop: str | None
    from_ms: int
    code: str
    text: str
    to_ms: int | None = None
    """None: it is still dead."""
    named_by: NamedBy = NamedBy.DECISION
    silent_ms: int = 0
    """For how long of it no audio came at all, by no way."""
    around: str | None = None
    """By which other way audio came meanwhile."""
    actions: list[str] = field(default_factory=list)
    healed_by: str | None = None

    @property
    def lane(self) -> str:
        """Where it is drawn."""
        return _LANE_OF.get(self.hop, self.hop or "")

    def close(self, at_ms: int, healed_by: str | None = None) -> None:
        """It is not dead any more, or no longer looked at."""
        repairs = (action for action in reversed(self.actions) if action in REPAIRS)
        self.to_ms = max(at_ms, self.from_ms)
        self.healed_by = healed_by or next(repairs, BY_ITSELF)


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of the seconds that begin at `start` (unix seconds); one row of numbers for each of COLUMNS, None where
    nobody knows."""

    start: int
    columns: Sequence[Sequence[int | None]]

    def of(self, name: str) -> Sequence[int | None]:
        """One column."""
        return self.columns[COLUMNS.index(name)]

    def within(self, name: str, from_ms: int, to_ms: int) -> list[int]:
        """What is known of the whole seconds in between."""
        first = max(0, -(-from_ms // 1000) - self.start)
        stop = max(0, to_ms // 1000 - self.start)
        return [count for count in self.of(name)[first:stop] if count is not None]


NOTHING_COUNTED: Final = Counts(0, tuple(() for _ in COLUMNS))


def find_gaps(events: Iterable[Event], now_ms: int, counts: Counts = NOTHING_COUNTED, *, numbered: bool) -> list[Gap]:
    """All gaps that the events and the counts show, the oldest first. `numbered`: this phone sends something each
    second."""
    story = GapFold()
    for event in events:
        story.hear(event)
    story.finish(now_ms)
    for gap in story.gaps:
        if gap.hop is None and (hop := dead_hop(counts, gap.from_ms, gap.to_ms or now_ms)) is not None:
            gap.hop, gap.named_by = hop, NamedBy.COUNTERS
    unnoticed = _unnoticed(story, counts) if numbered else []
    return sorted([*story.gaps, *unnoticed], key=lambda gap: gap.from_ms)


def dead_hop(counts: Counts, from_ms: int, to_ms: int) -> str | None:
    """The first hop in the room's way by which nothing went in these seconds; None where all passed, or where nobody
    knows what reached the hop before it."""
    reached = True
    for name in _WAY:
        known = counts.within(name, from_ms, to_ms)
        if known and not any(known):
            return _DEAD_BEFORE[name] if reached else None
        reached = bool(known)
    return None


def _unnoticed(story: "GapFold", counts: Counts) -> list[Gap]:
    """Seconds without any frame while audio was told to be live."""
    found: list[Gap] = []
    arrived = zip(counts.of("cloud_in"), counts.of("socket_in"), strict=True)
    run = 0
    for second, (room, socket) in enumerate([*arrived, (1, 1)], counts.start):
        if room == 0 and socket == 0:
            run += 1
            continue
        from_ms, to_ms = (second - run) * 1000, second * 1000
        if run >= SILENT and story.claimed_live(from_ms, to_ms):
            hop = dead_hop(counts, from_ms, to_ms)
            gap = Gap(hop, from_ms, "unnoticed", "no frame came, and no notice said so", named_by=NamedBy.COUNTERS)
            gap.silent_ms = to_ms - from_ms
            gap.close(to_ms)
            found.append(gap)
        run = 0
    return found


class GapFold:
    """Folds the events of one session into gaps, of which the last `keep` are kept."""

    __slots__ = (
        "_live", "_live_since", "_recogniser", "_silent_since", "_wants_room", "_way", "_way_opened_at", "_woke_at",
        "found", "gaps",
    )  # fmt: skip

    def __init__(self, keep: int = MAX_GAPS) -> None:
        self.gaps: Newest[Gap] = Newest(keep)
        self.found = 0
        """How many there were in all."""
        self._way: Gap | None = None
        """The open gap of the way from the phone to us."""
        self._way_opened_at = 0
        self._woke_at = 0
        """The end of the last stall of this cloud: before it, frames may have come unseen."""
        self._recogniser: Gap | None = None
        self._silent_since: int | None = None
        """Since when no audio comes at all; None while it does, or before it ever did."""
        self._wants_room = True
        self._live: Newest[tuple[int, int]] = Newest(MAX_LIVE)
        """Times in which audio was told to be live."""
        self._live_since: int | None = None

    def hear(self, event: Event) -> None:
        """The next event."""
        handle = _HANDLERS.get(event["kind"])
        if handle is not None:
            handle(self, event, event["at_ms"])

    def finish(self, now_ms: int) -> None:
        """There are no more events."""
        if self._live_since is not None:
            self._live.append((self._live_since, now_ms))
        if self._way is not None and self._silent_since is not None:
            self._way.silent_ms += max(0, now_ms - self._silent_since)

    def claimed_live(self, from_ms: int, to_ms: int) -> bool:
        """All of this time audio was told to be live."""
        return any(since <= from_ms and to_ms <= until for since, until in self._live)

    # ---- what was noted

    def _told(self, event: Event, at: int) -> None:
        """`audio state`: what the phone was told."""
        state, hop = event["state"], event.get("hop")
        live = state == "live"
        self._note_live(live, at)
        self._judge_recogniser(event if hop == "recogniser" else None, at, live)
        if live:
            self._end_silence(at)
        elif state != "connecting" and self._silent_since is None:
            self._silent_since = self._last_frame(event, "room_age_ms", "socket_age_ms")
        if live and hop in (None, "recogniser"):
            self._heal(event, at)
        elif state != "connecting":
            ways = ("room_age_ms",) if live else ("room_age_ms", "socket_age_ms")
            self._die(hop, event.get("code", ""), event.get("text", ""), self._last_frame(event, *ways), at)
        if live and self._way is not None:
            self._way.around = "websocket"

    def _heal(self, event: Event, at: int) -> None:
        """All is well: by the way that is dead, too?"""
        away = self._way is not None and self._way.code == PHONE_AWAY[0]
        uses_room = self._wants_room and event.get("room_age_ms") is not None
        if away or not uses_room or event.get("transport") == "livekit":
            self._close_way(at)

    def _moved(self, event: Event, at: int) -> None:
        """`phone socket`: it is here, or it is away."""
        if event["here"]:
            self._wants_room = event.get("livekit", True)
            self._did("phone:back")
            return
        self._note_live(False, at)
        last = self._last_frame(event, "room_age_ms", "socket_age_ms")
        if self._silent_since is None:
            self._silent_since = last
        self._die("phone", *PHONE_AWAY, last, at)

    def _recovered(self, event: Event, _at: int) -> None:
        """`recovery`: something was done."""
        done = f"{event['action']}:{event['result']}"
        if event["action"] != "restart_recogniser":
            self._did(done)
        elif self._recogniser is not None and len(self._recogniser.actions) < MAX_ACTIONS:
            self._recogniser.actions.append(done)

    def _news(self, event: Event, _at: int) -> None:
        """`room news`: the phone may be in its room again."""
        if event.get("phone_here") and self._way is not None and self._way.hop == "phone":
            self._did("phone:in_room")

    def _stalled(self, event: Event, at: int) -> None:
        """`standstill`: we were frozen ourselves."""
        gap = Gap("cloud", at - event["ms"], "cloud_stood_still", "this cloud stalled", silent_ms=event["ms"])
        gap.close(at)
        self._add(gap)
        self._woke_at = at
        if self._way is not None and self._way_opened_at >= gap.from_ms:  # found when we woke, a moment before
            self._way.from_ms = self._way_opened_at
            if self._silent_since is not None:
                self._silent_since = max(self._silent_since, self._way_opened_at)

    def _ended(self, _event: Event, at: int) -> None:
        """`session gone`."""
        self._note_live(False, at)
        self._end_silence(at)
        self._close_way(at, ENDED)
        if self._recogniser is not None:
            self._recogniser.close(at, ENDED)
            self._recogniser = None

    # ---- gaps

    def _die(self, hop: str | None, code: str, text: str, last_frame: int, at: int) -> None:
        gap = self._way
        if gap is not None and hop in (None, gap.hop):
            return
        if gap is not None and gap.hop is None:
            gap.hop, gap.code, gap.text = hop, code, text
            return
        if gap is not None:
            silent = self._silent_since is not None
            self._end_silence(at)
            self._close_way(at, f"then {code}")
            self._silent_since = at if silent else None
            last_frame = at
        self._way, self._way_opened_at = Gap(hop, last_frame, code, text), at
        self._add(self._way)

    def _add(self, gap: Gap) -> None:
        self.gaps.append(gap)
        self.found += 1

    def _last_frame(self, event: Event, *ages: str) -> int:
        """When the last frame came by any of these ways; the event's own time where none ever did."""
        known = [event[age] for age in ages if event.get(age) is not None]
        at: int = event["at_ms"]
        return max(at - min(known, default=0), min(self._woke_at, at))

    def _close_way(self, at: int, healed_by: str | None = None) -> None:
        if self._way is not None:
            self._way.close(at, healed_by)
            self._way = None

    def _did(self, done: str) -> None:
        if self._way is not None and len(self._way.actions) < MAX_ACTIONS:
            self._way.actions.append(done)

    def _end_silence(self, at: int) -> None:
        since, self._silent_since = self._silent_since, None
        if since is not None and self._way is not None:
            self._way.silent_ms += max(0, at - max(since, self._way.from_ms))

    def _judge_recogniser(self, trouble: Event | None, at: int, live: bool) -> None:
        gap = self._recogniser
        if trouble is not None and gap is None:
            self._recogniser = Gap("recogniser", at, trouble.get("code", ""), trouble.get("text", ""))
            self._add(self._recogniser)
        elif trouble is None and live and gap is not None:
            gap.close(at)
            self._recogniser = None

    def _note_live(self, live: bool, at: int) -> None:
        if live and self._live_since is None:
            self._live_since = at
        elif not live and self._live_since is not None:
            self._live.append((self._live_since, at))
            self._live_since = None


_HANDLERS: Final = {
    "audio state": GapFold._told,
    "phone socket": GapFold._moved,
    "recovery": GapFold._recovered,
    "room news": GapFold._news,
    "standstill": GapFold._stalled,
    "session gone": GapFold._ended,
}
