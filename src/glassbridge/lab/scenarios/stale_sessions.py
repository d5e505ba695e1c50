"""F10, F13, F17: sessions on the bridge that somebody left behind, and a leave that comes too late."""

import asyncio
import signal
from math import inf
from time import monotonic_ns

from glassbridge.core.values import UserId
from glassbridge.lab.bare_cloud import BareCloud
from glassbridge.lab.crowd import User
from glassbridge.lab.needs import Needs
from glassbridge.lab.scenario import always, most, never, p95, scenario
from glassbridge.lab.system import System

SHORT = Needs(env={"GLASSBRIDGE_GRACE": "3"})
"""Each run has users of its own, of whom nothing is left when the next one comes."""
IDLE = 30.0
"""Seconds without a word after which a cloud counts as gone."""


def bare_cloud(system: System) -> BareCloud:
    """Speaks to the first worker of the first bridge."""
    return BareCloud(str(system.a.sockets[0]), system.stack.livekit_url, system.keys)


@scenario(
    "F10a",
    "the cloud is killed, the phones are force-quit, both come back",
    story="S-18, S-19",
    must=(p95("tta_s", 2.0), never("refused"), never("zombies"), always("says_live")),
)
async def force_quit(system: System) -> None:
    """Audio is waited for from the moment that the phones exist again."""
    users = await system.speaking()
    async with system.episode(users, "kill -9 the cloud and the phones") as episode:
        episode.cause()
        system.a.cloud.signal(signal.SIGKILL)
        system.crowd.program.signal(signal.SIGKILL)
        await system.a.cloud.wait()
        await system.crowd.program.wait()
        await system.a.start_cloud()
        await system.crowd.start()
        for user in users:
            system.add(user.id, system.a)
        episode.gone()
        await episode.audio()
        await system.live(users, system.a)
        async with bare_cloud(system) as cloud:
            sessions = (await cloud.health()).active_sessions
        for user in users:
            episode.note(
                user,
                refused=len(system.logged("JoinRoom failed", user, episode.cause_ns)),
                zombies=max(0, sessions - len(users)),
            )


@scenario(
    "F10b",
    "the bridge holds a session of somebody who is stuck",
    story="S-18, S-19",
    needs=SHORT,
    must=(p95("tta_s", 2.0), always("replaced"), never("refused"), most("joins", 1), always("says_live")),
    users=1,
    runs=10,
)
async def held_by_another(system: System) -> None:
    """A stuck former cloud keeps its stream open and says nothing; the join of a phone that comes replaces it. What the
    stuck one did is waited for, for it would count as a join of ours."""
    await system.speaking()
    name = UserId(f"held-{len(system.samples)}@example.org")
    begun = monotonic_ns()
    async with bare_cloud(system) as stuck:
        await stuck.join(name, 1)
        stream = await stuck.stream(name, 1)
        await system.until_logged("audio stream opened", begun, within=10, user_id=name)
        user = system.add(name, system.a)
        async with system.episode([user], "a phone comes") as episode:
            episode.gone()
            await episode.audio()
            await system.live([user], system.a)
            episode.note(
                user,
                replaced=float(bool(system.logged("Replacing existing session", user, episode.cause_ns))),
                refused=len(system.logged("JoinRoom failed", user, episode.cause_ns)),
            )
        stream.cancel()
    user.remove()


@scenario(
    "F13",
    "a leave of an older join comes late",
    story="S-22",
    must=(always("refused"), never("joins"), most("hole_s", 1.0), always("says_live")),
)
async def late_leave(system: System) -> None:
    """Straight to the bridge, as a callback of a former join would send it."""
    users = await system.speaking()
    async with bare_cloud(system) as cloud, system.episode(users, "leave of an older join") as episode:
        episode.gone()
        for user in users:
            current = (await cloud.status(user.id)).generation
            answer = await cloud.leave(user.id, current - 1)
            episode.note(user, refused=float(not answer.success))
        await episode.audio()


@scenario(
    "F17",
    "a cloud is gone without a word",
    story="S-27",
    must=(most("reaped_after_s", IDLE + 5.0), never("joins"), never("quiet_lost")),
    users=2,
    runs=1,
    intact=False,
)
async def idle_zombie(system: System) -> None:
    """Its connection stays up and nobody sends; ten of its sessions are reaped. Users who are silent are not."""
    quiet = await system.speaking()
    for user in quiet:
        user.voice(False)
        user.microphone(False)
    begun = monotonic_ns()
    zombies = [User(UserId(f"zombie-{at}@example.org"), 30_000 + at, system.crowd, system.a) for at in range(10)]
    async with bare_cloud(system) as cloud:
        streams = []
        for user in zombies:
            await cloud.join(user.id, 1)
            streams.append(await cloud.stream(user.id, 1))
        left_alone = monotonic_ns()
        await asyncio.sleep(IDLE + 6.0)
        for user in zombies:
            gone = system.logged("Disconnected from LiveKit room", user, begun)
            after = (gone[0]["at_ns"] - left_alone) / 1e9 if gone else inf
            system.note(user, "a zombie", reaped_after_s=after)
        for stream in streams:
            stream.cancel()
    for user in quiet:
        lost = system.logged("Disconnected from LiveKit room", user, begun)
        system.note(
            user,
            "silent on purpose",
            joins=len(system.logged("JoinRoom received", user, begun)),
            quiet_lost=len(lost),
        )
        user.microphone(True)
        user.voice(True)
