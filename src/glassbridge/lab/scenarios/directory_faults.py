"""M7 to M11: what several clouds share is away, has forgotten, or their clocks are wrong."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from glassbridge.lab.cluster_checks import fault, with_apps
from glassbridge.lab.needs import LabError
from glassbridge.lab.scenario import always, most, scenario
from glassbridge.lab.scenarios.clusters import NEEDS, USERS, blip
from glassbridge.lab.system import System

AWAY: Final = 30.0
RECONCILED: Final = 3.0
"""Seconds in which all claims are written down again."""
MUST: Final = with_apps(most("hole_s", 2.0), always("same_session"))
Act = Callable[[], Awaitable[None]]
HOUR: Final = {"A": "+1h", "B": "-1h"}
"""By backend, what its clock is wrong by."""


def in_step(act: Callable[[], object]) -> Act:
    """The same, to be awaited."""

    async def acted() -> None:
        act()

    return acted


async def _away(system: System, label: str, leave: Act, come_back: Act) -> None:
    """The directory leaves, all phones come anew while it is away, it comes back, and they come anew again."""
    await system.speaking()
    try:
        async with fault(system, label) as episode:
            episode.cause()
            await leave()
            episode.gone()
            await asyncio.sleep(AWAY / 2)
        async with fault(system, f"{label}: blip") as episode:
            episode.cause()
            await blip(system)
            episode.gone()
            await asyncio.sleep(AWAY / 2)
    finally:
        await come_back()
    async with fault(system, f"{label}: back") as episode:
        episode.cause()
        episode.gone()
        await asyncio.sleep(RECONCILED)
    async with fault(system, f"{label}: blip after that") as episode:
        episode.cause()
        await blip(system)
        episode.gone()


@scenario("M7", "several clouds: Valkey killed for 30 s", story="16", needs=NEEDS, must=MUST, users=USERS, runs=1)
async def killed(system: System) -> None:
    """It comes back empty."""
    directory = system.cluster.directory
    await _away(system, "Valkey killed", directory.kill, directory.start)


@scenario("M8", "several clouds: Valkey frozen for 30 s", story="16", needs=NEEDS, must=MUST, users=USERS, runs=1)
async def frozen(system: System) -> None:
    """It answers late what it was asked while it was frozen."""
    directory = system.cluster.directory
    await _away(system, "Valkey frozen", in_step(directory.freeze), in_step(directory.thaw))


@scenario(
    "M9",
    "several clouds: Valkey fails over with its last writes lost",
    story="16",
    needs=NEEDS,
    must=MUST,
    users=USERS,
    runs=1,
)
async def failed_over(system: System) -> None:
    """All phones came anew after what the new server knows."""
    directory = system.cluster.directory
    await system.speaking()
    await directory.save()
    async with fault(system, "moved, then failed over", moves=2) as episode:
        episode.cause()
        await blip(system)
        await asyncio.sleep(1)
        await directory.kill()
        await directory.start()
        episode.gone()
        await asyncio.sleep(3)
    async with fault(system, "blip after that") as episode:
        episode.cause()
        await blip(system)
        episode.gone()


@scenario(
    "M10", "several clouds: one cannot reach Valkey for 30 s", story="16", needs=NEEDS, must=MUST, users=USERS, runs=1
)
async def partitioned(system: System) -> None:
    """The others can, and it can reach them."""
    way = system.cluster.to_directory["A"]
    await _away(system, "A without Valkey", in_step(way.drop), in_step(way.heal))


@scenario(
    "M11", "several clouds: clocks an hour ahead and behind", story="16", needs=NEEDS, must=MUST, users=USERS, runs=1
)
async def clocks(system: System) -> None:
    """Clouds A and B are started anew with such clocks, C is right; then all phones come anew, twice."""
    library = _libfaketime()
    for backend in system.stack.backends:
        if (shift := HOUR.get(backend.name)) is None:
            continue
        backend.cloud.env |= {"LD_PRELOAD": library, "FAKETIME": shift, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        await backend.cloud.stop(5.0)
        await backend.start_cloud()
        await backend.ready()
    for number in (1, 2):
        async with fault(system, f"clocks are wrong, blip {number}") as episode:
            episode.cause()
            await blip(system)
            episode.gone()


def _libfaketime() -> str:
    """Raises LabError."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        raise LabError("clocks cannot be set wrong here: apt-get install faketime")
    return str(found[0])
