"""F11, F21: nothing that carries the room is there when a phone comes, or it goes away under it."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from math import inf

from glassbridge.core.values import UserId
from glassbridge.lab.crowd import User
from glassbridge.lab.judge import seconds
from glassbridge.lab.needs import Needs
from glassbridge.lab.phone_reports import in_room, room_back
from glassbridge.lab.scenario import always, least, most, p95, scenario
from glassbridge.lab.system import System

LASTS = 6.0
GRACE = {"GLASSBRIDGE_GRACE": "3"}
"""Each run has users of its own, of whom nothing is left when the next one comes."""
MUST = (
    p95("ack_s", 2.0),
    p95("reason_s", 4.0),
    least("attempts", 2),
    p95("tta_s", 2.0),
    p95("room_s", 9.0),
    always("says_live"),
)
"""Audio goes by the socket meanwhile; the room comes within the longest wait between two attempts."""


async def _come(system: System, label: str, heal: Callable[[], Awaitable[None]]) -> None:
    """Phones come while it is broken; it is healed after LASTS seconds."""
    number = len(system.samples)
    users = [system.add(UserId(f"new-{number}-{at}@example.org"), system.a) for at in range(5)]
    async with system.episode(users, label) as episode:
        episode.cause()
        await asyncio.sleep(LASTS)
        attempts = {user: _attempts(system, user, episode.cause_ns) for user in users}
        await heal()
        episode.gone()
        await episode.audio()
        await in_room(users)
        for user in users:
            episode.note(
                user,
                ack_s=_first(user, episode.cause_ns, "ack"),
                reason_s=_first(user, episode.cause_ns, "audio_state", reasoned=True),
                attempts=attempts[user],
                room_s=room_back(user, episode.gone_ns),
            )
    for user in users:
        user.remove()


def _first(user: User, since_ns: int, event: str, *, reasoned: bool = False) -> float:
    """Seconds until the phone's first such event; with a reason in it."""
    times = (
        said["t_ns"]
        for said in user.events
        if said["event"] == event and (not reasoned or (said["reason"] and said["code"] not in ("joining", "")))
    )
    first = min(times, default=None)
    return inf if first is None else seconds(since_ns, first)


def _attempts(system: System, user: User, since_ns: int) -> int:
    """Joins that came to nothing."""
    lines = system.logged("recovery", user, since_ns, action="join")
    return sum(line["result"] != "joined" for line in lines)


@scenario("F11a", "LiveKit refuses when phones come", story="S-16", needs=Needs(breakable=True, env=GRACE), must=MUST)
async def livekit_refuses(system: System) -> None:
    """The bridge's way, and the phones'."""
    await system.speaking()
    ways = system.a.to_livekit, system.stack.phones_to_livekit
    for way in ways:
        way.refuse()

    async def heal() -> None:
        for way in ways:
            way.heal()

    await _come(system, "LiveKit refuses", heal)


@scenario("F11b", "no bridge when phones come", story="S-20", needs=Needs(env=GRACE), must=MUST)
async def no_bridge(system: System) -> None:
    """It is started again."""
    await system.speaking()
    system.a.bridge.signal(signal.SIGKILL)
    await system.a.bridge.wait()

    async def heal() -> None:
        await system.a.start_bridge()
        await system.a.ready()

    await _come(system, "no bridge", heal)


@scenario("F11c", "the cloud signs with a wrong key", story="S-16", needs=Needs(env=GRACE), must=MUST, keeps=False)
async def wrong_key(system: System) -> None:
    """Somebody corrects the setting and restarts the cloud; the phones come back by themselves."""
    right = system.a.cloud.env["LIVEKIT_API_SECRET"]

    async def restart(secret: str) -> None:
        system.a.cloud.env["LIVEKIT_API_SECRET"] = secret
        system.a.cloud.signal(signal.SIGTERM)
        await system.a.cloud.wait()
        await system.a.start_cloud()
        await system.a.ready()

    await restart("a-key-that-no-server-knows-of-32-chars")
    await _come(system, "a wrong key", lambda: restart(right))


@scenario(
    "F21",
    "no bridge at all, for a while",
    story="S-30",
    must=(
        p95("away_tta_s", 2.0),
        always("away_socket"),
        most("away_untold_s", 4.0),
        p95("tta_s", 2.0),
        most("hole_s", 1.0),
        p95("room_s", 9.0),
        always("same_session"),
        always("says_live"),
    ),
)
async def bridge_absent(system: System) -> None:
    """Audio takes the phones' sockets; the way back to the room costs nothing."""
    users = await system.speaking()
    await in_room(users)
    async with system.episode(users, "the bridge is stopped", prefix="away_") as episode:
        episode.cause()
        system.a.bridge.signal(signal.SIGTERM)
        await system.a.bridge.wait()
        episode.gone()
        await episode.audio()
        for user in users:
            said = [event for event in user.events if event["event"] == "audio_state"][-1]
            episode.note(user, away_socket=float(said["state"] == "live" and said["transport"] == "websocket"))
    await asyncio.sleep(5)
    async with system.episode(users, "the bridge is back") as episode:
        await system.a.start_bridge()
        await system.a.ready()
        episode.gone()
        await episode.audio()
        await in_room(users)
        for user in users:
            episode.note(user, room_s=room_back(user, episode.gone_ns))
