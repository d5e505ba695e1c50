"""F14: the cloud dies or is stopped, and comes back."""

import asyncio
import signal

from glassbridge.lab.needs import Needs
from glassbridge.lab.scenario import APPS, always, most, never, p95, scenario
from glassbridge.lab.system import System


@scenario(
    "F14",
    "the cloud restarts",
    story="S-24",
    needs=Needs(witnesses=True),
    must=(
        p95("tta_s", 2.0),
        most("dropped_after_s", 1.0),
        always("says_live"),
        most("untold_s", 4.0),
        never("channel_full"),
        *APPS,
    ),
    runs=2,
    sdk=True,
)
async def cloud_restart(system: System) -> None:
    """The bridge lets go at once, the phones come back by themselves once it listens again."""
    users = await system.speaking()
    for number in (signal.SIGKILL, signal.SIGTERM):
        async with system.episode(users, f"{number.name} to the cloud") as episode:
            episode.cause()
            system.a.cloud.signal(number)
            await system.a.cloud.wait()
            await asyncio.sleep(1)
            await system.a.start_cloud()
            listens = await system.until_logged("cloud listens", episode.cause_ns, within=5)
            episode.gone_ns = int(listens["at_ns"])
            await episode.audio(within=10)
            await system.live(users, system.a)
            for user in users:
                left = system.logged("Disconnected from LiveKit room", user, episode.cause_ns)
                dropped = min((line["at_ns"] for line in left), default=None)
                episode.note(
                    user,
                    channel_full=len(system.logged("channel full", user, episode.cause_ns)),
                    dropped_after_s=float("inf") if dropped is None else (dropped - episode.cause_ns) / 1e9,
                )
