"""What clouds and bridges knew, and when: from what they logged. Results are seconds; infinite: never."""

from typing import Any, Final

from glassbridge.lab.crowd import User
from glassbridge.lab.judge import seconds
from glassbridge.lab.phone_reports import first, in_room, is_well
from glassbridge.lab.system import System

BRIDGE_KNOWS: Final = ("Disconnected from LiveKit room", "audio stream ended")
"""Log lines that only a bridge writes which knows that a way is gone."""
JOINED: Final = "Joined LiveKit room"


def cloud_knows(system: System, user: User, since_ns: int) -> float:
    """Until a cloud wrote that the phone's socket is gone, or told anything else than `live` by the room."""
    lines = [
        *system.logged("phone socket closed", user, since_ns),
        *(line for line in system.logged("audio state", user, since_ns) if not is_well(line)),
    ]
    return seconds(since_ns, first(line["at_ns"] for line in lines))


def bridge_knows(system: System, user: User, since_ns: int) -> float:
    """Until a bridge gave up what it had: its place in the room, or its stream to the cloud."""
    lines = [line for event in BRIDGE_KNOWS for line in system.logged(event, user, since_ns)]
    return seconds(since_ns, first(line["at_ns"] for line in lines))


async def by_room(system: System, *, baseline: bool = False) -> list[User]:
    """The scenario's users, their audio by the room. What is held then is noted once: when asked, or after the first
    episode, in which pools fill; so leaks show also where there is but one run."""
    users = await system.speaking()
    await in_room(users)
    if system.baseline is None and (baseline or system.samples):
        await system.mark_baseline()
    return users


def places(system: System, user: User, since_ns: int, **fields: Any) -> int:
    """How often a bridge took a place in the user's room."""
    return len(system.logged(JOINED, user, since_ns, **fields))
