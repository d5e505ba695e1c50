"""F1: a session that nobody comes back to ends, once, and leaves nothing."""

import asyncio
import signal
from time import monotonic, monotonic_ns

from glassbridge.core.values import UserId
from glassbridge.lab.crowd import User
from glassbridge.lab.needs import LabError
from glassbridge.lab.scenario import least, most, scenario
from glassbridge.lab.system import System

GRACE = 60.0


@scenario(
    "F1",
    "sessions expire",
    story="S-1",
    must=(least("ended_after_s", 59.5), most("ended_after_s", 61.0), most("ends", 1), most("gone_after_s", 5.0)),
    users=1,
    runs=3,
    intact=False,
)
async def expiry(system: System) -> None:
    """Half of the phones say goodbye, half are killed; 60 s later the sessions end, and in 5 s all of them is gone."""
    killed = system.crowds.get("doomed") or await system.another_crowd("doomed")
    if not killed.program.running:
        await killed.start()
    leaving = [system.add(UserId(f"leaving-{number}@example.org"), system.a) for number in range(5)]
    doomed = [system.add(UserId(f"doomed-{number}@example.org"), system.a, killed) for number in range(5)]
    users = leaving + doomed
    await system.live(users, system.a)
    closed = monotonic_ns()
    for user in leaving:
        user.remove()
    killed.program.signal(signal.SIGKILL)
    await killed.program.wait()
    await asyncio.sleep(GRACE - 1)
    for user in users:
        end = await system.until_logged("session", closed, 10, user_id=user.id, new="ended")
        gone_ns = await until_gone(system, user, end["at_ns"])
        system.note(
            user,
            "60 s without a phone",
            ended_after_s=(end["at_ns"] - closed) / 1e9,
            ends=len(system.logged("session", user, closed, new="ended")),
            gone_after_s=(gone_ns - end["at_ns"]) / 1e9,
        )


async def until_gone(system: System, user: User, since_ns: int) -> int:
    """When the session has released all and nobody is in the user's room any more. Raises LabError."""
    await system.until_logged("session gone", since_ns, 10, user_id=user.id)
    deadline = monotonic() + 10
    while await system.rooms.participants(user.id):
        if monotonic() > deadline:
            raise LabError(f"somebody stays in the room of {user.id}")
        await asyncio.sleep(0.1)
    return monotonic_ns()
