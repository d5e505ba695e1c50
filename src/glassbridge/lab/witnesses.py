"""Who knew what, and when: from what the programs logged and the phones told. Results are seconds; infinite: never."""

import asyncio
from collections.abc import Iterable, Mapping
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from glassbridge.core.phone_link import Situation
from glassbridge.lab.crowd import User
from glassbridge.lab.judge import seconds

if TYPE_CHECKING:
    from glassbridge.lab.system import System

BRIDGE_KNOWS: Final = ("Disconnected from LiveKit room", "audio stream ended")
"""Log lines that only a bridge writes which knows that a way is gone."""
JOINED: Final = "Joined LiveKit room"
IN_ROOM_WITHIN: Final = 20.0
_BAD: Final = (Situation.OFFLINE, Situation.UNREACHABLE, Situation.UNHEARD, Situation.RENEWING)
"""Situations of trouble that a phone tells its owner."""


def phone_knows(user: User, since_ns: int) -> float:
    """Until the phone was told, or noticed itself, that a way of its audio is gone."""
    return seconds(since_ns, _first(event["t_ns"] for event in _since(user, since_ns) if _is_trouble(event)))


def cloud_knows(system: "System", user: User, since_ns: int) -> float:
    """Until a cloud wrote that the phone's socket is gone, or told anything else than `live` by the room."""
    lines = [
        *system.logged("phone socket closed", user, since_ns),
        *(line for line in system.logged("audio state", user, since_ns) if not _is_well(line)),
    ]
    return seconds(since_ns, _first(line["at_ns"] for line in lines))


def bridge_knows(system: "System", user: User, since_ns: int) -> float:
    """Until a bridge gave up what it had: its place in the room, or its stream to the cloud."""
    lines = [line for event in BRIDGE_KNOWS for line in system.logged(event, user, since_ns)]
    return seconds(since_ns, _first(line["at_ns"] for line in lines))


def room_back(user: User, since_ns: int) -> float:
    """Until the phone's audio went by its room again, as the cloud told it, and did so to the end; 0: all the time."""
    back: int | None = None
    for event in user.events:
        if event["event"] == "audio_state":
            back = (back or event["t_ns"]) if _is_well(event) else None
    return seconds(since_ns, None if back is None else max(back, since_ns))


async def in_room(users: Iterable[User], within: float = IN_ROOM_WITHIN) -> None:
    """Waits until the audio of all goes by their rooms. Does not judge: `room_back` does."""
    deadline = monotonic() + within
    waiting = list(users)
    while waiting and monotonic() < deadline:
        waiting = [user for user in waiting if room_back(user, 0) == inf]
        await asyncio.sleep(0.05)


async def joined_rooms(users: Iterable[User], within: float = IN_ROOM_WITHIN) -> None:
    """Waits until all phones are in their rooms, as they tell it themselves. Does not judge."""
    deadline = monotonic() + within
    waiting = list(users)
    while waiting and monotonic() < deadline:
        waiting = [user for user in waiting if _room(user) != "joined"]
        await asyncio.sleep(0.05)


def _room(user: User) -> str:
    return next((str(event["state"]) for event in reversed(user.events) if event["event"] == "room"), "")


async def by_room(system: "System", *, baseline: bool = False) -> list[User]:
    """The scenario's users, their audio by the room. What is held then is noted once: when asked, or after the first
    episode, in which pools fill; so leaks show also where there is but one run."""
    users = await system.speaking()
    await in_room(users)
    if system.baseline is None and (baseline or system.samples):
        await system.mark_baseline()
    return users


def places(system: "System", user: User, since_ns: int, **fields: Any) -> int:
    """How often a bridge took a place in the user's room."""
    return len(system.logged(JOINED, user, since_ns, **fields))


def _since(user: User, since_ns: int) -> list[Mapping[str, Any]]:
    return [event for event in user.events if event["t_ns"] >= since_ns]


def _is_trouble(event: Mapping[str, Any]) -> bool:
    """Also one that costs no audio: the room is dead, and the socket carries on."""
    match event["event"], event.get("state"):
        case "audio_state", _:
            return not _is_well(event)
        case ("socket", "closed" | "unreachable") | ("room", "lost" | "failed"):
            return True
        case "told", _:  # a socket that fell silent is kept beside the attempts to replace it: no event says that
            return Situation(event["situation"]) in _BAD
    return False


def _is_well(state: Mapping[str, Any]) -> bool:
    return bool(state["state"] == "live" and state["transport"] == "livekit")


def _first(times: Iterable[int]) -> int | None:
    return min(times, default=None)
