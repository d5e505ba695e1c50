"""What happens to users, clouds and apps: made from a seed, as life goes on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from glassbridge.lab.weeks.ledger import Ledger
from glassbridge.lab.weeks.network import Network
from glassbridge.lab.weeks.phone import Phone
from glassbridge.lab.weeks.process import Process

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR
MORNING, EVENING = 7 * HOUR, 23 * HOUR
SITTING: Final = 5 * 60.0, 25 * 60.0
"""Seconds that a user speaks at a time: at least and at most."""
MOVE_EVERY: Final = 60.0
"""Seconds between two faults of a user who speaks, on average."""
CLOUD_EVERY: Final = 300.0
APP_EVERY: Final = 200.0
AT_THE_MOVE: Final = 0.1
"""Part of the moves at which an app's server restarts, too."""
LATEST_ANSWER: Final = 4.0
"""Seconds that an app's server thinks about a webhook, at most."""
BACK_AFTER: Final = 3.0, 10.0, 59.0
"""Seconds after which a user who has moved comes back."""
LONGEST_FREEZE: Final = 8.0
HEALTH: Final = 2.0
"""Seconds after which a balancer leaves out what does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The participants, and the length of the run."""

    seed: int
    days: float = 7.0
    users: int = 20
    apps: int = 3
    clouds: int = 3
    speaks: float = 1.0
    """Hours a day that each user speaks."""
    excess: bool = False
    """The first user and the first app send more than their share (lab/weeks/excess.py)."""

    @property
    def balanced(self) -> bool:
        """Phones and apps know one name for all clouds, behind a balancer without stickiness."""
        return self.seed % 2 == 1

    @property
    def ends_at(self) -> float:
        return self.days * DAY


class Chaos:
    """Acts by virtual time. Faults hit processes that have users."""

    def __init__(
        self,
        plan: Plan,
        network: Network,
        ledger: Ledger,
        phones: list[Phone],
        clouds: list[Process],
        apps: dict[str, Process],
        answers: Mapping[str, Callable[[float, bool], None]],
    ) -> None:
        """`answers`: how the app of that name answers its next webhook, after so many seconds and whether with 500."""
        self._plan = plan
        self._network = network
        self._ledger = ledger
        self._phones = phones
        self._clouds = clouds
        self._apps = apps
        self._answers = answers
        self._names = ["clouds"] if plan.balanced else [cloud.name for cloud in clouds]
        self._sat = 0
        """Users who speak now."""
        self._troubled_since: dict[Process, float] = {}
        self._at: dict[Phone, str] = {}
        self._epoch: dict[Phone, int] = {}
        network.balancers["clouds"] = self._pick

    # ---- the day

    def begin(self) -> None:
        """Plans all sittings, and the faults of servers."""
        for number, phone in enumerate(self._phones):
            chance = Random(f"{self._plan.seed}:user:{number}")  # noqa: S311 - not for secrets
            for begin, length in self._sittings(chance):
                self._network.time.at(begin, self._sit, phone, begin + length, chance)
        self._every(CLOUD_EVERY, "clouds", self._hurt_cloud)
        self._every(APP_EVERY, "apps", self._hurt_app)

    def _sittings(self, chance: Random) -> list[tuple[float, float]]:
        """(begin, length); users are up by day. A plan of hours is one long morning."""
        found = []
        mean = sum(SITTING) / 2
        days = max(1, round(self._plan.days))
        for day in range(days):
            begin, end = (
                (day * DAY + MORNING, day * DAY + EVENING) if self._plan.days >= 1 else (5.0, self._plan.ends_at)
            )
            at, total = begin, self._plan.speaks * HOUR * min(1.0, self._plan.days)
            gap = max(1.0, (end - begin) * mean / total - mean)
            while (at := at + chance.expovariate(1 / gap)) < end - SITTING[0]:
                length = min(chance.uniform(*SITTING), end - at)
                found.append((at, length))
                at += length
        return found

    def _every(self, seconds: float, name: str, act: Callable[[Random], None]) -> None:
        chance = Random(f"{self._plan.seed}:{name}")  # noqa: S311 - not for secrets

        def again() -> None:
            if self._sat:
                act(chance)
            self._network.time.at(self._network.time.now + chance.expovariate(1 / seconds), again)

        again()

    # ---- users

    def _sit(self, phone: Phone, until: float, chance: Random) -> None:
        self._sat += 1
        for package in self._apps:
            self._ledger.wants(phone.user, package, True)
        self._go(phone, chance.choice(self._names))
        self._plan_next(phone, until, chance)

    def _plan_next(self, phone: Phone, until: float, chance: Random) -> None:
        at = self._network.time.now + chance.expovariate(1 / MOVE_EVERY)
        if at < until - 1.0:
            self._network.time.at(at, self._befall, phone, until, chance)
        else:
            self._network.time.at(until, self._rise, phone, chance)

    def _rise(self, phone: Phone, chance: Random) -> None:
        """The user has had enough: sometimes ends the apps first, always goes for longer than a grace."""
        for package in self._apps:
            self._ledger.wants(phone.user, package, False)
            if chance.random() < 0.5:
                phone.stop_app(package)
        self._epoch[phone] += 1  # what was planned for it is off: a way back would keep it here for the night
        self._after(chance.uniform(2.5, 4.0), phone, lambda: self._go(phone, "", silently=chance.random() < 0.3))
        self._sat -= 1

    def _befall(self, phone: Phone, until: float, chance: Random) -> None:
        acts = [
            self._move, self._move, self._bounce, self._dash, self._blip, self._blip, self._roam, self._switch_app,
        ]  # fmt: skip
        chance.choice(acts)(phone, chance)
        self._plan_next(phone, until, chance)

    def _go(self, phone: Phone, target: str, *, silently: bool = False) -> None:
        self._at[phone] = target or self._at.get(phone, "")
        self._epoch[phone] = self._epoch.get(phone, 0) + 1
        phone.go(target, silently=silently)

    def _after(self, seconds: float, phone: Phone, act: Callable[[], None]) -> None:
        """Unless the user has gone somewhere else by then."""
        epoch = self._epoch.get(phone, 0)
        self._network.time.at(
            self._network.time.now + seconds, lambda: act() if self._epoch.get(phone, 0) == epoch else None
        )

    def _other(self, phone: Phone, chance: Random) -> str:
        return chance.choice([name for name in self._names if name != self._at[phone]] or self._names)

    def _move(self, phone: Phone, chance: Random) -> None:
        target = self._other(phone, chance)
        self._ledger.note("moves", phone.user, target)
        self._ledger.disturbed(phone.process)
        self._go(phone, target, silently=chance.random() < 0.5)
        server = chance.choice(list(self._apps.values()))
        if chance.random() < AT_THE_MOVE and server.reachable:
            pause = chance.uniform(0.3, 4.0)
            self._after(chance.uniform(0.0, 0.6), phone, lambda: self._restart(server, "killed", pause))

    def _dash(self, phone: Phone, chance: Random) -> None:
        """Through two clouds within a second: each asks for the apps."""
        self._move(phone, chance)
        self._after(chance.uniform(0.1, 0.9), phone, lambda: self._move(phone, chance))

    def _bounce(self, phone: Phone, chance: Random) -> None:
        """There and back."""
        home = self._at[phone]
        self._move(phone, chance)
        self._after(chance.choice(BACK_AFTER) + chance.uniform(-1.0, 1.0), phone, lambda: self._come_back(phone, home))

    def _come_back(self, phone: Phone, home: str) -> None:
        self._ledger.note("moves", phone.user, home)
        self._ledger.disturbed(phone.process)
        self._go(phone, home)

    def _blip(self, phone: Phone, chance: Random) -> None:
        self._cut(phone.process, chance.choice((chance.uniform(0.2, 3.0), chance.uniform(3.0, 20.0))))

    def _roam(self, phone: Phone, chance: Random) -> None:
        """Its address changes: what was open is dead, and only the phone knows."""
        self._ledger.note("roams", phone.user)
        self._ledger.disturbed(phone.process)
        self._go(phone, self._at[phone], silently=True)

    def _switch_app(self, phone: Phone, chance: Random) -> None:
        """Off, and after a while on again."""
        package = chance.choice(list(self._apps))
        self._ledger.wants(phone.user, package, False)
        phone.stop_app(package)

        def on() -> None:
            if any(self._ledger.wishes(phone.user).values()):
                self._ledger.wants(phone.user, package, True)
                phone.start_app(package)

        self._after(chance.choice((0.1, 2.5, 12.0)), phone, on)

    # ---- servers

    def _pick(self) -> str | None:
        now = self._network.time.now
        fit = [
            cloud.name
            for cloud in self._clouds
            if cloud.running and now - self._troubled_since.get(cloud, now) < HEALTH
        ]
        return self._network.chance.choice(fit) if fit else None

    def _trouble(self, process: Process, what: str, *about: object) -> None:
        self._troubled_since.setdefault(process, self._network.time.now)
        self._ledger.note(what, process.name, *about)
        self._ledger.troubled(process)

    def _well(self, process: Process) -> None:
        self._troubled_since.pop(process, None)
        self._ledger.disturbed(process)

    def _cut(self, process: Process, seconds: float) -> None:
        if process.reachable:
            self._trouble(process, "cut", round(seconds, 1))
            process.cut_off()
            self._network.time.at(self._network.time.now + seconds, self._heal, process)

    def _heal(self, process: Process) -> None:
        process.heal()
        self._well(process)

    def _freeze(self, process: Process, seconds: float) -> None:
        self._trouble(process, "frozen", round(seconds, 1))
        process.freeze()
        self._network.time.at(self._network.time.now + seconds, self._thaw, process)

    def _thaw(self, process: Process) -> None:
        process.thaw()
        self._well(process)

    def _sever(self, process: Process, *, half: bool = False) -> None:
        self._trouble(process, "half-open" if half else "severed")
        self._network.sever(process, half=half)
        self._well(process)

    def _think(self, server: Process, seconds: float, *, fails: bool) -> None:
        """The app's server takes its time for the next webhook, or answers it with 500."""
        self._ledger.note("fails" if fails else "late", server.name, round(seconds, 1))
        self._answers[server.name](seconds, fails)

    def _restart(self, process: Process, how: str, pause: float) -> None:
        """`how`: terminated, killed, or powerless."""
        self._trouble(process, how)
        if how == "terminated":
            process.stop()
        else:
            process.kill(silent=how == "powerless")
        self._network.time.at(self._network.time.now + 0.1, self._start_once_dead, process, pause)

    def _start_once_dead(self, process: Process, pause: float) -> None:
        if process.running:
            self._network.time.at(self._network.time.now + 0.1, self._start_once_dead, process, pause)
            return
        for package, server in self._apps.items():
            if server is process:
                self._ledger.server_died(package)
        self._network.time.at(self._network.time.now + pause, self._start, process)

    def _start(self, process: Process) -> None:
        process.start()
        self._ledger.note("started", process.name)
        self._well(process)

    def _hurt_cloud(self, chance: Random) -> None:
        cloud = chance.choice(self._clouds)
        others = [one for one in self._clouds if one is not cloud]
        if not cloud.reachable or not any(one.reachable for one in others):
            return
        match chance.choice(("terminated", "terminated", "killed", "frozen", "cut", "powerless")):
            case "frozen":
                self._freeze(cloud, chance.uniform(0.5, LONGEST_FREEZE))
            case "cut":
                self._cut(cloud, chance.uniform(0.2, 8.0))
            case how:
                self._restart(cloud, how, chance.uniform(0.3, 6.0))

    def _hurt_app(self, chance: Random) -> None:
        server = chance.choice(list(self._apps.values()))
        if not server.reachable:
            return
        fates = "terminated", "killed", "powerless", "cut", "cut", "frozen", "severed", "half-open", "late", "failing"
        match chance.choice(fates):
            case "frozen":
                self._freeze(server, chance.uniform(0.5, LONGEST_FREEZE))
            case "cut":
                self._cut(server, chance.choice((chance.uniform(0.2, 2.0), chance.uniform(2.0, 12.0))))
            case "severed":
                self._sever(server)
            case "half-open":
                self._sever(server, half=True)
            case "late":
                self._think(server, chance.uniform(0.2, LATEST_ANSWER), fails=False)
            case "failing":
                self._think(server, 0.0, fails=True)
            case how:
                self._restart(server, how, chance.uniform(0.3, 4.0))
