"""What must hold, read off the system while it runs and off its history afterwards."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from glassbridge.core.session import GRACE, SessionState
from glassbridge.core.values import UserId, agent_identity
from glassbridge.lab.sim.system import System
from glassbridge.lab.sim.world import Fact

TOLD_WITHIN: Final = 4.0
SLACK: Final = 0.35
"""Seconds that a message and its answer may be on their way."""
BACK_WITHIN: Final = {"survived": 2.0, "new": 4.0}
"""Seconds from healing to audio, by what became of the phone's socket: a new one takes the ladder's steps too."""
SMALL_TALK: Final = frozenset({"heard"})
"""Facts that a story is better without."""


class Look:
    """Looks at the system itself, between two moments."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._stuck: set[tuple[str, str, str]] = set()
        self.violations: list[str] = []

    def at_any_time(self) -> None:
        """Nobody waits for ever: what was stuck the last time is not stuck now."""
        stuck = set(self._system.stuck())
        for where, user, why in sorted(stuck & self._stuck):
            self.violations.append(f"deadlock: {where} {user}: {why}")
        self._stuck = stuck

    def when_settled(self) -> None:
        """Each phone has one session, one place, one bridge, and is heard."""
        for user in self._system.schedule.users:
            for wrong in self._settled(UserId(user.name), user.room):
                self.violations.append(f"settled: {user.name}: {wrong}")

    def _settled(self, user: UserId, room: bool) -> list[str]:
        system = self._system
        wrong = []
        active = [
            session
            for cloud in system.clouds
            if (session := cloud.sessions.get(user)) is not None and session.phone is not None
        ]
        if len(active) != 1:
            return [f"{len(active)} sessions have the phone"]
        session = active[0]
        phone = system.phones[user]
        if phone.connection is None or phone.told is None or phone.told.state.value != "live":
            wrong.append("the phone is not told that it is live")
        if not room:
            return wrong
        if session.link.machine.state.label != "live":
            wrong.append(f"its link is {session.link.machine.state.label}, not live")
        members = sorted(system.livekit.members(user))
        if members != sorted([agent_identity(user), user]):
            wrong.append(f"in its room are {members}")
        places = [
            (worker.process.name, host.machine.generation)
            for worker in system.workers
            if (host := worker.hosts.get(user)) is not None and host.machine.state.holds_place and host.stream
        ]
        if [generation for _, generation in places] != [session.link.machine.generation]:
            wrong.append(f"places {places} for the generation {session.link.machine.generation}")
        return wrong

    def at_the_end(self) -> None:
        """Nothing of anybody is left."""
        for what in self._system.left_over():
            self.violations.append(f"released: {what}")


@dataclass(frozen=True, slots=True)
class Back:
    """When a user's audio was back after healing."""

    user: str
    socket: str
    """`survived`, or `new` when the phone had to open one."""
    seconds: float


@dataclass(slots=True)
class Verdict:
    """What the history says."""

    violations: list[str] = field(default_factory=list)
    back: list[Back] = field(default_factory=list)


def judge(system: System, healed: float, left: float) -> Verdict:
    """Reads the history."""
    verdict = Verdict()
    by_user: dict[str, list[Fact]] = defaultdict(list)
    for fact in system.world.history:
        by_user[fact.user].append(fact)
        if fact.what == "older won":
            verdict.violations.append(f"one owner: {fact}")
    frozen = _standstills(system)
    _grace(system, frozen, verdict)
    for user in system.schedule.users:
        facts = by_user[user.name]
        _one_owner(user.name, facts, verdict)
        _truth(user.name, facts, left, verdict)
        _back(user.name, facts, healed, left, verdict)
        _calm(user.name, system, healed, left, verdict)
    return verdict


def _standstills(system: System) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    since: dict[str, float] = {}
    for fact in system.world.history:
        if fact.what == "frozen":
            since[fact.where] = fact.at
        elif fact.what in ("thawed", "killed") and fact.where in since:
            found[fact.where].append((since.pop(fact.where), fact.at))
    return found


def _grace(system: System, frozen: dict[str, list[tuple[float, float]]], verdict: Verdict) -> None:
    """Grace is 60 s from the close on the cloud's own clock: no sooner, and later only where the cloud stood still."""
    closed: dict[str, float] = {}
    for fact in system.world.history:
        if fact.what != "session":
            continue
        name, old, new, event, at, cause = fact.more
        if new is SessionState.GRACE:
            closed[name] = at
        elif old is SessionState.GRACE:
            waited = at - closed.pop(name)
            stood = any(start <= fact.at and fact.at - end <= 0.01 for start, end in frozen[fact.where])
            if new is SessionState.ENDED and cause == "grace is over":
                if waited < GRACE - 1e-6 or (waited > GRACE + 0.01 and not stood):
                    verdict.violations.append(f"grace: {name} ended {waited:.6f} s after the close ({event})")
            elif new is SessionState.ACTIVE and waited >= GRACE:
                verdict.violations.append(f"grace: {name} taken back {waited:.6f} s after the close")


def _one_owner(user: str, facts: list[Fact], verdict: Verdict) -> None:
    """No frame reaches the session that the phone is with through two bridges."""
    current = ""
    by: dict[int, str] = {}
    for fact in facts:
        if fact.what == "acknowledged":
            current = fact.more[0]
        elif fact.what == "started":
            by.clear()
        elif fact.what == "heard" and fact.more[0] == current and fact.more[1]:
            worker, number = fact.more[3], fact.more[4]
            if worker is not None and by.setdefault(number, worker) != worker:
                verdict.violations.append(f"one owner: {user}: frame {number} through {by[number]} and {worker}")


def _truth(user: str, facts: list[Fact], left: float, verdict: Verdict) -> None:
    """While the phone believes that it is live, something of it was heard in the last 4 s; a dead way to its cloud is
    not counted, but must itself be known within as long."""
    session, live, last = "", False, 0.0
    down_since: float | None = None
    excused = 0.0
    live_since = 0.0
    hushed: float | None = None

    def settle(now: float) -> None:
        nonlocal last, excused
        ill = excused + (now - max(down_since, last) if down_since is not None else 0.0)
        if hushed is None and live and now - last - ill > TOLD_WITHIN + SLACK:
            verdict.violations.append(f"truth: {user}: believes live at {now:.3f}, last heard at {last:.3f}")

    for fact in facts:
        if fact.at > left:
            break
        match fact.what:
            case "acknowledged":
                session = fact.more[0]
            case "heard" if fact.more[0] == session and fact.more[1]:
                settle(fact.at)
                last, excused = fact.at, 0.0
            case "believes":
                settle(fact.at)
                was, live = live, fact.more[0] == "live"
                if live and not was:
                    last = live_since = fact.at
                    excused = 0.0
            case "silent":
                hushed = fact.at
            case "speaks":
                last = max(last, fact.at)
                hushed = None
            case "way down" | "frozen":
                if down_since is None:
                    down_since = fact.at
            case "way up" | "way gone" | "thawed":
                if down_since is not None:
                    dead = fact.at - max(down_since, live_since)
                    if live and fact.what != "thawed" and dead > TOLD_WITHIN + SLACK:
                        verdict.violations.append(f"truth: {user}: {dead:.3f} s deaf unseen until {fact.at:.3f}")
                    excused += fact.at - max(down_since, last)
                    down_since = None
    settle(left)


def _back(user: str, facts: list[Fact], healed: float, left: float, verdict: Verdict) -> None:
    """Audio that was spoken after healing is heard soon."""
    session, socket = "", "new"
    for fact in facts:
        if fact.at >= left:
            break
        if fact.what == "acknowledged":
            session = fact.more[0]
        elif fact.what == "believes" and fact.more[0] == "off":
            socket = "new"
        elif fact.what == "believes" and fact.at <= healed:
            socket = "survived"
        elif fact.what == "heard" and fact.more[0] == session and fact.more[1] and fact.more[5] >= healed:
            back = Back(user, socket, fact.at - healed)
            verdict.back.append(back)
            if back.seconds > BACK_WITHIN[socket]:
                verdict.violations.append(f"back: {user}: after {back.seconds:.3f} s, its socket {socket}")
            return
    verdict.violations.append(f"back: {user}: not heard within {left - healed:.0f} s after healing")


def _calm(user: str, system: System, healed: float, left: float, verdict: Verdict) -> None:
    """Joins are bounded, and none happens when all is well again."""
    joins = [fact for fact in system.world.history if fact.what == "member joined" and fact.user == user]
    late = [fact for fact in joins if healed + 15.0 < fact.at < left]
    if late:
        verdict.violations.append(f"calm: {user}: {len(late)} joins long after healing, the first at {late[0].at:.3f}")
