"""F18: the bridge dies, in part or as a whole, or is stopped for good and started anew."""

import os
import signal
from time import monotonic_ns

from glassbridge.lab.needs import LabError, Needs
from glassbridge.lab.scenario import Limit, always, most, never, p95, scenario
from glassbridge.lab.system import System

BACK = (p95("tta_s", 2.0), most("untold_s", 4.0), always("same_session"), always("says_live"))
RESTART: Limit = most("restart_s", 2.0)


@scenario(
    "F18a",
    "kill -9 one of two workers",
    story="S-28",
    needs=Needs(workers=2, env={"GLASSBRIDGE_GRACE": "1"}),
    users=6,
    must=(*BACK, RESTART, never("others_joins"), most("others_hole_s", 0.5)),
    runs=4,
    sdk=True,
)
async def killed_worker(system: System) -> None:
    """Its rooms rejoin on the other one at once, the rooms of the other one notice nothing."""
    users = await system.speaking()
    worker = system.worker_of(users[0])
    hit = [user for user in users if system.worker_of(user) == worker]
    others = [user for user in users if user not in hit]
    if not others:
        raise LabError("all rooms are on one worker")
    async with (
        system.episode(hit, f"kill -9 worker {worker}") as episode,
        system.episode(others, "rooms of the other worker", prefix="others_") as beside,
    ):
        os.kill(system.worker_pid(worker), signal.SIGKILL)
        episode.gone()
        beside.gone()
        await episode.audio(within=10)
        up = await system.until_logged("worker listening", episode.gone_ns, within=15, worker=worker)
        for user in hit:
            episode.note(user, restart_s=(up["at_ns"] - episode.gone_ns) / 1e9)
    await system.a.ready()
    # The next run finds them on both workers again: nobody moves rooms that are well where they are.
    left = monotonic_ns()
    for user in hit:
        user.remove()
    for user in hit:
        await system.until_logged("session gone", left, within=10, user_id=user.id)


@scenario("F18b", "kill -9 the only worker", story="S-28", must=(*BACK, RESTART), runs=2, sdk=True)
async def killed_only_worker(system: System) -> None:
    """Audio is waited for from the moment the new worker listens."""
    users = await system.speaking()
    async with system.episode(users, "kill -9 the worker") as episode:
        episode.cause()
        os.kill(system.worker_pid(), signal.SIGKILL)
        up = await system.until_logged("worker listening", episode.cause_ns, within=15)
        episode.gone()
        await episode.audio(within=10)
        for user in users:
            episode.note(user, restart_s=(up["at_ns"] - episode.cause_ns) / 1e9)
    await system.a.ready()


@scenario("F18c", "kill -9 and SIGTERM of the whole bridge, then a new one", story="S-28", must=BACK, runs=1, sdk=True)
async def restarted_bridge(system: System) -> None:
    """Somebody starts it again; audio is waited for from the moment it is ready."""
    users = await system.speaking()
    for number in (signal.SIGKILL, signal.SIGTERM):
        async with system.episode(users, f"{number.name} to the bridge") as episode:
            episode.cause()
            os.kill(system.a.bridge.pid, number)
            await system.a.bridge.wait()
            await system.a.start_bridge()
            await system.until_logged("bridge ready", episode.cause_ns, within=15)
            episode.gone()
            await episode.audio(within=10)
        await system.a.ready()
