"""F20: everybody wants to come back at once.

200 phones do more work than the system that they come back to, and share its two cores: so how long all take is given
beside how long they took at first, one group after the other, when nothing was refused. That is the machine.
"""

import asyncio
from time import monotonic, monotonic_ns
from typing import Final

from glassbridge.core.values import UserId
from glassbridge.lab.crowd import User
from glassbridge.lab.scenario import LabError, Needs, always, most, p95, scenario
from glassbridge.lab.system import System
from glassbridge.lab.witnesses import room_back

CROWD = 200
AWAY = 10.0
GROUP = 20
"""Who come at the same time at first: 200 new phones at once are another matter than 200 that come back."""
GROUP_THERE_WITHIN = 30.0
BACK_WITHIN = 60.0
BEGINS: Final[tuple[str, dict[str, str]]] = ("JoinRoom received", {})
ENDS: Final[tuple[tuple[str, dict[str, str]], ...]] = (
    ("JoinRoom failed", {}),
    ("Joined LiveKit room", {}),
    ("room decision", {"cause": "gave up"}),
)
"""What a bridge logs of a join's beginning and end."""


@scenario(
    "F20",
    "LiveKit is away under 200 sessions",
    story="S-12, S-30",
    needs=Needs(real=True, workers=2),
    must=(
        most("room_s", BACK_WITHIN),
        most("at_once", 1),
        most("attempts", 12),
        p95("tta_s", 2.0),
        most("untold_s", 4.0),
        always("says_live"),
    ),
    users=5,
    runs=1,
    keeps=False,
)
async def storm(system: System) -> None:
    """200 phones that are there and silent, and 5 that speak. One attempt in flight for each session, and all back."""
    speakers = await system.speaking()
    crowd = system.crowds.get("crowd") or await system.another_crowd("crowd")
    names = [UserId(f"storm-{at}@example.org") for at in range(CROWD)]
    silent: list[User] = []
    begun = monotonic()
    for at in range(0, CROWD, GROUP):
        group = [crowd.users.get(name) or system.add(name, system.a, crowd) for name in names[at : at + GROUP]]
        for user in group:
            user.microphone(False)
        await _all_in_room(group, 0, GROUP_THERE_WITHIN)
        silent += group
    one_by_one = monotonic() - begun
    livekit = system.stack.livekit
    assert livekit is not None
    broken = monotonic_ns()
    async with system.episode(speakers, f"LiveKit away for {AWAY:.0f} s") as episode:
        episode.cause()
        await livekit.kill()
        await asyncio.sleep(AWAY)
        await livekit.start()
        episode.gone()
        await episode.audio(within=20)
        await _all_in_room(silent, episode.gone_ns, BACK_WITHIN)
    for user in silent:
        system.note(
            user,
            "one of 200",
            room_s=room_back(user, episode.gone_ns),
            one_by_one_s=one_by_one,
            at_once=most_at_once(system, user, broken),
            attempts=len(system.logged("JoinRoom received", user, broken)),
        )


async def _all_in_room(users: list[User], since_ns: int, within: float) -> None:
    deadline = monotonic() + within
    while away := [user for user in users if room_back(user, since_ns) == float("inf")]:
        if monotonic() > deadline:
            if since_ns == 0:
                raise LabError(f"{len(away)} of {len(users)} phones did not get into their rooms")
            return  # the limits judge it
        await asyncio.sleep(0.2)


def most_at_once(system: System, user: User, since_ns: int) -> int:
    """The most joins of one user that were under way at the same moment, as the bridge saw it."""
    lines = [
        (line["at_ns"], line["generation"], (event, fields) == BEGINS)
        for event, fields in (BEGINS, *ENDS)
        for line in system.logged(event, user, since_ns, **fields)
    ]
    under_way, highest = set[int](), 0
    for _, generation, begins in sorted(lines):
        (under_way.add if begins else under_way.discard)(generation)
        highest = max(highest, len(under_way))
    return highest
