"""V: each of our programs in the version before this one, beside the others of today (docs/compatibility.md).

The faults are those of F2 (to another cloud and back), F18 (a worker is killed) and F14 (a cloud is killed).
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from functools import partial
from time import monotonic, monotonic_ns

from glassbridge.lab import judge
from glassbridge.lab.backend import Backend
from glassbridge.lab.crowd import User
from glassbridge.lab.former import VERSION
from glassbridge.lab.needs import Needs
from glassbridge.lab.scenario import always, most, p95, scenario
from glassbridge.lab.scenarios.switches import move
from glassbridge.lab.system import System

APP_WITHIN = 10.0
LIMITS = (p95("tta_s", 2.0), most("untold_s", 4.0), always("says_live"), most("app_tta_s", APP_WITHIN))
FORMER: Sequence[tuple[str, str, tuple[str, ...]]] = (
    ("V1", "phones", ("phones",)),
    ("V2", "a bridge", ("bridge-A",)),
    ("V3", "a cloud", ("cloud-A",)),
    ("V4", "an app", ("app",)),
    ("V5", "phones and an app", ("phones", "app")),
)
"""Id, what is of the version before, names of its programs. Backend B is of today always."""


async def skew(system: System, programs: tuple[str, ...]) -> None:
    """Audio comes back at the cloud and at the app after each fault. An app of version 0.1 stays with the cloud that it
    has while that lives: it is not looked for at B."""
    users = await system.speaking()
    await _killed_worker(system, users)
    await _killed_cloud(system, users, system.a)
    for to, label in ((system.b, "F2: to B"), (system.a, "F2: back to A")):
        left = monotonic_ns()
        await move(system, users, to, label)
        if to is system.a or "app" not in programs:
            await _app_hears(system, users, label, left)


async def _killed_worker(system: System, users: list[User]) -> None:
    async with system.episode(users, "F18: kill -9 the worker") as episode:
        episode.cause()
        os.kill(system.worker_pid(), signal.SIGKILL)
        up = await system.until_logged("worker listening", episode.cause_ns, within=15)
        episode.gone_ns = int(up["at_ns"])
        await episode.audio(within=10)
        await system.live(users, system.a)
    await _app_hears(system, users, episode.label, episode.gone_ns)
    await system.a.ready()


async def _killed_cloud(system: System, users: list[User], backend: Backend) -> None:
    async with system.episode(users, "F14: kill -9 the cloud") as episode:
        episode.cause()
        backend.cloud.signal(signal.SIGKILL)
        await backend.cloud.wait()
        await asyncio.sleep(1)
        await backend.start_cloud()
        listens = await system.until_logged("cloud listens", episode.cause_ns, within=5)
        episode.gone_ns = int(listens["at_ns"])
        await episode.audio(within=10)
        await system.live(users, backend)
    await _app_hears(system, users, episode.label, episode.gone_ns)


async def _app_hears(system: System, users: list[User], label: str, since_ns: int) -> None:
    """A figure for each: until the app heard what was spoken after the fault."""

    def heard(user: User) -> int | None:
        return judge.first_new(user.index, system.app_blocks[user.id], since_ns, None)

    deadline = monotonic() + APP_WITHIN
    while any(heard(user) is None for user in users):
        if monotonic() > deadline:
            break
        await asyncio.sleep(0.05)
    for user in users:
        system.note(user, f"app after {label}", app_tta_s=judge.seconds(since_ns, heard(user)))


for id, what, programs in FORMER:
    scenario(
        id,
        f"{what} of version {VERSION} beside today's others",
        story="17",
        needs=Needs(backends=2, app=True, former=programs),
        must=LIMITS,
        users=2,
        runs=1,
    )(partial(skew, programs=programs))
