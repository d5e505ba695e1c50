"""The measure of an attack: what another user, who goes on speaking, and the programs themselves feel of it.

    grown_mb     the most by which a process of cloud or bridge was larger than before the attack
    kept_mb      the least of that in the time after it
    livez_s      the longest that `/livez` took, polled on new connections throughout, less what the lab itself was
                 without a processor in that time
    p99_s        phone to recogniser: from the moment a frame was spoken to the moment the cloud handed it on, of all
                 frames during the attack
    quiet_p99_s  the same in the same run before the attack
    p99_of_allowed  p99_s as a share of what it may be: P99, or twice quiet_p99_s, whichever is larger
    lines_per_s  lines about one peer (telemetry/line_limit.py), or about none, that one program logged in the busiest
                 five seconds since the attack began, by second

Each attack is run in small first: what is imported and opened only once does not count.
"""

import asyncio
import http.client
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import psutil

from glassbridge.core.values import UserId
from glassbridge.lab.attacker import Attacker
from glassbridge.lab.judge import percentile
from glassbridge.lab.needs import Needs
from glassbridge.lab.phone_reports import in_room
from glassbridge.lab.scenario import Limit, always, most, never, scenario

if TYPE_CHECKING:
    from glassbridge.lab.crowd import User
    from glassbridge.lab.system import System

P99: Final = 0.1
QUIET: Final = 5.0
"""Seconds before the attack that it is compared with."""
LOOK_EVERY, CHILDREN_EVERY, ASK_EVERY = 0.1, 0.5, 0.1
GROWN_MB, KEPT_MB, LINES_PER_S, LIVEZ_S = 50, 10, 20, 0.25
GIVEN_BACK_WITHIN: Final = 25.0
FRAME_MS: Final = 20
"""The bystander speaks in frames that are shorter than usual, so that a p99 is of enough of them."""
SHARE: Final = 50
"""The attack in small has one of so many."""

MUST: Final = (
    never("lost"),
    most("p99_of_allowed", 1.0),
    most("livez_s", LIVEZ_S),
    most("grown_mb", GROWN_MB),
    most("kept_mb", KEPT_MB),
    most("lines_per_s", LINES_PER_S),
    always("same_session"),
    always("says_live"),
    always("refused"),
)


class Assault:
    """What an attack works with."""

    def __init__(self, system: "System", bystander: "User", *, small: bool) -> None:
        self.system = system
        self.bystander = bystander
        self.small = small
        """To warm up: nothing of it is judged."""

    @property
    def url(self) -> str:
        """Of the cloud."""
        return self.system.a.cloud_url

    def count(self, full: int) -> int:
        """How often; less where it only warms up."""
        return max(1, full // SHARE) if self.small else full

    def token(self, name: str = "attacker") -> str:
        """Of a user who is let in."""
        return self.system.stack.core_token(UserId(f"{name}@example.org"))

    async def by(self, function: Callable[..., Any], **arguments: Any) -> Any:
        """What this function of a scenario module returns, run by the attacker. Raises LabError."""
        found = await Attacker(function, self.system.logbook.write).run(**arguments)
        self.system.say(f"{'in small, ' if self.small else ''}{function.__name__}: {found}")
        return found


Attack = Callable[[Assault], Awaitable[Mapping[str, float]]]


def attack(
    id: str, title: str, *, story: str, needs: Needs | None = None, must: Sequence[Limit] = ()
) -> Callable[[Attack], Attack]:
    """Registers an attack, judged by the bystander; it returns `refused` and whatever else `must` is about."""

    def register(run: Attack) -> Attack:
        async def attacked(system: "System") -> None:
            await judged(system, title, run)

        scenario(id, title, story=story, needs=needs or needs_of(), must=(*MUST, *must), users=1, runs=1)(attacked)
        return run

    return register


def needs_of(workers: int = 1, app: bool = False, env: Mapping[str, str] | None = None) -> Needs:
    """Of an attack: sessions of attackers end soon."""
    more = {"GLASSBRIDGE_GRACE": "3", **(env or {})}
    return Needs(workers=workers, hostile_app=app, frame_ms=FRAME_MS, env=more)


async def judged(system: "System", label: str, run: Attack, quiet_s: float = QUIET) -> None:
    """The attack in small, a quiet time, the attack, and what came of it all."""
    [bystander] = await system.speaking()
    await in_room([bystander])
    if system.baseline is None:
        system.say("warming up")
        await run(Assault(system, bystander, small=True))
        await system.mark_baseline()
    with _Looks(system) as looks, _Questions(system) as questions:
        quiet = monotonic_ns()
        await asyncio.sleep(quiet_s)
        looks.attacked()
        async with system.episode([bystander], label) as episode:
            episode.cause()
            figures = await run(Assault(system, bystander, small=False))
            episode.gone()
            await episode.audio()
            kept = await looks.given_back()
            quiet_p99 = p99(system, bystander, quiet, episode.cause_ns)
            attack_p99 = p99(system, bystander, episode.cause_ns, episode.gone_ns + 1_000_000_000)
            system.say(f"grown most: {looks.largest or 'none'}")
            for failure in questions.failures[:5]:
                system.say(f"/livez was not answered with 200: {failure}")
            programs = [program.name for program in system.a.programs]
            episode.note(
                bystander,
                grown_mb=looks.grown_mb,
                kept_mb=kept,
                livez_s=questions.longest(system, episode.cause_ns),
                p99_s=attack_p99,
                quiet_p99_s=quiet_p99,
                p99_of_allowed=attack_p99 / max(P99, 2 * quiet_p99),
                lines_per_s=system.logbook.most_lines_per_second(programs, episode.cause_ns),
                attack_s=(episode.gone_ns - episode.cause_ns) / 1e9,
                **{name: float(value) for name, value in figures.items()},
            )


def p99(system: "System", user: "User", begin_ns: int, end_ns: int) -> float:
    """Seconds from the phone to the listeners, of frames spoken in that time; infinite: there were none."""
    delays = [
        (block.at_ns - stamp.sent_ns) / 1e9
        for block in system.taps.blocks(user.id, begin_ns)
        if block.live
        for stamp in block.stamps
        if begin_ns <= stamp.sent_ns < end_ns
    ]
    return percentile(delays, 0.99) if delays else float("inf")


class _Thread:
    """Something done again and again while the context lasts."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._every):
            self.do()

    def do(self) -> None:
        raise NotImplementedError


class _Questions(_Thread):
    """`/livez`, each time on a connection of its own."""

    TIMEOUT = 10.0

    def __init__(self, system: "System") -> None:
        super().__init__(ASK_EVERY)
        self._took: list[tuple[int, int]] = []
        """(asked at, answered at) of each; one that failed took TIMEOUT."""
        self.failures: list[str] = []
        """Of each that got no 200: after how many seconds, and why."""
        self._address = urlsplit(system.a.cloud_url).netloc

    def do(self) -> None:
        begun = monotonic_ns()
        connection = http.client.HTTPConnection(self._address, timeout=self.TIMEOUT)
        try:
            connection.request("GET", "/livez")
            answer = str(connection.getresponse().status)
        except (OSError, http.client.HTTPException) as error:
            answer = f"{type(error).__name__}: {error}"
        finally:
            connection.close()
        ended = monotonic_ns()
        if answer != "200":
            self.failures.append(f"{answer} after {(ended - begun) / 1e9:.3f} s")
            ended = begun + int(self.TIMEOUT * 1e9)
        self._took.append((begun, ended))

    def longest(self, system: "System", since_ns: int) -> float:
        """Of those that were asked since then."""
        return max(
            ((end - begin) / 1e9 - system.pulse.stalled(begin, end) for begin, end in self._took if begin >= since_ns),
            default=float("inf"),
        )


class _Looks(_Thread):
    """How large each process of cloud and bridge is."""

    def __init__(self, system: "System") -> None:
        super().__init__(LOOK_EVERY)
        self.grown_mb = 0.0
        self.largest = ""
        """Which process that was, as a person reads it."""
        self.now_mb = 0.0
        """By how much the process that has grown most is larger than before, at the last look."""
        self._programs = list(system.a.programs)
        self._before: dict[int, float] = {}
        self._usual: dict[str, float] = {}
        """Of each kind of process, the largest: a new one is compared with it, and a spare one that gets to work."""
        self._attacked = False
        self._known: list[tuple[psutil.Process, str]] = []
        self._looked_for = 0.0

    def attacked(self) -> None:
        """From now on growth counts."""
        self._attacked = True

    async def given_back(self) -> float:
        """The least growth in the time that it is given; at once when nothing was kept."""
        least, deadline = self.now_mb, monotonic() + GIVEN_BACK_WITHIN
        while least > KEPT_MB and monotonic() < deadline:
            await asyncio.sleep(2 * LOOK_EVERY)
            least = min(least, self.now_mb)
        return max(0.0, least)

    def do(self) -> None:
        grown = 0.0
        for process, kind, size in self._sizes():
            if self._attacked:
                usual = max(self._usual.get(kind, 0.0), self._before.get(process.pid, 0.0))
                grown = max(grown, size - usual)
                if size - usual > self.grown_mb:
                    self.grown_mb = size - usual
                    self.largest = f"{kind}: {usual:.0f} -> {size:.0f} MB"
            else:
                self._before[process.pid] = max(size, self._before.get(process.pid, 0.0))
                self._usual[kind] = max(size, self._usual.get(kind, 0.0))
        self.now_mb = grown

    def _sizes(self) -> Iterator[tuple[psutil.Process, str, float]]:
        if monotonic() - self._looked_for > CHILDREN_EVERY:
            self._known, self._looked_for = list(self._processes()), monotonic()
        for process, kind in self._known:
            with suppress(psutil.Error):
                yield process, kind, process.memory_info().rss / 1e6

    def _processes(self) -> Iterator[tuple[psutil.Process, str]]:
        for program in self._programs:
            with suppress(psutil.Error):
                root = psutil.Process(program.pid)
                yield root, program.name
                for child in root.children(recursive=True):
                    with suppress(psutil.Error):
                        yield child, " ".join(child.cmdline()[:3])
