"""R: 200 random faults, one after the other, against one running system."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from random import Random

from glassbridge.core.values import agent_identity
from glassbridge.lab.crowd import User
from glassbridge.lab.episode import Episode
from glassbridge.lab.scenario import LabError, Needs, always, most, p95, scenario
from glassbridge.lab.system import System

FAULTS = 200
SHORT, LONG = 1.0, 5.0
"""Seconds that a fault lasts, where it lasts."""
BACK_WITHIN = 20.0

Fault = Callable[[System, Episode, Random], Awaitable[None]]
"""Calls cause() when it breaks and gone() when the cause is gone. At its end everything is started and whole again."""


async def kill_worker(system: System, episode: Episode, random: Random) -> None:
    episode.cause()
    os.kill(system.worker_pid(random.randrange(2), system.a), signal.SIGKILL)
    episode.gone()


async def freeze_worker(system: System, episode: Episode, random: Random) -> None:
    await frozen(episode, random, system.worker_pid(random.randrange(2), system.a))


async def freeze_cloud(system: System, episode: Episode, random: Random) -> None:
    await frozen(episode, random, system.a.cloud.pid)


async def freeze_phones(system: System, episode: Episode, random: Random) -> None:
    await frozen(episode, random, system.crowd.program.pid)


async def frozen(episode: Episode, random: Random, pid: int) -> None:
    episode.cause()
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(random.uniform(SHORT, LONG))
    finally:
        os.kill(pid, signal.SIGCONT)
    episode.gone()


async def restart_bridge(system: System, episode: Episode, random: Random) -> None:
    episode.cause()
    os.kill(system.a.bridge.pid, random.choice((signal.SIGKILL, signal.SIGTERM)))
    await system.a.bridge.wait()
    await system.a.start_bridge()
    await system.until_logged("bridge ready", episode.cause_ns, within=20)
    episode.gone()


async def restart_cloud(system: System, episode: Episode, random: Random) -> None:
    episode.cause()
    system.a.cloud.signal(random.choice((signal.SIGKILL, signal.SIGTERM)))
    await system.a.cloud.wait()
    await system.a.start_cloud()
    episode.gone()


async def restart_livekit(system: System, episode: Episode, random: Random) -> None:
    livekit = system.stack.livekit
    assert livekit is not None
    episode.cause()
    await livekit.kill()
    await asyncio.sleep(random.uniform(0, LONG))
    await livekit.start()
    episode.gone()


async def break_a_way(system: System, episode: Episode, random: Random) -> None:
    """One way, held as by a network that is gone, or reset and refused."""
    broken, refused = random.choice(
        [
            (system.a.from_phones.hold, False),
            (system.a.to_bridge.hold, False),
            (system.a.to_livekit.part, False),
            (system.stack.phones_to_livekit.part, False),
            (system.a.from_phones.refuse, True),
            (system.a.to_bridge.refuse, True),
            (system.a.to_livekit.refuse, True),
            (system.stack.phones_to_livekit.refuse, True),
        ]
    )
    episode.cause()
    broken()
    await asyncio.sleep(random.uniform(SHORT, 2 * LONG if not refused else LONG))
    for way in (system.a.from_phones, system.a.to_bridge, system.a.to_livekit, system.stack.phones_to_livekit):
        way.heal()
    episode.gone()


async def reset_a_way(system: System, episode: Episode, random: Random) -> None:
    ways = (system.a.from_phones, system.a.to_bridge, system.a.to_livekit, system.stack.phones_to_livekit)
    episode.cause()
    random.choice(ways).cut()
    episode.gone()


async def drop_phones(system: System, episode: Episode, random: Random) -> None:
    seconds = random.uniform(SHORT, LONG)
    episode.cause()
    for user in episode.users:
        user.drop(seconds)
    await asyncio.sleep(seconds)
    episode.gone()


async def switch_there_and_back(system: System, episode: Episode, random: Random) -> None:
    for user in episode.users:
        user.switch(system.b)
    await asyncio.sleep(random.uniform(0, LONG))
    for user in episode.users:
        user.switch(system.a)
    episode.gone()


async def remove_agents(system: System, episode: Episode, random: Random) -> None:
    episode.cause()
    for user in episode.users:
        await system.rooms.remove(user.id, agent_identity(user.id))
    episode.gone()


async def delete_rooms(system: System, episode: Episode, random: Random) -> None:
    episode.cause()
    for user in episode.users:
        await system.rooms.delete(user.id)
    episode.gone()


TABLE: tuple[Fault, ...] = (
    kill_worker,
    freeze_worker,
    freeze_cloud,
    freeze_phones,
    restart_bridge,
    restart_cloud,
    restart_livekit,
    break_a_way,
    break_a_way,
    break_a_way,
    reset_a_way,
    drop_phones,
    switch_there_and_back,
    remove_agents,
    delete_rooms,
)


@scenario(
    "R200",
    f"{FAULTS} random faults in a row",
    story="all of it",
    needs=Needs(backends=2, workers=2, breakable=True),
    must=(p95("tta_s", 2.0), most("tta_s", BACK_WITHIN), always("says_live"), p95("untold_s", 4.0)),
    runs=1,
)
async def random_faults(system: System) -> None:
    """Audio is back after each; at the end the system holds what it held after the first few."""
    random = Random(system.seed)  # noqa: S311 - to be played again
    system.say(f"seed {system.seed}")
    users = await system.speaking()
    for number in range(1, FAULTS + 1):
        fault = random.choice(TABLE)
        await one(system, users, fault, Random(random.random()), f"{number}: {fault.__name__}")  # noqa: S311
        if number == len(TABLE):
            await system.mark_baseline()


async def one(system: System, users: list[User], fault: Fault, random: Random, label: str) -> None:
    """One fault, and audio after it."""
    async with system.episode(users, label) as episode:
        await fault(system, episode, random)
        await episode.audio(within=BACK_WITHIN, at=system.a)
        await system.a.ready()
        try:
            await system.live(users, system.a)
        except LabError as error:
            raise LabError(f"seed {system.seed}, fault {label}: {error}") from None
