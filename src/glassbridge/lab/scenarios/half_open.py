"""F16: the stream between cloud and bridge is half dead, and nobody says so."""

import asyncio
from typing import Final

from glassbridge.lab.crowd import User
from glassbridge.lab.episode import Episode
from glassbridge.lab.faults import family, frozen
from glassbridge.lab.links import Way
from glassbridge.lab.needs import Needs
from glassbridge.lab.phone_reports import in_room, room_back
from glassbridge.lab.scenario import always, most, p95, scenario
from glassbridge.lab.system import System
from glassbridge.lab.witnesses import bridge_knows, by_room, cloud_knows, places

LASTS: Final = 10.0
MUST: Final = (
    p95("noticed_s", 5.0),
    p95("tta_s", 2.0),
    p95("room_s", 9.0),
    most("untold_s", 4.0),
    most("places", 2),
    always("same_session"),
    always("says_live"),
)


async def _healed(system: System, episode: Episode, users: list[User], *, both: bool) -> None:
    await episode.audio()
    await in_room(users)
    for user in users:
        noticed = [cloud_knows(system, user, episode.cause_ns)]
        if both:
            noticed.append(bridge_knows(system, user, episode.cause_ns))
        episode.note(
            user,
            noticed_s=max(noticed),
            room_s=room_back(user, episode.gone_ns),
            places=places(system, user, episode.cause_ns),
        )


async def _stand_still(system: System, pids: list[int], label: str) -> None:
    users = await by_room(system)
    async with system.episode(users, label) as episode:
        episode.cause()
        with frozen(*pids):
            await asyncio.sleep(LASTS)
        episode.gone()
        await _healed(system, episode, users, both=False)


@scenario("F16a", "a worker stands still", story="S-26", needs=Needs(breakable=True), must=MUST)
async def worker_stands_still(system: System) -> None:
    """Cloud and supervisor notice; the supervisor replaces it."""
    await _stand_still(system, [system.worker_pid()], f"worker frozen for {LASTS:.0f} s")


@scenario(
    "F16b", "one direction between cloud and bridge is dead", story="S-26", needs=Needs(breakable=True), must=MUST
)
async def one_direction(system: System) -> None:
    """First nothing comes from the bridge any more, then nothing gets to it: both sides notice each time."""
    for way in (Way.DOWN, Way.UP):
        users = await by_room(system)
        async with system.episode(users, f"bytes {way.name} lost for {LASTS:.0f} s") as episode:
            episode.cause()
            system.a.to_bridge.drop(way)
            await asyncio.sleep(LASTS)
            system.a.to_bridge.heal()
            episode.gone()
            await _healed(system, episode, users, both=True)


@scenario("F16c", "the whole bridge stands still", story="S-26", needs=Needs(breakable=True), must=MUST)
async def bridge_stands_still(system: System) -> None:
    """The cloud notices; on waking nobody is killed for having been silent."""
    await _stand_still(system, family(system.a.bridge), f"bridge frozen for {LASTS:.0f} s")
