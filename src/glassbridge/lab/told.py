"""The story of each user's fault as the log sink alone tells it: which hop was dead, why, what was done, how long until
audio. And whether that agrees with what the lab measured from outside. Reads ingested lines and nothing else.

The hop that a scenario breaks is in EXPECTED; where a way between two hops is cut, either end may be named. In the
family P nothing of ours dies: PLACES has what must be named there instead, and what may be.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import Any, Final

from glassbridge.lab.judge import Span
from glassbridge.lab.scenario import in_family
from glassbridge.lab.system import Sample

Line = Mapping[str, Any]

EARLY: Final = 0.5
LATE: Final = 0.5
"""Seconds before the cause and after the end of an episode whose lines belong to its story."""
TOLERANCE: Final = 0.75
"""Seconds between the moment at which a subscriber heard audio and the one that the story tells."""
LONG: Final = 3.5
"""Seconds of a hole that must be told; silence of up to 3 s is no fault yet (core/arrival.py)."""
STALL: Final = 0.5
"""Seconds without a processor after which anything may truly have been dead."""
ANY_LENGTH: Final = frozenset({"R200"})
"""Scenarios whose faults may be too short to be a fault: the hop is named where there was a LONG hole; of a shorter one
the log may say nothing at all, but nothing wrong."""

EXPECTED: Final[tuple[tuple[str, str, frozenset[str] | None], ...]] = tuple(
    (id, label, None if hops is None else frozenset(hops.split()))
    for id, label, hops in (
        # of this family of scenarios, episodes whose label holds this: one of these hops is named; "": none is; None:
        # one may be
        ("F2", "", "phone"),
        ("F3", "to ", "phone"),
        ("F4", "", "phone"),
        ("F5a", "", "bridge"),
        ("F5b", "", "phone"),
        ("F5c", "", "livekit"),
        ("F6a", "", "bridge livekit"),
        ("F6b", "", "phone livekit"),
        ("F7", "", "phone"),
        ("F8", "", "phone"),
        ("F9", "", "bridge"),
        ("F10a", "", "cloud phone"),
        ("F11a", "", "livekit"),
        ("F11b", "", "bridge"),
        ("F11c", "", "livekit"),
        ("F13", "", ""),
        ("F14", "", "cloud"),
        ("F15", "", "cloud"),
        ("F16a", "", "bridge"),
        ("F16b", "", "bridge stream"),
        ("F16c", "", "bridge"),
        ("F17", "", "cloud phone"),
        ("F18", "", "bridge"),
        ("F19a", "", "phone"),
        ("F19b", "", "bridge stream"),
        ("F19c", "", "bridge livekit"),
        ("F19d", "down, 5 s", None),  # audio goes on by both ways, and by one while the phone takes its place anew
        ("F19d", "", "phone livekit"),
        ("F20", "", "livekit"),
        ("F21", "stopped", "bridge"),
        ("F22", "", "livekit"),
        ("F24b", "", ""),
        ("F25", "", "recogniser"),
        ("R200", "phones to cloud", "phone"),
        ("R200", "cloud to bridge", "bridge stream"),
        ("R200", "phones to LiveKit", "phone livekit"),
        ("R200", "bridge to LiveKit", "bridge livekit"),
        ("R200", "worker", "bridge"),
        ("R200", "bridge", "bridge"),
        ("R200", "cloud", "cloud"),
        ("R200", "livekit", "livekit bridge"),
        ("R200", "phones", "phone"),
        ("R200", "agents", "bridge livekit"),
        ("R200", "rooms", "livekit bridge phone"),
        ("S1", "", ""),
    )
)


def expected(scenario: str, label: str) -> frozenset[str] | None:
    """The hops of which one must be named; empty: nothing died, and none may be; None: either is true."""
    return next((hops for id, part, hops in EXPECTED if in_family(scenario, id) and part in label), None)


@dataclass(frozen=True, slots=True)
class FaultyPhone:
    """A phone that is not as it should be, in a room."""

    cause: str
    """Must be told."""
    hops: frozenset[str]
    """One of these must be named, and no other may be; none: nothing is dead."""
    joins: int = 1
    """Of the bridge, at most: a place that is sound is not taken again."""

    def disagreements(self, told: "Told") -> list[str]:
        """What the story of such a phone lacks, or tells otherwise."""
        found = []
        if self.cause not in told.causes:
            found.append(f"the cause is {self.cause}, told: {', '.join(told.causes) or 'none'}")
        if set(told.hops) - self.hops or (self.hops and not told.hops):
            right = " or ".join(sorted(self.hops)) or "none"
            found.append(f"the dead hop is {right}, told: {', '.join(told.hops) or 'none'}")
        if told.joins > self.joins:
            found.append(f"the bridge joined {told.joins} times, {self.joins} at most is right")
        return found


PLACES: Final[Mapping[str, FaultyPhone]] = {
    id: FaultyPhone(cause, frozenset(hops.split()), joins)
    for id, cause, hops, joins in (
        ("P1", "awaiting_audio", "", 1),
        ("P2", "encrypted", "phone", 1),
        ("P3", "muted", "", 1),
        ("P4", "phone_not_in_room", "phone", 1),
        ("P5", "capture clock stepped", "phone", 0),
        ("P6", "awaiting_audio", "", 1),
        ("P7", "limit_exceeded", "livekit", 8),
        ("P8", "awaiting_audio", "", 1),
    )
}
"""By scenario. P7 has no place to keep: it is refused, and tried again more and more rarely."""


@dataclass(frozen=True, slots=True)
class Told:
    """One user's story."""

    hops: tuple[str, ...]
    causes: tuple[str, ...]
    actions: tuple[str, ...]
    audio_s: float
    """From the end of the cause to audio; 0: there was audio then."""
    holes: tuple[tuple[float, float], ...]
    """When there was no audio, seconds after the cause; -inf: from before the session began."""
    joins: int = 0
    """How often the bridge was asked to take a place."""

    def __str__(self) -> str:
        hops, causes = ", ".join(self.hops) or "nothing", ", ".join(self.causes) or "no cause"
        done = ", ".join(self.actions) or "nothing"
        return f"dead: {hops} ({causes}); done: {done}; audio after {self.audio_s:.2f} s"


def by_time(lines: Iterable[Line], offset_ns: int) -> list[tuple[int, Line]]:
    """With the moments of their `dt`, CLOCK_MONOTONIC nanoseconds; `offset_ns` is the wall clock's lead over it."""
    timed = [(round(datetime.fromisoformat(line["dt"]).timestamp() * 1e9) - offset_ns, line) for line in lines]
    return sorted(timed, key=_moment)


def _moment(timed: tuple[int, Line]) -> int:
    return timed[0]


def read(lines: Sequence[tuple[int, Line]], user: str, span: Span, late: float = LATE) -> Told:
    """What the sink tells of this user in this time; `lines` are those of by_time()."""
    first = bisect_left(lines, span.cause_ns - EARLY * 1e9, key=_moment)
    last = bisect_right(lines, span.end_ns + late * 1e9, key=_moment)
    own = [(at, line) for at, line in lines[first:last] if line.get("user_id") in (user, None)]
    hops = [hop for _, line in own for hop in _hops(line)]
    causes = [cause for _, line in own for cause in _causes(line)]
    actions = [action for _, line in own for action in _actions(line)]
    holes = [hole for at, line in own if (hole := _hole(at, line, user, span.region)) is not None]
    over = [end for begin, end in holes if begin <= span.gone_ns + 0.3e9 and end >= span.gone_ns]
    return Told(
        hops=tuple(dict.fromkeys(hops)),
        causes=tuple(dict.fromkeys(causes)),
        actions=tuple(dict.fromkeys(actions)),
        audio_s=(min(over) - span.gone_ns) / 1e9 if over else 0.0,
        holes=tuple(((begin - span.cause_ns) / 1e9, (end - span.cause_ns) / 1e9) for begin, end in holes),
        joins=sum(line.get("message") == "JoinRoom received" for _, line in own),
    )


def disagreements(told: Told, span: Span, tta_s: float, hops: frozenset[str] | None, stalled_s: float) -> list[str]:
    """What the story lacks, or tells otherwise than it was measured."""
    found = []
    slack = TOLERANCE + stalled_s
    if hops == frozenset() and told.hops and stalled_s < STALL:
        found.append(f"nothing died, told: {', '.join(told.hops)}")
    if hops and not span.bystander:
        if not hops & set(told.hops):
            found.append(f"the dead hop is {' or '.join(sorted(hops))}, told: {', '.join(told.hops) or 'none'}")
        if not told.causes:
            found.append("no cause is told")
        if not told.actions:
            found.append("no action is told")
    if tta_s < inf and abs(told.audio_s - tta_s) > slack:
        found.append(f"audio after {tta_s:.2f} s, told: {told.audio_s:.2f} s")
    begin, end = ((at - span.cause_ns) / 1e9 for at in span.hole_ns)
    came_back = span.hole_ns[1] < span.end_ns
    if came_back and end - begin > LONG and not any(abs(told_end - end) <= slack for _, told_end in told.holes):
        found.append(f"no audio from {begin:.2f} to {end:.2f} s after the cause, and that is not told")
    return found


@dataclass
class Stories:
    """What the sink told of one scenario."""

    told: list[str] = field(default_factory=list)
    """One for each sample."""
    agree: int = 0
    """As many agree with what was measured."""
    wrong: list[str] = field(default_factory=list)

    def add(self, who: str, told: Told, wrong: Sequence[str]) -> None:
        """One more sample, and what its story tells otherwise than it should."""
        self.told.append(f"{who}: {told}")
        self.agree += not wrong
        self.wrong += [f"{who}: {what}" for what in wrong]

    def __str__(self) -> str:
        return f"{self.agree} of {len(self.told)}"


# ---- what a line says


def _hops(line: Line) -> Iterable[str]:
    """The hop that it convicts, if any."""
    message = line.get("message")
    if message == "process stalled":
        return [_PROGRAMS.get(line.get("service", ""), "")]
    if message == "recovery" and line.get("action") == "restart_recogniser":
        return ["recogniser"]
    if message in ("audio state", "place lost"):
        return [line["hop"]] if line.get("hop") else []
    return [_DEATHS[message]] if message in _DEATHS else []


_PROGRAMS: Final = {"cloud": "cloud", "livekit-bridge": "bridge"}
_DEATHS: Final = {
    "phone socket closed": "phone",
    "phone is silent": "phone",
    "worker died": "bridge",
    "bridge starting": "bridge",
    "bridge stopping": "bridge",
    "bridge does not answer": "bridge",
    "LiveKit does not answer": "livekit",
    "cloud listens": "cloud",
    "a recogniser process died": "recogniser",
}


def _causes(line: Line) -> Iterable[str]:
    match line.get("message"):
        case "audio state" if line.get("state") != "live":
            return [line["code"]] if line.get("code") else []
        case "place lost" | "worker died" | "audio link" | "session" | "recovery":
            return [line["cause"]] if line.get("cause") else []
        case "audio begins" | "audio resumed":
            return [cause for cause in str(line.get("cause", "")).split(", ") if cause]
        case "phone socket closed":
            return [f"socket closed with {line.get('code')}"]
        case (
            "capture clock stepped"
            | "process stalled"
            | "cloud listens"
            | "bridge starting"
            | "LiveKit does not answer" as message
        ):
            return [message]
    return []


def _actions(line: Line) -> Iterable[str]:
    match line.get("message"):
        case "recovery":
            return [f"{line.get('action')}: {line.get('result')}"]
        case "worker died" | "worker is asked to go" | "audio stream ended":
            return [str(line["action"])] if line.get("action") else []
        case "session" if line.get("new") != line.get("old"):
            return [f"session {line.get('new')}"]
        case "audio begins":
            return ["a new session"]
        case "cloud listens" | "bridge starting" as message:
            return [message]
    return []


def _hole(at: int, line: Line, user: str, region: str | None) -> tuple[float, float] | None:
    """From when to when there was no audio; None: it tells of none, or of another backend's."""
    if line.get("user_id") != user or (region is not None and line.get("region") not in (region, None)):
        return None
    match line.get("message"):
        case "audio begins":
            return -inf, at
        case "audio resumed":
            return at - line["silent_ms"] * 1e6, at
    return None


def judge_all(lines: Sequence[Line], scenario: str, samples: Sequence[Sample], offset_ns: int) -> "Stories":
    """The stories of all samples that are of an episode."""
    timed = by_time(lines, offset_ns)
    stories = Stories()
    for sample in samples:
        if sample.span is None:
            continue
        if (place := PLACES.get(scenario)) is not None:
            told = read(timed, sample.user, sample.span, late=0.0)
            stories.add(f"{sample.episode}, {sample.user}", told, place.disagreements(told))
            continue
        told = read(timed, sample.user, sample.span)
        tta, hole, stalled = (_figure(sample.figures, name) for name in ("tta_s", "hole_s", "stalled_s"))
        hops = expected(scenario, sample.episode)
        if scenario in ANY_LENGTH and hole <= LONG:
            hops = None
            tta = tta if told.holes else inf
        wrong = disagreements(told, sample.span, tta, hops, stalled)
        stories.add(f"{sample.episode}, {sample.user}", told, wrong)
    return stories


def _figure(figures: Mapping[str, float], name: str) -> float:
    """Whatever the episode's prefix is."""
    return next((value for key, value in figures.items() if key.endswith(name)), 0.0)
