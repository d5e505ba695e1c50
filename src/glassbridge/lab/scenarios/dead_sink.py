"""S1: the log sink fails for a minute, while a lot is logged. Nobody who speaks notices, and no line is lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from glassbridge.lab.ingest import Ingest
from glassbridge.lab.judge import fates
from glassbridge.lab.scenario import Needs, always, most, never, p95, scenario
from glassbridge.lab.system import System
from glassbridge.lab.witnesses import by_room

LASTS: Final = 60.0
QUIET: Final = 20.0
"""Seconds with a sink that is well, before: what the figures are compared with."""
ARRIVES_WITHIN: Final = 60.0
"""Seconds: the longest wait between two attempts is 30 s, and then there is a backlog."""
REQUESTS_EVERY: Final = 0.02
"""Each is a line in the cloud's log."""
ADMIN: Final = "admin-token-of-the-lab"
LAG: Final = "glassbridge_loop_lag_seconds"


async def _freeze(sink: Ingest) -> None:
    sink.freeze()


async def _error(sink: Ingest) -> None:
    sink.status = 500


WAYS: Final[tuple[tuple[str, Callable[[Ingest], Awaitable[None]]], ...]] = (
    ("frozen", _freeze),
    ("refused", Ingest.refuse),
    ("answers 500", _error),
)


@scenario(
    "S1",
    "the log sink is frozen, refuses, or answers 500 for 60 s",
    story="6",
    needs=Needs(env={"GLASSBRIDGE_ADMIN_TOKEN": ADMIN}),
    must=(
        p95("tta_s", 0.5),
        most("hole_s", 1.0),
        most("oldest_grew_s", 0.2),
        most("lag_grew_ms", 10),
        never("missing"),
        never("joins"),
        never("lost"),
        always("same_session"),
        always("says_live"),
    ),
    runs=1,
)
async def dead_sink(system: System) -> None:
    """The age of audio and the lag of the cloud's loop are those of the quiet time; every line arrives afterwards."""
    users = await by_room(system, baseline=True)
    sink = system.ingest
    async with aiohttp.ClientSession() as http, _chatter(http, system.a.cloud_url):
        async with system.episode(users, "the sink is well", prefix="quiet_") as episode:
            before = await _lag(http, system.a.cloud_url)
            episode.gone()
            await asyncio.sleep(QUIET)
            await episode.audio()
            quiet_lag = _mean(before, await _lag(http, system.a.cloud_url))
        quiet = {user: episode.figures[user]["quiet_oldest_s"] for user in users}
        for name, break_it in WAYS:
            async with system.episode(users, f"the sink {name} for {LASTS:.0f} s") as episode:
                before = await _lag(http, system.a.cloud_url)
                episode.cause()
                await break_it(sink)
                await asyncio.sleep(LASTS)
                after = await _lag(http, system.a.cloud_url)
                sink.status = 202
                sink.thaw()
                await sink.return_()
                episode.gone()
                await episode.audio()
                missing = await _missing(system, episode.cause_ns, episode.gone_ns)
                for user in users:
                    spoken = [run for run in user.spoken if episode.cause_ns <= run.at_ns < episode.gone_ns]
                    oldest = fates(user.index, spoken, system.taps.blocks(user.id, episode.cause_ns)).oldest_s
                    episode.note(
                        user,
                        missing=missing,
                        lag_grew_ms=(_mean(before, after) - quiet_lag) * 1000,
                        oldest_grew_s=oldest - quiet[user],
                    )


@asynccontextmanager
async def _chatter(http: aiohttp.ClientSession, cloud: str) -> AsyncIterator[None]:
    """Has the cloud log a line for each of many requests."""

    async def ask() -> None:
        while True:
            async with http.get(f"{cloud}/api/nothing") as response:
                await response.read()
            await asyncio.sleep(REQUESTS_EVERY)

    task = asyncio.create_task(ask())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _lag(http: aiohttp.ClientSession, cloud: str) -> tuple[float, float]:
    """Sum and number of what was measured so far."""
    async with http.get(f"{cloud}/metrics", headers={"Authorization": f"Bearer {ADMIN}"}) as response:
        text = await response.text()
    numbers = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith(LAG))
    return float(numbers[f"{LAG}_sum"]), float(numbers[f"{LAG}_count"])


def _mean(before: tuple[float, float], after: tuple[float, float]) -> float:
    return (after[0] - before[0]) / max(1.0, after[1] - before[1])


async def _missing(system: System, begin_ns: int, end_ns: int) -> int:
    """Lines that the programs wrote to standard error in this time and that the sink does not get."""
    written = {
        (line["timestamp"], line["event"])
        for line in system.logbook.find({}, begin_ns)
        if line["program"] != "phones" and "timestamp" in line and line["at_ns"] < end_ns
    }
    deadline = asyncio.get_running_loop().time() + ARRIVES_WITHIN
    while True:
        missing = written - {(line["dt"], line["message"]) for line in system.ingest.lines}
        if not missing or asyncio.get_running_loop().time() > deadline:
            return len(missing)
        await asyncio.sleep(0.5)
