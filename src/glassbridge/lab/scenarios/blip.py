"""F7: the phone's socket breaks for a moment, its room stays."""

import asyncio
from functools import partial

from glassbridge.lab.needs import Needs
from glassbridge.lab.scenario import always, most, never, p95, scenario
from glassbridge.lab.system import System


async def blip(system: System, seconds: float) -> None:
    """The session waits, and the bridge, which is fine, stays where it is."""
    users = await system.speaking()
    async with system.episode(users, f"socket down {seconds:g} s") as episode:
        episode.cause()
        system.a.from_phones.refuse()
        await asyncio.sleep(seconds)
        system.a.from_phones.heal()
        episode.gone()
        await episode.audio(within=5)
        await system.live(users, system.a)


for name, away in (("F7a", 2), ("F7b", 5)):
    scenario(
        name,
        f"a brief blip: the phone's socket down {away} s",
        story="S-8",
        needs=Needs(breakable=True),
        must=(p95("tta_s", 1.0), always("same_session"), never("joins"), most("untold_s", 4.0), always("says_live")),
    )(partial(blip, seconds=away))
