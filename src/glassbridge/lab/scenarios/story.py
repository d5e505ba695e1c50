"""F9: whatever breaks, the logs alone tell each user's story."""

import asyncio
import os
import signal

from glassbridge.lab.crowd import User
from glassbridge.lab.needs import Needs
from glassbridge.lab.phone_reports import in_room
from glassbridge.lab.scenario import always, never, p95, scenario
from glassbridge.lab.system import System

OF_CLOUD = ("place lost", "audio link", "audio state", "recovery")
"""What a cloud writes of each user whose bridge dies."""
OF_BRIDGE = ("JoinRoom received", "Joined LiveKit room", "audio stream opened")
"""What the next bridge writes of each."""
DECISIONS = ("recovery", "room decision")
"""What phones and clouds, and what bridges write of each thing that they do."""
PARTS = {"user_id", "session_id", "generation", "cause", "action", "result"}


@scenario(
    "F9",
    "the story of a killed bridge is in the logs, by user and by session",
    story="S-11",
    needs=Needs(workers=2),
    must=(
        p95("tta_s", 2.0),
        never("missing"),
        never("anonymous"),
        never("incomplete"),
        never("out_of_order"),
        always("one_session"),
    ),
    keeps=False,
)
async def told_by_logs(system: System) -> None:
    """Each worker in turn is killed. Every decision of phones, clouds and bridges is one line that names the user, the
    session, the generation, the cause, what was done and what came of it."""
    users = await system.speaking()
    await in_room(users)
    for worker in (0, 1):
        hit = [user for user in users if system.worker_of(user) == worker]
        if not hit:
            continue
        async with system.episode(hit, f"kill -9 worker {worker}") as episode:
            os.kill(system.worker_pid(worker), signal.SIGKILL)
            episode.gone()
            await episode.audio()
            await in_room(hit)
            for user in hit:
                episode.note(user, **_read(system, user, episode.cause_ns))
        await system.a.ready()
        await asyncio.sleep(1)


def _read(system: System, user: User, since_ns: int) -> dict[str, float]:
    """The figures of one user's story."""
    lines = {event: system.logged(event, user, since_ns) for event in (*OF_CLOUD, *OF_BRIDGE)}
    cloud = [line for event in OF_CLOUD for line in lines[event]]
    decisions = [line for event in DECISIONS for line in system.logged(event, user, since_ns)]
    firsts = [
        lines[event][0]["timestamp"] for event in ("place lost", "Joined LiveKit room", "recovery") if lines[event]
    ]
    return {
        "missing": sum(not found for found in lines.values()),
        "anonymous": sum("session_id" not in line or "generation" not in line for line in cloud),
        "decisions": len(decisions),
        "incomplete": sum(not line.keys() >= PARTS or not line["session_id"] for line in decisions),
        "out_of_order": float(firsts != sorted(firsts)),
        "one_session": float({line.get("session_id") for line in (*cloud, *decisions)} == {user.session}),
    }
