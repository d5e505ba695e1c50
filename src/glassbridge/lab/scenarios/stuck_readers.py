"""F15, F25: somebody who should read does not: the cloud stands still, or a recogniser does."""

import asyncio
from contextlib import ExitStack

import psutil

from glassbridge.core.diagnosis import Action
from glassbridge.lab.faults import frozen
from glassbridge.lab.leaks import held_by
from glassbridge.lab.needs import LabError, Needs
from glassbridge.lab.phone_reports import in_room, room_back
from glassbridge.lab.scenario import always, most, never, p95, scenario
from glassbridge.lab.system import System

LASTS = 10.0
RECOGNISERS_LAST = 20.0
"""Longer than a recogniser may give no sign of life (speech/process.py)."""
RESTARTED_WITHIN = 20.0
AS_LIVE = 0.5
"""Seconds: nothing older is played as live."""


@scenario(
    "F15",
    "the cloud stands still for 10 s",
    story="S-25",
    must=(
        p95("tta_s", 2.0),
        most("oldest_s", AS_LIVE),
        most("bridge_grew_mb", 10),
        p95("room_s", 9.0),
        always("same_session"),
        always("says_live"),
    ),
)
async def stuck_cloud(system: System) -> None:
    """The bridge keeps little and drops the oldest; what is older than half a second comes as late, not as live."""
    users = await system.speaking()
    await in_room(users)
    before = held_by(system.a.bridge)["memory_mb"]
    async with system.episode(users, f"cloud frozen for {LASTS:.0f} s") as episode:
        episode.cause()
        with frozen(system.a.cloud.pid):
            await asyncio.sleep(LASTS)
            grew = held_by(system.a.bridge)["memory_mb"] - before
        episode.gone()
        await episode.audio()
        await in_room(users)
        for user in users:
            episode.note(user, bridge_grew_mb=max(0.0, grew), room_s=room_back(user, episode.gone_ns))


@scenario(
    "F25",
    "a recogniser stops reading",
    story="5.1",
    needs=Needs(env={"GLASSBRIDGE_RECOGNISERS": "2"}),
    must=(
        most("hole_s", 1.0),
        never("joins"),
        most("oldest_s", AS_LIVE),
        always("restarted"),
        always("same_session"),
        always("says_live"),
    ),
    users=2,
    runs=5,
)
async def stuck_recogniser(system: System) -> None:
    """All recognisers stand still: every other listener gets its audio as before, nothing grows, and others take the
    place of those that are stuck."""
    users = await system.speaking()
    await in_room(users)
    children = psutil.Process(system.a.cloud.pid).children(recursive=True)
    recognisers = [child.pid for child in children if "glassbridge.speech" in " ".join(child.cmdline())]
    if not recognisers:
        raise LabError("the cloud has no recogniser to freeze")
    async with system.episode(users, f"{len(recognisers)} recognisers frozen for {RECOGNISERS_LAST:.0f} s") as episode:
        with ExitStack() as stack:
            stack.enter_context(frozen(*recognisers))
            episode.gone()
            await asyncio.sleep(RECOGNISERS_LAST)
        await episode.audio()
        restarted = {"action": Action.RESTART_RECOGNISER.value, "result": "recognises"}
        for user in users:
            try:
                await system.until_logged("recovery", episode.cause_ns, RESTARTED_WITHIN, user_id=user.id, **restarted)
            except LabError:
                episode.note(user, restarted=0.0)
            else:
                episode.note(user, restarted=1.0)
