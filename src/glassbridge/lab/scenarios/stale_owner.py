"""F23: a bridge that stood still or was cut off comes back when another one serves its users already."""

from typing import Final

from glassbridge.lab.judge import first_new, seconds
from glassbridge.lab.needs import Needs
from glassbridge.lab.scenario import Limit, always, most, never, p95, scenario
from glassbridge.lab.scenarios.former_owner import returns
from glassbridge.lab.system import System
from glassbridge.lab.witnesses import by_room, places

LENGTHS: Final = (8.0, 20.0, 30.0)
WATCHED: Final = 18.0
"""Seconds after the return: the bare SDK's last thefts come 15.6 s after it (livekit-real B1)."""
NEEDS: Final = Needs(backends=2, breakable=True)
MUST: Final[tuple[Limit, ...]] = (
    p95("takeover_s", 2.0),
    p95("tta_s", 2.0),
    most("hole_s", 1.5),
    never("taken_back"),
    most("places", 1),
    always("same_session"),
    always("says_live"),
)


async def _return(system: System, fault: str) -> None:
    """The hole, and all else, is that of the return; what the takeover took is `takeover_s`."""
    for length in LENGTHS:
        users = await by_room(system)
        async with returns(system, users, fault, length, WATCHED) as (episode, switched):
            for user in users:
                blocks = system.taps.blocks(user.id, switched)
                episode.note(
                    user,
                    takeover_s=seconds(switched, first_new(user.index, blocks, switched, system.b.name)),
                    taken_back=places(system, user, episode.cause_ns, program=system.a.bridge.name),
                    places=places(system, user, episode.cause_ns),
                )


@scenario("F23a", "a frozen former owner comes back", story="S-2", needs=NEEDS, must=MUST, runs=1, sdk=True)
async def frozen_owner(system: System) -> None:
    """All of bridge A stands still."""
    await _return(system, "frozen")


@scenario(
    "F23b", "a former owner whose bytes were withheld comes back", story="S-2", needs=NEEDS, must=MUST, runs=1, sdk=True
)
async def withheld_owner(system: System) -> None:
    """Nothing is lost between bridge A and LiveKit, but late."""
    await _return(system, "withheld")


@scenario(
    "F23c",
    "a former owner whose connections were reset comes back",
    story="S-2",
    needs=NEEDS,
    must=MUST,
    runs=1,
    sdk=True,
)
async def reset_owner(system: System) -> None:
    """Nothing got through between bridge A and LiveKit; at the end its connections are reset."""
    await _return(system, "cut off")
