"""`glassbridge bench telemetry`: what logs, metrics, traces and the flight recorder cost, in shares of the processor.

Two backends run side by side on one LiveKit: one with everything on (logs of level info to a sink, metrics scraped each
15 seconds, traces to a collector, the recorder), one with everything off (errors only). As many phones speak to the one
as to the other, at the same time, and an app hears them; processor time of cloud and bridge is compared, so that what
else the machine does falls on both. Two processes of the same program differ by some percent for as long as they live
(where their memory lies, measured), so that each pair is of new processes; both sides hash alike. Numbers are counted
on both sides: what that costs is measured apart, and added.
"""

import asyncio
import statistics
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from itertools import count
from math import inf
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, Final

import aiohttp
from aiohttp import web

from glassbridge.core.values import UserId
from glassbridge.lab.backend import LOOPBACK, Backend
from glassbridge.lab.bench_path import CpuMeter
from glassbridge.lab.crowd import Crowd, User
from glassbridge.lab.ingest import TOKEN, Ingest
from glassbridge.lab.judge import says_live
from glassbridge.lab.listening_app import PACKAGE, ListeningApp
from glassbridge.lab.stack import Stack, StackConfig
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.tasks import cancelled
from glassbridge.telemetry.numbers import ALL, Counter, Histogram

ON, OFF = "on", "off"
LIVE_WITHIN: Final = 60.0
SETTLE: Final = 7.0
"""Seconds after the last phone is heard before a window begins: by then the sink has what was logged at the start."""
SCRAPE_EVERY: Final = 15.0
LIMIT: Final = 0.03
LEAST_FRAMES: Final = 8.0
"""Of each phone and second that must be heard, of ten, or a window does not count."""
ADDS, OBSERVATIONS = 8, 2
"""Of one frame on its way through bridge and cloud."""
QUIET: Final = {"GLASSBRIDGE_LOG_LEVEL": "error", "GLASSBRIDGE_RECORDER": "false"}
ALIKE: Final = {"GLASSBRIDGE_CAPTIONS": "", "PYTHONHASHSEED": "0"}
"""On both sides. No captions: recognisers are processes of their own, and would be measured instead of the path."""


@dataclass(frozen=True, slots=True)
class TelemetryConfig:
    """Times in seconds."""

    sessions: int = 20
    """Of each side."""
    seconds: float = 2 * SCRAPE_EVERY
    """Of each window; a multiple of SCRAPE_EVERY has its fair share of scrapes."""
    pairs: int = 8
    """Windows with telemetry, each beside one without; an even number, for sides take turns."""


@dataclass(frozen=True, slots=True)
class CpuShares:
    """Milliseconds of processor for each second of each session, by program."""

    cloud: float
    bridge: float

    @property
    def both(self) -> float:
        return self.cloud + self.bridge


@dataclass(frozen=True, slots=True)
class Result:
    """Shares are of what the path costs without telemetry."""

    config: TelemetryConfig
    on: list[CpuShares]
    off: list[CpuShares]
    counting_ns: float
    """For one frame on its whole way, on both sides."""
    frames: float
    """Of each session and second, heard by the app; in the window in which they were fewest."""
    lines: int
    """That arrived at the sink."""

    @property
    def shares(self) -> list[float]:
        """More with telemetry, pair by pair, counting included."""
        counting = self.counting_ns * self.frames / 1e6
        return [on.both / (off.both - counting) - 1 for on, off in zip(self.on, self.off, strict=True)]

    @property
    def share(self) -> float:
        """Of all windows together: what one window had to wait for, another pays."""
        counting = self.counting_ns * self.frames / 1e6
        on, off = (statistics.fmean(window.both for window in side) for side in (self.on, self.off))
        return on / (off - counting) - 1

    @property
    def uncertainty(self) -> float:
        """Standard error of the share."""
        return statistics.stdev(self.shares) / len(self.shares) ** 0.5 if len(self.shares) > 1 else inf

    def as_json(self) -> dict[str, Any]:
        """Everything."""
        more = {"shares": self.shares, "share": self.share, "uncertainty": self.uncertainty, "limit": LIMIT}
        return asdict(self) | more


async def measure(config: TelemetryConfig, base: StackConfig, say: Callable[[str], None]) -> Result:
    """Runs everything on this machine. Raises UserError."""
    found: list[_Pair] = []
    for _ in range(2 * config.pairs):
        pair = await _pair(config, base, by_turns=bool(len(found) % 2))
        if pair is None:
            say(f"not counted: fewer than {LEAST_FRAMES:g} frames a second of each phone were heard")
            continue
        found.append(pair)
        say(f"pair {len(found)}: with {pair.on.both:.2f}, without {pair.off.both:.2f} ms per session-second")
        if len(found) == config.pairs:
            on, off, frames, lines = zip(*((each.on, each.off, each.frames, each.lines) for each in found), strict=True)
            return Result(config, list(on), list(off), _counting_ns(), min(frames), sum(lines))
    raise UserError("this machine is too busy: audio did not arrive as it was spoken; try again when it is idle")


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two windows; `frames` and `lines` as in Result."""

    on: CpuShares
    off: CpuShares
    frames: float
    lines: int


async def _pair(config: TelemetryConfig, base: StackConfig, *, by_turns: bool) -> _Pair | None:
    """None: it was not the path that was measured, for too little was heard."""
    async with _speaking(config.sessions, base, by_turns=by_turns) as (sides, ingest):
        await asyncio.sleep(SETTLE)
        async with _scraped(*_metrics_of(sides[ON].backend)):
            begun = monotonic()
            for side in sides.values():
                side.begin()
            await asyncio.sleep(config.seconds)
            seconds = monotonic() - begun
            windows = {name: side.end(seconds) for name, side in sides.items()}
        frames = min(side.frames for side in sides.values())
        return _Pair(windows[ON], windows[OFF], frames, len(ingest.arrivals)) if frames >= LEAST_FRAMES else None


@asynccontextmanager
async def _speaking(
    sessions: int, base: StackConfig, *, by_turns: bool
) -> AsyncIterator[tuple[Mapping[str, "_Side"], Ingest]]:
    """Two new backends with so many phones each, all of them heard, and the log sink of the one with telemetry;
    `by_turns`: it is the second one."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="glassbridge-bench-")))
        ingest = await stack.enter_async_context(Ingest())
        collector = await stack.enter_async_context(_collector())
        loud = {
            "BETTERSTACK_INGESTING_HOST": ingest.url,
            "BETTERSTACK_SOURCE_TOKEN": TOKEN,
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector,
            "GLASSBRIDGE_LOG_SPOOL": str(folder),
            "GLASSBRIDGE_CLOUD_METRICS_PORT": "0",
            "GLASSBRIDGE_BRIDGE_METRICS_PORT": "0",
        }
        apps = {name: await stack.enter_async_context(ListeningApp(folder / f"{name}.toml")) for name in (ON, OFF)}
        names = dict(zip((ON, OFF), "BA" if by_turns else "AB", strict=True))
        env = {
            names[name]: more | {"GLASSBRIDGE_APPS": str(apps[name].registry)}
            for name, more in ((ON, loud), (OFF, QUIET))
        }
        system = Stack(replace(base, backends=2, env=dict(ALIKE), backend_env=env), say=lambda _text: None)
        system = await stack.enter_async_context(system)
        crowd = Crowd("phones", {"GLASSBRIDGE_LOG_LEVEL": "error"}, system.core_token, count(1), lambda _line: None)
        stack.push_async_callback(crowd.stop)
        await crowd.start()
        backends = {backend.name: backend for backend in system.backends}
        sides = {name: _Side(backends[letter], crowd, apps[name]) for name, letter in names.items()}
        for number in range(sessions):
            # By turns, here and from pair to pair: who comes first pays for waking up, some percent (measured with two
            # equal sides).
            for name in (ON, OFF) if number % 2 == by_turns else (OFF, ON):
                sides[name].add(UserId(f"bench-{name}-{number}@example.org"))
        for side in sides.values():
            await side.speaks()
        yield sides, ingest


class _Side:
    """One backend with its phones and its app."""

    def __init__(self, backend: Backend, crowd: Crowd, app: ListeningApp) -> None:
        self.backend = backend
        self.frames = 0.0
        """That the app heard in the window, of each session and second."""
        self._crowd = crowd
        self._app = app
        self._users: list[User] = []
        self._meter = CpuMeter(cloud=backend.cloud.pid, bridge=backend.bridge.pid)
        self._before: dict[str, float] = {}
        self._heard_before = 0

    def add(self, user: UserId) -> None:
        """A phone begins to speak."""
        self._users.append(self._crowd.add(user, self.backend, apps=[PACKAGE]))

    async def speaks(self) -> None:
        """Returns when the app hears all phones. Raises UserError."""
        deadline = monotonic() + LIVE_WITHIN
        while waiting := [user.id for user in self._users if not (says_live(user.events) and self._heard(user))]:
            if monotonic() > deadline:
                raise UserError(f"{len(waiting)} phones at {self.backend.name} are not heard {self._crowd.failure}")
            await asyncio.sleep(0.1)

    def _heard(self, user: User) -> int:
        """Blocks of this phone's audio that came to the app so far."""
        return len(self._app.blocks[user.id])

    def begin(self) -> None:
        """The window begins."""
        self._heard_before = sum(map(self._heard, self._users))
        self._before = self._meter.cpu()

    def end(self, seconds: float) -> CpuShares:
        """It is over, after so many seconds."""
        after = self._meter.cpu()
        self.frames = (sum(map(self._heard, self._users)) - self._heard_before) / seconds / len(self._users)
        per = 1000 / seconds / len(self._users)
        return CpuShares(**{program: (after[program] - self._before[program]) * per for program in ("cloud", "bridge")})


@asynccontextmanager
async def _scraped(*addresses: str) -> AsyncIterator[None]:
    """As Prometheus would."""

    async def scrape() -> None:
        while True:
            for address in addresses:
                async with http.get(f"http://{address}/metrics") as answer:
                    await answer.read()
            await asyncio.sleep(SCRAPE_EVERY)

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0)) as http:
        task = asyncio.get_running_loop().create_task(scrape(), name="scrape")
        try:
            yield
        finally:
            await cancelled(task)


def _metrics_of(side: Backend) -> tuple[str, str]:
    """Where cloud and supervisor serve theirs, as they logged it."""
    found = [program.events("metrics are served")[0]["address"] for program in (side.cloud, side.bridge)]
    return str(found[0]), str(found[1])


@asynccontextmanager
async def _collector() -> AsyncIterator[str]:
    """An OpenTelemetry collector that takes everything; yields its URL."""

    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, 0).start()
        yield f"http://{LOOPBACK}:{runner.addresses[0][1]}/v1/traces"
    finally:
        await runner.cleanup()


def _counting_ns(rounds: int = 100_000) -> float:
    """Nanoseconds that counting takes for one frame; the best of five, others use this machine too."""
    cell = Counter("bench_total", "", ALL).cell()
    observe = Histogram("bench_seconds", "", ALL, (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)).observer()

    def once() -> float:
        begun = perf_counter()
        for _ in range(rounds):
            for _ in range(ADDS):
                cell.count += 1
            for _ in range(OBSERVATIONS):
                observe(0.03)
        return (perf_counter() - begun) / rounds * 1e9

    return min(once() for _ in range(5))


def table(result: Result) -> str:
    """As people read it."""
    config = result.config

    def middle(windows: list[CpuShares], program: str) -> str:
        values = sorted(getattr(window, program) for window in windows)
        return f"{statistics.median(values):7.2f}  ({values[0]:.2f} to {values[-1]:.2f})"

    shares = sorted(result.shares)
    rows = [
        f"{config.sessions} sessions on each side at the same time, {result.frames:.1f} frames a second each; "
        f"{config.pairs} pairs of processes, {config.seconds:g} s each",
        "processor, ms per session-second: median (least to most)",
        *(
            f"  {program:7} {side:4}{middle(windows, program)}"
            for program in ("cloud", "bridge", "both")
            for side, windows in (("on", result.on), ("off", result.off))
        ),
        f"counting alone (it cannot be switched off): {result.counting_ns:.0f} ns a frame, added below",
        f"log lines at the sink: {result.lines}",
        f"telemetry costs {result.share:+.1%}, standard error {result.uncertainty:.1%}; limit {LIMIT:.0%}",
        f"  pair by pair: median {statistics.median(shares):+.1%}, {shares[0]:+.1%} to {shares[-1]:+.1%}",
    ]
    return "\n".join(rows)
