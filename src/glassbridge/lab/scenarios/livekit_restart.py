"""F22: LiveKit dies and comes back."""

import asyncio
from functools import partial

from glassbridge.lab.needs import Needs
from glassbridge.lab.scenario import always, most, never, p95, scenario
from glassbridge.lab.system import System


async def livekit_restart(system: System, seconds: float) -> None:
    """While it is away audio takes the phones' sockets; when it is back, the room again. Nobody crashes."""
    users = await system.speaking()
    livekit = system.stack.livekit
    assert livekit is not None
    async with system.episode(users, f"kill -9 LiveKit, back after {seconds:g} s") as episode:
        episode.cause()
        await livekit.kill()
        await asyncio.sleep(seconds)
        await livekit.start()
        episode.gone()
        await episode.audio(within=20)
        for user in users:
            joined = await system.until_logged("Joined LiveKit room", episode.gone_ns, 20, user_id=user.id)
            episode.note(
                user,
                room_s=(joined["at_ns"] - episode.gone_ns) / 1e9,
                crashes=len(system.logged("worker died", None, episode.cause_ns)),
            )
        await system.live(users, system.a)


for name, seconds, runs in (("F22a", 1, 2), ("F22b", 5, 2), ("F22c", 20, 2)):
    scenario(
        name,
        f"LiveKit dies, back after {seconds} s",
        story="5.1",
        needs=Needs(real=True),
        must=(
            p95("tta_s", 2.0),
            most("untold_s", 4.0),
            p95("room_s", 8.0),
            never("crashes"),
            always("same_session"),
            always("says_live"),
        ),
        runs=runs,
        sdk=True,
    )(partial(livekit_restart, seconds=seconds))
