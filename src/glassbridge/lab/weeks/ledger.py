"""What happened, and what may not: the checkers. They know the truth about every link and process, and no program."""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2b
from math import inf
from typing import Final

from glassbridge.lab.virtual.time import Time
from glassbridge.lab.weeks.process import Process

DEAF: Final = 10.0
"""Seconds for which an app may hear nothing while its user speaks and everybody it needs is up."""
AWAY: Final = 55.0
"""Seconds without a phone at any cloud after which a cloud may end its user's session, apps and all."""
ON_ITS_WAY: Final = 2.0
"""Seconds that a phone's word takes to a cloud and on to an app, at most."""
STARTS_WITHIN: Final = 4.5
"""Seconds from a user's wish for an app to the first sentence that it hears, when all have been well."""
CALM: Final = 30.0
"""Seconds without a trouble, or a move, after which all have been well."""
REMEMBERED: Final = 200
"""Sentences of a user that an app heard last: none of them may come again."""
MOST_TOLD: Final = 50


class Checker(Enum):
    """What must hold."""

    DEAF = "no app is deaf for over 10 s while its user speaks"
    STARTS = "an app that its user starts hears within 4.5 s, when all are well"
    STOPPED = "an app is stopped by its user only"
    ONE = "an app has one session of a user at a time"
    ONCE = "an app hears each sentence once"
    ORDER = "an app hears in order what its user said by one connection"
    GROWS = "what is kept does not grow with the days"
    BOUNDED = "what one peer can make grow has a bound"
    FAILS = "no task fails unheard"


@dataclass(frozen=True, slots=True)
class Violation:
    """A checker has found something."""

    checker: Checker
    at: float
    text: str

    def __str__(self) -> str:
        return f"{self.at:9.1f} s: {self.text} ({self.checker.value})"


@dataclass(slots=True)
class _App:
    """One app of one user."""

    wanted: bool = False
    deaf_since: float | None = None
    """When the first sentence was said that should have been heard, and nothing has been heard since."""
    told: bool = False
    """Of this deafness."""
    newest: int = 0
    """Of the sentences that it heard."""
    heard: deque[int] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    session: object = None
    """The one that the app has, if any."""
    began_at: float = 0.0
    started_at: float | None = None
    """When its user started it, until it hears or something goes wrong."""
    stopped_at: float = -inf
    """When its user's phone last said to stop it."""


@dataclass(slots=True)
class _User:
    """Where a user is."""

    process: Process
    cloud: Process | None = None
    said: int = 0
    """The newest sentence."""
    said_before: int = 0
    """The last sentence that was said before the phone's newest connection: what is on its way may come later than what
    is said by that one."""
    away_since: float = 0.0
    away: tuple[float, float] = (0.0, 0.0)
    """The last absence that is over."""
    apps: dict[str, _App] = field(default_factory=dict)


class Ledger:
    """`story` gets every fact, if they are to be read."""

    def __init__(self, time: Time, story: Callable[[str], None] | None = None) -> None:
        self._time = time
        self._story = story
        self._users: dict[str, _User] = {}
        self._servers: dict[str, Process] = {}
        """Of the apps, by package."""
        self._clouds: dict[str, Process] = {}
        """By address."""
        self._disturbed_at: dict[Process, float] = {}
        self._digest = blake2b(digest_size=16)
        self.counts = Counter[str]()
        self.violations: list[Violation] = []
        self.worst = 0.0
        """Longest deafness that has ended."""
        self.worst_of = ""
        """Whose, and when."""
        self.relays: Callable[[str, str], Collection[Process]] = lambda _user, _package: ()
        """The clouds through which an app hears a user now."""
        self.spells = Counter[int]()
        """How many times apps were deaf for so many whole seconds."""

    # ---- the participants

    def know_cloud(self, process: Process) -> None:
        """A cloud."""
        self._clouds[process.address] = process

    def know_app(self, package: str, process: Process) -> None:
        """An app and its server."""
        self._servers[package] = process

    def know_user(self, user: str, process: Process) -> None:
        """A user and the phone."""
        self._users[user] = _User(process, apps={package: _App() for package in self._servers})

    @property
    def digest(self) -> str:
        """Of all facts so far: the same seed gives the same."""
        return self._digest.hexdigest()

    def note(self, what: str, *about: object) -> None:
        """A fact."""
        line = f"{self._time.now:.6f} {what} {' '.join(map(str, about))}"
        self._digest.update(line.encode())
        self.counts[what] += 1
        if self._story is not None:
            self._story(line)

    def violated(self, checker: Checker, text: str) -> None:
        """A checker has found something."""
        self.note("VIOLATED", text)
        if len(self.violations) < MOST_TOLD:
            self.violations.append(Violation(checker, self._time.now, text))

    # ---- what its user does

    def wants(self, user: str, package: str, wanted: bool) -> None:
        """The user starts or stops an app."""
        app = self._users[user].apps[package]
        app.wanted, app.deaf_since = wanted, None
        app.started_at = self._time.now if wanted and self._is_calm(user, package) else None
        self.note("starts" if wanted else "stops", user, package)

    def _is_calm(self, user: str, package: str) -> bool:
        """No fault has hit a process that an app needs, or may need behind a balancer."""
        one = self._users[user]
        needed = (one.process, self._servers[package], *self._clouds.values())
        return one.cloud is not None and all(
            self._time.now - self._disturbed_at.get(process, -inf) > CALM for process in needed
        )

    def stop_said(self, user: str, package: str) -> None:
        """The phone says to stop an app."""
        self._users[user].apps[package].stopped_at = self._time.now

    def wishes(self, user: str) -> dict[str, bool]:
        """Which apps are to run, as the phone says where it comes."""
        return {package: app.wanted for package, app in self._users[user].apps.items()}

    def connected(self, user: str, address: str) -> None:
        """A cloud has let the phone in."""
        one, cloud = self._users[user], self._clouds[address]
        if one.cloud is None:
            one.away = (one.away_since, self._time.now)
        one.cloud, one.said_before = cloud, one.said
        self.note("connected", user, cloud.name)
        self._begin_anew(one.apps.values())

    def disconnected(self, user: str) -> None:
        """The phone has no connection any more, as far as it knows."""
        one = self._users[user]
        if one.cloud is not None:
            one.cloud, one.away_since = None, self._time.now
            self.note("disconnected", user)

    def is_connected(self, user: str) -> bool:
        """To some cloud."""
        return self._users[user].cloud is not None

    def said(self, user: str, sentence: int) -> None:
        """The user has said something into an open socket."""
        one = self._users[user]
        one.said = sentence
        for package, app in one.apps.items():
            if not app.wanted:
                continue
            if not self._fine(one, package):
                app.deaf_since, app.started_at, app.told = None, None, False
                continue
            self._judge_start(user, package, app)
            if app.deaf_since is None:
                app.deaf_since, app.told = self._time.now, False
            else:
                self._judge_deafness(user, package, app, self._time.now - app.deaf_since)
        self.counts["said"] += 1

    def _judge_start(self, user: str, package: str, app: _App) -> None:
        if app.started_at is not None and self._time.now - app.started_at > STARTS_WITHIN:
            self.violated(
                Checker.STARTS, f"{package} was started by {user} at {app.started_at:.1f} s and hears nothing"
            )
            app.started_at = None

    def _judge_deafness(self, user: str, package: str, app: _App, seconds: float) -> None:
        if seconds <= DEAF or app.told:
            return
        app.told = True
        cloud = self._users[user].cloud
        name = cloud.name if cloud is not None else ""
        self.violated(Checker.DEAF, f"{package} has not heard {user} at {name} for {seconds:.1f} s")

    def _fine(self, one: _User, package: str) -> bool:
        """Whether everybody is up that an app needs to hear the user."""
        return (
            one.cloud is not None and one.cloud.reachable and one.process.reachable and self._servers[package].reachable
        )

    def disturbed(self, process: Process) -> None:
        """A fault has hit a process: the waits of all that need it begin anew."""
        self._disturbed_at[process] = self._time.now
        for user in self._users.values():
            for package, app in user.apps.items():
                if process in (user.cloud, user.process, self._servers[package]):
                    app.deaf_since, app.told = None, False
                if process in (user.process, self._servers[package], *self._clouds.values()):
                    app.started_at = None

    def troubled(self, process: Process) -> None:
        """The same at the beginning of a trouble. A cloud that relays an app's socket is needed until then, not
        after: however long the trouble lasts, the app has to find another way."""
        self.disturbed(process)
        for name, user in self._users.items():
            self._begin_anew(app for package, app in user.apps.items() if process in self.relays(name, package))

    def hindered(self, package: str) -> None:
        """An app's server does not answer a webhook as it should. That is no excuse for deafness."""
        for user in self._users.values():
            user.apps[package].started_at = None

    @staticmethod
    def _begin_anew(apps: Iterable[_App]) -> None:
        for app in apps:
            app.deaf_since, app.started_at, app.told = None, None, False

    # ---- what apps see

    def began(self, user: str, package: str, session: object) -> None:
        """`on_session` was called."""
        app = self._users[user].apps[package]
        self.note("session", user, package)
        if app.session is not None:
            self.violated(Checker.ONE, f"{package} was given a second session of {user}")
        app.session, app.began_at = session, self._time.now

    def ended(self, user: str, package: str, session: object, why: str) -> None:
        """`on_stop` was called."""
        one = self._users[user]
        app = one.apps[package]
        self.note("stopped", user, package, why)
        if app.session is not session:  # the app was never given it
            return
        app.session = None
        by_user = app.stopped_at >= app.began_at or self._time.now - app.stopped_at < ON_ITS_WAY
        if not app.wanted or by_user or self._servers[package].stopping.is_set():
            return
        begin, end = one.away if one.cloud is not None else (one.away_since, self._time.now)
        if not (end - begin >= AWAY and app.began_at <= begin):
            self.violated(Checker.STOPPED, f"{package} was told that {user} has stopped it: {why}")

    def moved(self, user: str, package: str) -> None:
        """`on_moved` was called."""
        self.note("moved", user, package)

    def server_died(self, package: str) -> None:
        """With all sessions that the app's server had."""
        for user in self._users.values():
            user.apps[package].session = None

    def heard(self, user: str, package: str, sentence: int) -> None:
        """An app has heard a sentence."""
        app = self._users[user].apps[package]
        self.counts["heard"] += 1
        self._digest.update(f"{self._time.now:.6f} {user} {package} {sentence}".encode())
        if sentence in app.heard:
            self.violated(Checker.ONCE, f"{package} heard sentence {sentence} of {user} twice")
        elif self._users[user].said_before < sentence < app.newest:
            self.violated(Checker.ORDER, f"{package} heard sentence {sentence} of {user} after {app.newest}")
        app.heard.append(sentence)
        app.newest = max(app.newest, sentence)
        app.started_at = None
        if app.deaf_since is not None:
            seconds = self._time.now - app.deaf_since
            self._judge_deafness(user, package, app, seconds)
            if seconds > self.worst:
                self.worst, self.worst_of = seconds, f"{package} of {user}, {self._time.now:.1f} s"
            self.spells[int(seconds)] += 1
            app.deaf_since, app.told = None, False

    def phone_told_of_stop(self, user: str, package: str, reason: str) -> None:
        """The phone was told that an app is not running any more."""
        if package in self._users[user].apps and self._users[user].apps[package].wanted and reason != "user_disabled":
            self.violated(Checker.STOPPED, f"the phone of {user} was told that {package} has stopped: {reason}")
