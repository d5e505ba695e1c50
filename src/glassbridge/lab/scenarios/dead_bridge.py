"""F6: audio dies while every connection stays up, heartbeats go on, and a recogniser is kept open."""

import asyncio
from typing import Final

from glassbridge.lab.link_breaker import ClientLink, Path
from glassbridge.lab.needs import Needs
from glassbridge.lab.phone_reports import in_room, phone_knows, room_back
from glassbridge.lab.scenario import always, least, most, p95, scenario
from glassbridge.lab.system import System
from glassbridge.lab.witnesses import by_room

LASTS: Final = 8.0
MUST: Final = (
    p95("told_s", 4.0),
    p95("tta_s", 2.0),
    p95("room_s", 9.0),
    most("untold_s", 4.0),
    always("same_session"),
    always("says_live"),
)


async def _lose_media(system: System, way: ClientLink, label: str) -> None:
    users = await by_room(system)
    async with system.episode(users, label) as episode:
        episode.cause()
        way.drop(Path.MEDIA)
        await asyncio.sleep(LASTS)
        way.heal()
        episode.gone()
        await episode.audio()
        await in_room(users)
        for user in users:
            episode.note(
                user,
                told_s=phone_knows(user, episode.cause_ns),
                room_s=room_back(user, episode.gone_ns),
            )


@scenario(
    "F6a",
    "the bridge hears nothing, and all its connections are up",
    story="S-7",
    needs=Needs(breakable=True),
    must=(*MUST, least("joins", 1)),
)
async def deaf_bridge(system: System) -> None:
    """Media of the bridge is lost; its signalling, its stream and its heartbeats go on."""
    await _lose_media(system, system.a.to_livekit, f"the bridge without media for {LASTS:.0f} s")


@scenario(
    "F6b",
    "nothing comes from the phone, and all its connections are up",
    story="S-17",
    needs=Needs(breakable=True),
    must=(*MUST, most("joins", 2)),
)
async def dumb_phone(system: System) -> None:
    """Media of the phones is lost: they renew their places. So does the bridge, once, as either side may be deaf."""
    await _lose_media(system, system.stack.phones_to_livekit, f"phones without media for {LASTS:.0f} s")
