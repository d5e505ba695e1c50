"""R: 200 random faults, one after the other, against one running system."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from random import Random

from glassbridge.core.values import agent_identity
from glassbridge.lab.crowd import User
from glassbridge.lab.episode import Episode
from glassbridge.lab.link_breaker import ClientLink
from glassbridge.lab.links import ByteLink
from glassbridge.lab.needs import LabError, Needs
from glassbridge.lab.scenario import always, most, p95, scenario
from glassbridge.lab.system import System

FAULTS = 200
SHORT, LONG = 1.0, 5.0
"""Seconds that a fault lasts, where it lasts."""
BACK_WITHIN = 20.0
STARTS_WITHIN = 60.0
"""Seconds that a machine which does other things may take to start a bridge; audio is waited for from then on."""

Fault = Callable[[System, Episode, Random], Awaitable[None]]
"""Calls cause() when it breaks and gone() when the cause is gone. At its end everything is started and whole again."""


async def kill_worker(system: System, episode: Episode, random: Random) -> None:
    episode.cause()
    os.kill(system.worker_pid(random.randrange(2), system.a), signal.SIGKILL)
    episode.gone()


async def freeze_worker(system: System, episode: Episode, random: Random) -> None:
    episode.cause()
    await frozen(random, system.worker_pid(random.randrange(2), system.a))
    episode.gone()


async def freeze_cloud(system: System, episode: Episode, random: Random) -> None:
    episode.cause()
    await frozen(random, system.a.cloud.pid)
    episode.gone()


async def freeze_phones(system: System, episode: Episode, random: Random) -> None:
    """Frozen they say nothing, so nothing is missing: what counts begins when they wake."""
    await frozen(random, system.crowd.program.pid)
    episode.gone()


async def frozen(random: Random, pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(random.uniform(SHORT, LONG))
    finally:
        os.kill(pid, signal.SIGCONT)


async def restart_bridge(system: System, episode: Episode, random: Random) -> None:
    episode.cause()
    os.kill(system.a.bridge.pid, random.choice((signal.SIGKILL, signal.SIGTERM)))
    await system.a.bridge.wait()
    await system.a.start_bridge()
    await system.until_logged("bridge ready", episode.cause_ns, within=STARTS_WITHIN)
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
    name, way = random.choice(list(ways(system).items()))
    refused, seconds = random.random() < 0.5, random.uniform(SHORT, 2 * LONG)
    episode.label += f": {name} {'refused' if refused else 'cut off'}, {seconds:.1f} s"
    episode.cause()
    if refused:
        way.refuse()
    elif isinstance(way, ClientLink):
        way.part()
    else:
        way.hold()
    await asyncio.sleep(seconds)
    way.heal()
    episode.gone()


async def reset_a_way(system: System, episode: Episode, random: Random) -> None:
    name, way = random.choice(list(ways(system).items()))
    episode.label += f": {name}"
    episode.cause()
    way.cut()
    episode.gone()


def ways(system: System) -> dict[str, ByteLink | ClientLink]:
    return {
        "phones to cloud": system.a.from_phones,
        "cloud to bridge": system.a.to_bridge,
        "bridge to LiveKit": system.a.to_livekit,
        "phones to LiveKit": system.stack.phones_to_livekit,
    }


async def drop_phones(system: System, episode: Episode, random: Random) -> None:
    seconds = random.uniform(SHORT, LONG)
    episode.cause()
    for user in episode.users:
        user.drop(seconds)
    await asyncio.sleep(seconds + 0.2)
    episode.gone()
    told = [event["until_ns"] for user in episode.users for event in user.events if event["event"] == "dropped"]
    episode.gone_ns = max(told)  # by the phones' own clock: a busy machine lets them begin late


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
    reset_a_way,
    drop_phones,
    switch_there_and_back,
    remove_agents,
    delete_rooms,
)
WEIGHTS = [4 if fault is break_a_way else 1 for fault in TABLE]
"""There are many ways, and two manners to break each."""


@scenario(
    "R200",
    f"{FAULTS} random faults in a row",
    story="all of it",
    needs=Needs(backends=2, workers=2, breakable=True),
    must=(p95("tta_s", 2.0), most("tta_s", BACK_WITHIN), always("says_live"), p95("untold_s", 4.0)),
    runs=1,
)
async def random_faults(system: System) -> None:
    """Audio is back after each; at the end the system holds what it held after it had seen each kind once."""
    random = Random(system.seed)  # noqa: S311 - to be played again
    system.say(f"seed {system.seed}")
    users = await system.speaking()
    faults = random.sample(TABLE, len(TABLE)) + random.choices(TABLE, WEIGHTS, k=FAULTS - len(TABLE))
    for number, fault in enumerate(faults, 1):
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
