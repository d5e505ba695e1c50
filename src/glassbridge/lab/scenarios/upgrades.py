"""M14 to M17: LiveKit as two nodes, one of which goes; nodes of ours upgraded in turn, added, and taken away."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import psutil

from glassbridge.lab.backend import Backend
from glassbridge.lab.cluster_checks import are_shared_out, fault, with_apps
from glassbridge.lab.episode import Episode
from glassbridge.lab.livekit_nodes import LiveKitNodes
from glassbridge.lab.needs import Needs
from glassbridge.lab.program import Program
from glassbridge.lab.scenario import always, most, never, p99, scenario
from glassbridge.lab.scenarios.clusters import NEEDS, RESTART_WITHIN, USERS
from glassbridge.lab.system import System

TWO_LIVEKITS: Final = Needs(backends=3, cluster=True, own_apps=2, livekit_nodes=2)
FIVE: Final = Needs(backends=5, cluster=True, own_apps=2)
MANY: Final = 20
"""200 speaking users need more than two cores: phones, apps, clouds, bridges and LiveKit share them here. M16 takes 0.7
of a core with 12 of them and 1.1 with 30, on average; while users move, it takes both."""
DRAINED: Final = 5.0
"""Seconds that a LiveKit node has for its participants, after which its operator ends it."""
AWAY: Final = 10.0
SHARED_WITHIN: Final = 60.0
"""Seconds in which clouds that were added get their share of many users: nobody is sent away in the first 30."""
LOWEST: Final = 19
"""Priority of a program that starts: in the field its machine is its own."""


def nodes(system: System) -> LiveKitNodes:
    """Those of this system."""
    livekit = system.stack.livekit
    assert isinstance(livekit, LiveKitNodes)
    return livekit


async def _one_goes(system: System, label: str, *, drained: bool) -> None:
    """The first node goes, comes back, and phones that were on it are where they were."""
    livekit = nodes(system)
    first = livekit.nodes[0]
    await system.speaking()
    if drained:
        async with fault(system, f"{label}: it drains") as episode:
            episode.cause()
            first.signal(signal.SIGTERM)
            episode.gone()
            await asyncio.sleep(DRAINED)
    async with fault(system, label, within=AWAY) as episode:
        episode.cause()
        await (first.stop() if drained else first.kill())
        episode.gone()
        await asyncio.sleep(AWAY)
    async with fault(system, f"{label}: it is back") as episode:
        episode.cause()
        await first.start()
        episode.gone()
        await asyncio.sleep(AWAY / 2)


@scenario(
    "M14",
    "several clouds: one of two LiveKit nodes is drained, then stopped",
    story="16",
    needs=TWO_LIVEKITS,
    must=with_apps(most("hole_s", 0.5), always("same_session")),
    users=USERS,
    runs=1,
)
async def livekit_drained(system: System) -> None:
    """A drained node keeps its participants until it is stopped; then their rooms are joined on the other one, and
    phones send by their sockets meanwhile."""
    await _one_goes(system, "a LiveKit node is stopped", drained=True)


@scenario(
    "M15",
    "several clouds: one of two LiveKit nodes is killed",
    story="16",
    needs=TWO_LIVEKITS,
    must=with_apps(most("hole_s", 0.5), always("same_session")),
    users=USERS,
    runs=1,
)
async def livekit_killed(system: System) -> None:
    """The other one knows its rooms as the dead node's for some seconds: phones send by their sockets meanwhile. Those
    whose signalling goes through the living node are told nothing: what they send is not acknowledged."""
    await _one_goes(system, "a LiveKit node is killed", drained=False)


@asynccontextmanager
async def _moving(system: System, label: str, *, bridge_joins: int = 0) -> AsyncIterator[Episode]:
    """A fault in which each user may be joined once for each move between clouds, and so often for bridges."""
    async with fault(system, label, within=RESTART_WITHIN, moves=2) as episode:
        yield episode
        for user in episode.users:
            moves = len(system.logged("session handed over", user, episode.cause_ns))
            joins = len(system.logged("JoinRoom received", user, episode.cause_ns))
            episode.note(user, moves=moves, joins_too_many=max(0, joins - moves - bridge_joins))


@asynccontextmanager
async def _quietly(program: Program) -> AsyncIterator[None]:
    """It starts in there, and takes no processor time that others want, where the system lets us."""
    await program.start()
    former = os.getpriority(os.PRIO_PROCESS, program.pid)
    _nice(program, LOWEST)
    yield
    _nice(program, former)


def _nice(program: Program, priority: int) -> None:
    if os.geteuid() == 0:
        main = psutil.Process(program.pid)
        for process in (main, *main.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.nice(priority)


async def _start_cloud(backend: Backend) -> None:
    async with _quietly(backend.cloud):
        await backend.cloud_answers()


@scenario(
    "M16",
    "several clouds: every cloud and every bridge is upgraded, one after the other",
    story="16",
    needs=NEEDS,
    must=with_apps(p99("hole_s", 0.5), never("joins_too_many"), always("same_session")),
    users=MANY,
    runs=1,
)
async def upgrade(system: System) -> None:
    """As docs/operations.md says: clouds, then bridges."""
    for backend in system.stack.backends:
        async with _moving(system, f"the cloud of {backend.name} is upgraded") as episode:
            episode.cause()
            await backend.cloud.end(RESTART_WITHIN)
            episode.gone()
            await _start_cloud(backend)
        await backend.ready()
    for backend in system.stack.backends:
        async with _moving(system, f"the bridge of {backend.name} is upgraded", bridge_joins=1) as episode:
            episode.cause()
            await backend.bridge.end(RESTART_WITHIN)
            episode.gone()
            async with _quietly(backend.bridge):
                pass
        await backend.ready()


@scenario(
    "M17",
    "several clouds: three become five, and then two",
    story="16",
    needs=FIVE,
    must=with_apps(p99("hole_s", 0.5), never("joins_too_many"), always("same_session"), always("shared")),
    users=MANY,
    runs=1,
)
async def scale(system: System) -> None:
    """Two clouds with a bridge each are added, then three are taken away."""
    backends = system.stack.backends
    for backend in backends[3:]:
        await backend.cloud.end(RESTART_WITHIN)
        await backend.bridge.end(RESTART_WITHIN)
    await _see(backends[:3])
    await system.speaking()
    async with _moving(system, "two are added", bridge_joins=1) as episode:
        episode.cause()
        for backend in backends[3:]:
            async with _quietly(backend.bridge):
                pass
            await _start_cloud(backend)
        await _see(backends)
        episode.gone()
        shared = await are_shared_out(system, SHARED_WITHIN)
        for user in episode.users:
            episode.note(user, shared=shared)
    for backend in backends[2:]:
        async with _moving(system, f"{backend.name} is taken away", bridge_joins=1) as episode:
            episode.cause()
            await backend.cloud.end(RESTART_WITHIN)
            await backend.bridge.end(RESTART_WITHIN)
            episode.gone()


async def _see(backends: list[Backend]) -> None:
    """Each of these clouds sees all of their bridges."""
    for backend in backends:
        backend.bridges = sum(len(one.sockets) for one in backends)
    for backend in backends:
        await backend.ready()
