"""F20: everybody wants to come back at once.

How long all take is given beside how long they took at first, when they came one after the other (`one_by_one_s`): a
comparison, not a floor.
"""

import asyncio
from math import inf
from time import monotonic, monotonic_ns
from typing import Final

from glassbridge.core.values import UserId
from glassbridge.lab.crowd import User
from glassbridge.lab.judge import seconds
from glassbridge.lab.needs import LabError, Needs
from glassbridge.lab.scenario import always, most, p95, scenario
from glassbridge.lab.silent_users import silent_users
from glassbridge.lab.system import System

CROWD = 200
AWAY = 10.0
ALL_THERE_WITHIN = 60.0
BACK_WITHIN = 30.0
IN_ROOM: Final = "audio stream opened"
"""What a bridge logs when a session has all of it: the place, and the stream to its cloud."""
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
    """200 users who are there and silent, and 5 who speak. One attempt in flight for each session, and all back."""
    speakers = await system.speaking()
    silent = [User(UserId(f"storm-{at}@example.org"), 30_000 + at, system.crowd, system.a) for at in range(CROWD)]
    livekit = system.stack.livekit
    assert livekit is not None
    begun = monotonic_ns()
    async with silent_users(system, [user.id for user in silent]):
        there = await _all_in_room(system, silent, begun, ALL_THERE_WITHIN)
        if away := [user for user in silent if user.id not in there]:
            raise LabError(f"{len(away)} of {CROWD} sessions did not get into their rooms")
        broken = monotonic_ns()
        async with system.episode(speakers, f"LiveKit away for {AWAY:.0f} s") as episode:
            episode.cause()
            await livekit.kill()
            await asyncio.sleep(AWAY)
            await livekit.start()
            episode.gone()
            await episode.audio(within=20)
            back = await _all_in_room(system, silent, episode.gone_ns, BACK_WITHIN)
        for user in silent:
            system.note(
                user,
                "one of 200",
                room_s=back.get(user.id, inf),
                one_by_one_s=max(there.values()),
                at_once=most_at_once(system, user, broken),
                attempts=len(system.logged("JoinRoom received", user, broken)),
            )


async def _all_in_room(system: System, users: list[User], since_ns: int, within: float) -> dict[str, float]:
    """Waits for them; the seconds of those who got there, by user."""
    deadline = monotonic() + within
    while True:
        there = {line["user_id"]: seconds(since_ns, line["at_ns"]) for line in system.logged(IN_ROOM, None, since_ns)}
        if there.keys() >= {user.id for user in users} or monotonic() > deadline:
            return there
        await asyncio.sleep(0.5)


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
