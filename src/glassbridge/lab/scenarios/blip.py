"""F7: the phone's socket breaks for a moment, its room stays."""

import asyncio

from glassbridge.lab.scenario import Needs, always, most, never, p95, scenario
from glassbridge.lab.system import System


@scenario(
    "F7",
    "a brief blip of the phone's socket",
    story="S-8",
    needs=Needs(breakable=True),
    must=(p95("tta_s", 1.0), always("same_session"), never("joins"), most("untold_s", 4.0), always("says_live")),
)
async def blip(system: System) -> None:
    """2 s and 5 s without a socket: the session waits, and the bridge, which is fine, stays where it is."""
    users = await system.speaking()
    for seconds in (2, 5):
        async with system.episode(users, f"socket down {seconds} s") as episode:
            episode.cause()
            system.a.from_phones.refuse()
            await asyncio.sleep(seconds)
            system.a.from_phones.heal()
            episode.gone()
            await episode.audio(within=5)
            await system.live(users, system.a)
