"""The fate of each frame, and how long what took: from what phones say that they spoke, what subscribers got, and
what phones were told. Pure; times are CLOCK_MONOTONIC nanoseconds, results are seconds."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Any

from glassbridge.lab.stamps import Stamp

HOLE = 1_000_000_000
"""A shorter silence at a subscriber is none: frames come each 100 ms, and machines stutter."""

SILENT = 500_000_000
"""Shorter holes are not counted as time without audio."""


@dataclass(frozen=True, slots=True)
class Block:
    """What one listener of a session got at once."""

    backend: str
    session: str
    live: bool
    """The live view, which leaves out late audio; otherwise the complete one."""
    at_ns: int
    stamps: tuple[Stamp, ...]
    strange: int = 0
    """Bytes that belong to no whole frame."""


@dataclass(frozen=True, slots=True)
class Run:
    """Frames that a phone spoke at once."""

    generation: int
    first: int
    count: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Span:
    """When one episode was for one user, CLOCK_MONOTONIC nanoseconds."""

    cause_ns: int
    gone_ns: int
    end_ns: int
    region: str | None
    """The backend at which its audio was waited for; None: any."""
    hole_ns: tuple[int, int]
    """The longest time without a frame at a subscriber."""
    bystander: bool = False
    """The fault was somebody else's."""


@dataclass(frozen=True, slots=True)
class Fates:
    """Frames of 10 ms of one user."""

    sent: int = 0
    delivered: int = 0
    """In the live view."""
    late: int = 0
    """In the complete view only."""
    lost: int = 0
    """In neither."""
    duplicated: int = 0
    """More than once in the live view of one session."""
    reordered: int = 0
    """After a later one, in the live view of one session."""
    foreign: int = 0
    """Of somebody else."""
    strange: int = 0
    """Bytes of no frame."""
    oldest_s: float = 0.0
    """Greatest age at which a frame was handed on as live."""


def fates(user: int, spoken: Iterable[Run], blocks: Iterable[Block]) -> Fates:
    """The fate of all that `user` spoke; `blocks` are what the sessions of this user handed on, whenever."""
    sent = {(run.generation, run.first + at) for run in spoken for at in range(run.count)}
    live: set[tuple[int, int]] = set()
    complete: set[tuple[int, int]] = set()
    newest: dict[tuple[str, str], tuple[int, int]] = {}
    seen: dict[tuple[str, str], set[tuple[int, int]]] = {}
    counts: Counter[str] = Counter()
    oldest = 0
    for block in sorted(blocks, key=lambda block: block.at_ns):
        counts["strange"] += block.strange
        for stamp in block.stamps:
            frame = (stamp.generation, stamp.sequence)
            if stamp.user != user:
                counts["foreign"] += 1
            elif frame not in sent:
                continue  # spoken outside of the time in question
            elif not block.live:
                complete.add(frame)
            else:
                session = (block.backend, block.session)
                own = seen.setdefault(session, set())
                counts["duplicated"] += frame in own
                counts["reordered"] += frame < newest.get(session, frame)
                newest[session] = max(frame, newest.get(session, frame))
                own.add(frame)
                live.add(frame)
                oldest = max(oldest, block.at_ns - stamp.sent_ns)
    return Fates(
        sent=len(sent),
        delivered=len(live),
        late=len(complete - live),
        lost=len(sent - live - complete),
        duplicated=counts["duplicated"],
        reordered=counts["reordered"],
        foreign=counts["foreign"],
        strange=counts["strange"],
        oldest_s=oldest / 1e9,
    )


def first_new(user: int, blocks: Iterable[Block], after_ns: int, backend: str | None = None) -> int | None:
    """When the first frame that was spoken after that moment came out live (of that backend); None: none did."""
    arrivals = (
        block.at_ns
        for block in blocks
        if block.live and (backend is None or block.backend == backend)
        if any(stamp.user == user and stamp.sent_ns >= after_ns for stamp in block.stamps)
    )
    return min(arrivals, default=None)


def silence(user: int, blocks: Iterable[Block], begin_ns: int, end_ns: int) -> float:
    """Seconds without a frame of the user, in holes of SILENT seconds and more, inside the given time."""
    edges = _arrivals(user, blocks, begin_ns, end_ns)
    return sum(later - at for at, later in pairwise(edges) if later - at >= SILENT) / 1e9


def longest_hole(user: int, blocks: Iterable[Block], begin_ns: int, end_ns: int) -> tuple[int, int]:
    """The longest time in which no frame of the user came out live, as (begin, end), inside the given time."""
    return max(pairwise(_arrivals(user, blocks, begin_ns, end_ns)), key=lambda hole: hole[1] - hole[0])


def _arrivals(user: int, blocks: Iterable[Block], begin_ns: int, end_ns: int) -> list[int]:
    """When frames of the user came out live, between the two ends of the time."""
    found = sorted(
        block.at_ns
        for block in blocks
        if block.live and begin_ns <= block.at_ns <= end_ns
        if any(stamp.user == user for stamp in block.stamps)
    )
    return [begin_ns, *found, end_ns]


def bad_news(events: Iterable[Mapping[str, Any]], after_ns: int) -> int | None:
    """When the phone first knew that its audio is in trouble: it was told, or noticed itself. None: never."""
    return min((event["t_ns"] for event in events if event["t_ns"] >= after_ns and _is_bad(event)), default=None)


def _is_bad(event: Mapping[str, Any]) -> bool:
    match event["event"], event.get("state"):
        case "audio_state", state:
            return bool(state != "live")
        case ("socket", "closed" | "unreachable") | ("room", "lost" | "failed"):
            return True
    return False


def says_live(events: Sequence[Mapping[str, Any]]) -> bool:
    """The last thing that the phone was told, on the socket that it has, is that its audio is live."""
    for event in reversed(events):
        if event["event"] == "audio_state":
            return bool(event["state"] == "live")
        if event["event"] in ("socket", "ended"):
            return False
    return False


def untold(hole: tuple[int, int], told_ns: int | None) -> float:
    """Seconds of a hole in which the phone knew nothing of it; 0 for a hole that is none."""
    begin, end = hole
    if end - begin < HOLE:
        return 0.0
    return max(0, min(end, told_ns if told_ns is not None else end) - begin) / 1e9


def seconds(begin_ns: int, end_ns: int | None) -> float:
    """Between two moments; infinite when the second never came."""
    return inf if end_ns is None else (end_ns - begin_ns) / 1e9


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that `share` of all do not exceed (nearest rank). Raises ValueError where there is none."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    rank = -int(-share * len(ordered) // 1)  # rounded up
    return ordered[max(0, rank - 1)]
