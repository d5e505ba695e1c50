"""Reads a history: who was heard through whom, what phones believed, when sessions ended, when audio was back."""

from collections import defaultdict

from glassbridge.core.session import GRACE, SessionState
from glassbridge.core.values import UserId, agent_identity
from glassbridge.lab.sim.schedule import Schedule, User
from glassbridge.lab.sim.verdict import (
    BACK_WITHIN,
    CALM_AFTER,
    FREE_JOINS,
    GONE_WITHIN,
    JOINS_PER_FAULT,
    SDK_BACK_WITHIN,
    SLACK,
    TOLD_WITHIN,
    Back,
    Checker,
    Verdict,
)
from glassbridge.lab.sim.world import Fact

ON_TIME = 0.01
"""Seconds that a deadline may ring late."""


def judge(schedule: Schedule, history: list[Fact], left: float, verdict: Verdict) -> None:
    """Adds to the verdict; the phones went at `left`."""
    by_user: dict[str, list[Fact]] = defaultdict(list)
    for fact in history:
        by_user[fact.user].append(fact)
    _sessions(history, verdict)
    for fact in history:
        if fact.what == "failed":
            verdict.add(Checker.FAILS, fact.user, f"at {fact.at:.3f} on {fact.where}: {fact.more[0]}")
    for user in schedule.users:
        facts = by_user[user.name]
        _one_owner(user.name, facts, verdict)
        _Truth(user.name, verdict).judge(facts, left)
        _back(user, facts, schedule, left, verdict)
        _calm(user, facts, schedule, left, verdict)


def _sessions(history: list[Fact], verdict: Verdict) -> None:
    """The grace by the cloud's own clock: later than 60 s only where the cloud stood still; gone soon after the end."""
    closed: dict[str, float] = {}
    ended: dict[str, Fact] = {}
    woke: dict[str, float] = {}
    for fact in history:
        match fact.what:
            case "thawed":
                woke[fact.where] = fact.at
            case "killed":
                for name in [name for name, end in ended.items() if end.where == fact.where]:
                    del ended[name]
            case "session gone":
                end = ended.pop(fact.more[0], None)
                stood = end is not None and woke.get(fact.where, -1.0) > end.at
                if end is not None and not stood and fact.at - end.at > GONE_WITHIN:
                    late = fact.at - end.at
                    verdict.add(Checker.RELEASED, fact.user, f"{fact.more[0]} gone only {late:.1f} s after its end")
            case "session":
                name, old, new, event, at, cause = fact.more
                if new is SessionState.ENDED:
                    ended[name] = fact
                if new is SessionState.GRACE:
                    closed[name] = at
                elif old is SessionState.GRACE:
                    waited = at - closed.pop(name)
                    over = new is SessionState.ENDED and cause == "grace is over"
                    late = waited > GRACE + ON_TIME and fact.at - woke.get(fact.where, -1.0) > ON_TIME
                    if over and (late or waited < GRACE - 1e-6):
                        verdict.add(Checker.GRACE, fact.user, f"{name} ended {waited:.6f} s after the close ({event})")
                    if new is SessionState.ACTIVE and waited >= GRACE:
                        verdict.add(Checker.GRACE, fact.user, f"{name} taken back {waited:.6f} s after the close")
    for name, end in ended.items():
        verdict.add(Checker.RELEASED, end.user, f"{name} ended at {end.at:.3f} and is never gone")


def _one_owner(user: str, facts: list[Fact], verdict: Verdict) -> None:
    """No frame reaches the session that the phone is with through two bridges; no old generation touches a newer."""
    current = ""
    through: dict[int, str] = {}
    holds: dict[tuple[str, int], int] = {}
    """The generation that has the place, by worker and its life."""
    for fact in facts:
        match fact.what:
            case "room":
                life, cause, action, result, generation = fact.more
                if "connect" in action:  # or "disconnect"
                    held = holds.get((fact.where, life), 0)
                    if 0 < generation < held:
                        text = f"at {fact.at:.3f} on {fact.where}: {cause} of {generation} touched {held}"
                        verdict.add(Checker.ONE_OWNER, user, text)
                    holds[fact.where, life] = generation if result in ("joining", "joined") else 0
            case "acknowledged":
                current = fact.more[2]
            case "started":
                through.clear()
            case "passed" if fact.where == current:
                worker, number = fact.more
                first = through.setdefault(number, worker)
                if first != worker:
                    verdict.add(Checker.ONE_OWNER, user, f"frame {number} came through {first} and {worker}")


class _Truth:
    """While a phone believes that it is live, something of it was heard lately. What its own way to the cloud took, or
    its own sleep, is not counted; but a dead way must itself be known as soon."""

    def __init__(self, user: str, verdict: Verdict) -> None:
        self._user = user
        self._verdict = verdict
        self._session = ""
        self._live = False
        self._live_since = 0.0
        self._heard_at = 0.0
        self._deaf_since: float | None = None
        """Since when its way is dead, or it sleeps, or both."""
        self._asleep = self._cut_off = False
        self._awake_since = 0.0
        self._excused = 0.0
        """Seconds since it was last heard that its own way or sleep took."""
        self._hushed = False

    def judge(self, facts: list[Fact], left: float) -> None:
        for fact in facts:
            if fact.at > left:
                break
            self._take(fact)
        self._check(left)

    def _take(self, fact: Fact) -> None:
        now = fact.at
        match fact.what:
            case "acknowledged":
                self._session = fact.more[0]
            case "heard" if fact.more[0] == self._session and fact.more[1]:
                self._check(now)
                self._begin(now)
            case "believes":
                self._check(now)
                was, self._live = self._live, fact.more[0] == "live"
                if self._live and not was:
                    self._live_since = now
                    self._begin(now)
            case "silent":
                self._check(now)
                self._hushed = True
            case "speaks":
                self._hushed = False
                self._begin(now)
            case "frozen" | "thawed":
                self._asleep = fact.what == "frozen"
                self._awake_since = now
                self._go_deaf(now)
            case "way down":
                self._cut_off = True
                self._go_deaf(now)
            case "way up" | "way gone":
                deaf = now - max(self._deaf_since or now, self._live_since, self._awake_since)
                if self._cut_off and self._live and not self._asleep and deaf > TOLD_WITHIN + SLACK:
                    text = f"took itself for live {deaf:.3f} s without a way, at {now:.3f}"
                    self._verdict.add(Checker.TRUTH, self._user, text)
                self._cut_off = False
                self._go_deaf(now)

    def _go_deaf(self, now: float) -> None:
        """It is deaf, or it is not any more."""
        deaf = self._asleep or self._cut_off
        if deaf and self._deaf_since is None:
            self._deaf_since = now
        elif not deaf and self._deaf_since is not None:
            self._excused += now - max(self._deaf_since, self._heard_at)
            self._deaf_since = None

    def _begin(self, now: float) -> None:
        self._heard_at, self._excused = now, 0.0

    def _check(self, now: float) -> None:
        excused = self._excused
        if self._deaf_since is not None:
            excused += now - max(self._deaf_since, self._heard_at)
        if self._live and not self._hushed and now - self._heard_at - excused > TOLD_WITHIN + SLACK:
            text = f"believes that it is live at {now:.3f}, but was last heard at {self._heard_at:.3f}"
            self._verdict.add(Checker.TRUTH, self._user, text)


def _back(user: User, facts: list[Fact], schedule: Schedule, left: float, verdict: Verdict) -> None:
    """Audio that was spoken after healing is heard soon, in the session that the phone is with. What healing does not
    undo, another network under a phone that nobody told, is healed when it must be noticed."""
    roams = [fault.at for fault in schedule.faults if fault.what == "roam" and fault.where == user.name]
    healed = max([schedule.heal_at, *(at + TOLD_WITHIN for at in roams if at < schedule.heal_at)])
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
        elif fact.what == "heard" and fact.more[0] == session and fact.more[1] and fact.more[3] >= schedule.heal_at:
            back = Back(user.name, socket, max(0.0, fact.at - healed))
            verdict.back.append(back)
            if back.seconds > (SDK_BACK_WITHIN if schedule.blind_bridges else BACK_WITHIN):
                verdict.add(Checker.BACK, user.name, f"after {back.seconds:.3f} s, its socket {socket}")
            return
    verdict.add(Checker.BACK, user.name, f"not heard within {left - healed:.0f} s")


def _calm(user: User, facts: list[Fact], schedule: Schedule, left: float, verdict: Verdict) -> None:
    """Places that bridges take for the user are bounded by what goes wrong, and none is taken when all is well."""
    agent = agent_identity(UserId(user.name))
    places = [fact.at for fact in facts if fact.what == "member joined" and fact.more[0] == agent]
    reasons = sum(fault.touches(user) for fault in schedule.faults)
    if len(places) > FREE_JOINS + JOINS_PER_FAULT * reasons:
        verdict.add(Checker.CALM, user.name, f"{len(places)} places taken for {reasons} faults")
    late = [at for at in places if schedule.heal_at + CALM_AFTER < at < left]
    if late:
        verdict.add(Checker.CALM, user.name, f"{len(late)} places taken long after healing, the first at {late[0]:.3f}")
