"""F19: a network between two programs is gone for a while: TCP waits, datagrams are lost."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from glassbridge.lab.crowd import User
from glassbridge.lab.link_breaker import ClientLink
from glassbridge.lab.links import ByteLink, Way
from glassbridge.lab.needs import Needs
from glassbridge.lab.phone_reports import in_room, phone_knows, room_back
from glassbridge.lab.scenario import Limit, always, most, p95, scenario
from glassbridge.lab.system import System
from glassbridge.lab.witnesses import bridge_knows, by_room, cloud_knows, places

LENGTHS: Final = (5.0, 30.0)
NEEDS: Final = Needs(breakable=True)
ROOM_BACK: Final = 16.0
"""Seconds: an attempt that began before the network was back may take 8 s, the wait before the next one 7 s. Until then
audio goes by the socket."""
MUST: Final[tuple[Limit, ...]] = (
    p95("known_s", 4.0),
    p95("tta_s", 2.0),
    p95("room_s", ROOM_BACK),
    most("untold_s", 4.0),
    most("places", 2),
    always("same_session"),
    always("says_live"),
)

Knows = Callable[[System, User, int], float]
"""Seconds from a moment until one end knew."""


def _phone(_system: System, user: User, since_ns: int) -> float:
    return phone_knows(user, since_ns)


async def _partition(
    system: System,
    link: ByteLink | ClientLink,
    name: str,
    ends: tuple[Knows, ...],
    other_ends: Mapping[Way, tuple[Knows, ...]] | None = None,
) -> None:
    """`ends` must know of it; `other_ends` instead of them where only that way is cut."""
    cut = link.part if isinstance(link, ClientLink) else link.hold
    for seconds in LENGTHS:
        for way in (Way.UP, Way.DOWN, Way.BOTH):
            users = await by_room(system)
            async with system.episode(users, f"{name}, {str(way.name).lower()}, {seconds:.0f} s") as episode:
                episode.cause()
                cut(ways=way)
                await asyncio.sleep(seconds)
                link.heal()
                episode.gone()
                await episode.audio()
                await in_room(users)
                for user in users:
                    episode.note(
                        user,
                        known_s=max(
                            knows(system, user, episode.cause_ns) for knows in (other_ends or {}).get(way, ends)
                        ),
                        room_s=room_back(user, episode.gone_ns),
                        places=places(system, user, episode.cause_ns),
                    )


@scenario("F19a", "no way between phone and cloud", story="S-29", needs=NEEDS, must=MUST, runs=1, sdk=True)
async def phone_and_cloud(system: System) -> None:
    """Room and bridge are not touched."""
    await _partition(system, system.a.from_phones, "phone-cloud", (_phone, cloud_knows))


@scenario("F19b", "no way between cloud and bridge", story="S-29", needs=NEEDS, must=MUST, runs=1, sdk=True)
async def cloud_and_bridge(system: System) -> None:
    """Audio goes by the phones' sockets."""
    await _partition(system, system.a.to_bridge, "cloud-bridge", (cloud_knows, bridge_knows))


@scenario("F19c", "no way between bridge and LiveKit", story="S-29", needs=NEEDS, must=MUST, runs=1, sdk=True)
async def bridge_and_livekit(system: System) -> None:
    """Audio goes by the phones' sockets."""
    await _partition(system, system.a.to_livekit, "bridge-LiveKit", (bridge_knows, cloud_knows))


@scenario("F19d", "no way between phone and LiveKit", story="S-29", needs=NEEDS, must=MUST, runs=1, sdk=True)
async def phone_and_livekit(system: System) -> None:
    """Audio goes by the phones' sockets; the bridge stays. Where LiveKit's answers alone are lost, a phone sends by
    both ways before it gives up the room: the cloud hears all the time, and may notice nothing."""
    link = system.stack.phones_to_livekit
    await _partition(system, link, "phone-LiveKit", (_phone, cloud_knows), {Way.DOWN: (_phone,)})
