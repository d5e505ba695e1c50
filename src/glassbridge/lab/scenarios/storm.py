"""F20: everybody wants to come back at once."""

import asyncio
from collections import Counter
from time import monotonic, monotonic_ns

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
BACK_WITHIN = 30.0


@scenario(
    "F20",
    "LiveKit is away under 200 sessions",
    story="S-12, S-30",
    needs=Needs(real=True, workers=2),
    must=(
        p95("room_s", 10.0),
        most("at_once", 1),
        most("attempts", 12),
        p95("tta_s", 2.0),
        most("untold_s", 4.0),
        always("says_live"),
    ),
    users=5,
    runs=2,
    keeps=False,
)
async def storm(system: System) -> None:
    """200 phones that are there and silent, and 5 that speak. One attempt in flight for each session, and all back."""
    speakers = await system.speaking()
    crowd = system.crowds.get("crowd") or await system.another_crowd("crowd")
    names = [UserId(f"storm-{at}@example.org") for at in range(CROWD)]
    silent: list[User] = []
    for at in range(0, CROWD, GROUP):
        group = [crowd.users.get(name) or system.add(name, system.a, crowd) for name in names[at : at + GROUP]]
        for user in group:
            user.microphone(False)
        await _all_in_room(group, 0, GROUP_THERE_WITHIN)
        silent += group
    livekit = system.stack.livekit
    assert livekit is not None
    begun = monotonic_ns()
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
            at_once=most_at_once(system, user, begun),
            attempts=len(system.logged("JoinRoom received", user, begun)),
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
    ends = Counter[int]()
    for event, step in (("JoinRoom received", 1), ("JoinRoom failed", -1), ("Joined LiveKit room", -1)):
        for line in system.logged(event, user, since_ns):
            ends[line["at_ns"]] += step
    now = highest = 0
    for _, step in sorted(ends.items()):
        now += step
        highest = max(highest, now)
    return highest
