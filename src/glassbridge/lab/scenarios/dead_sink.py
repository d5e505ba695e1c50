"""S1: the log sink fails for a minute, while a lot is logged. Nobody who speaks notices, and no line is lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import inf
from statistics import fmean
from typing import Final

import aiohttp

from glassbridge.lab.crowd import User
from glassbridge.lab.ingest import Ingest
from glassbridge.lab.needs import Needs
from glassbridge.lab.scenario import always, most, never, p95, scenario
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
        most("age_grew_ms", 30),
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
    """Mean age of audio and lag of the cloud's loop are those of the quiet time; every line arrives afterwards."""
    users = await by_room(system, baseline=True)
    sink = system.ingest
    async with aiohttp.ClientSession() as http, _chatter(http, system.a.cloud_url):
        async with system.episode(users, "the sink is well", prefix="quiet_") as episode:
            before = await _lag(http, system.a.cloud_url)
            episode.gone()
            await asyncio.sleep(QUIET)
            await episode.audio()
            quiet_lag = _mean(before, await _lag(http, system.a.cloud_url))
        quiet = {user: _age(system, user, episode.gone_ns) for user in users}
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
                    episode.note(
                        user,
                        missing=missing,
                        lag_grew_ms=(_mean(before, after) - quiet_lag) * 1000,
                        age_grew_ms=(_age(system, user, episode.cause_ns, episode.gone_ns) - quiet[user]) * 1000,
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


def _age(system: System, user: User, begin_ns: int, end_ns: int | None = None) -> float:
    """Mean seconds from a frame's being spoken to its being handed on as live."""
    ages = [
        (block.at_ns - stamp.sent_ns) / 1e9
        for block in system.taps.blocks(user.id, begin_ns)
        if block.live and (end_ns is None or block.at_ns < end_ns)
        for stamp in block.stamps
        if stamp.user == user.index
    ]
    return fmean(ages) if ages else inf


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
