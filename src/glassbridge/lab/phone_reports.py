"""What phones told of their audio, and when. Results are seconds; infinite: never."""

import asyncio
from collections.abc import Iterable, Mapping
from math import inf
from time import monotonic
from typing import Any, Final

from glassbridge.core.phone_link import Situation
from glassbridge.lab.crowd import User
from glassbridge.lab.judge import seconds

IN_ROOM_WITHIN: Final = 20.0
_BAD: Final = (Situation.OFFLINE, Situation.UNREACHABLE, Situation.UNHEARD, Situation.RENEWING)
"""Situations of trouble that a phone tells its owner."""


def phone_knows(user: User, since_ns: int) -> float:
    """Until the phone was told, or noticed itself, that a way of its audio is gone."""
    return seconds(since_ns, first(event["t_ns"] for event in _since(user, since_ns) if _is_trouble(event)))


def room_back(user: User, since_ns: int) -> float:
    """Until the phone's audio went by its room again, as the cloud told it, and did so to the end; 0: all the time."""
    back: int | None = None
    for event in user.events:
        if event["event"] == "audio_state":
            back = (back or event["t_ns"]) if is_well(event) else None
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


def _since(user: User, since_ns: int) -> list[Mapping[str, Any]]:
    return [event for event in user.events if event["t_ns"] >= since_ns]


def _is_trouble(event: Mapping[str, Any]) -> bool:
    """Also one that costs no audio: the room is dead, and the socket carries on."""
    match event["event"], event.get("state"):
        case "audio_state", _:
            return not is_well(event)
        case ("socket", "closed" | "unreachable") | ("room", "lost" | "failed"):
            return True
        case "told", _:  # a socket that fell silent is kept beside the attempts to replace it: no event says that
            return Situation(event["situation"]) in _BAD
    return False


def is_well(state: Mapping[str, Any]) -> bool:
    return bool(state["state"] == "live" and state["transport"] == "livekit")


def first(times: Iterable[int]) -> int | None:
    return min(times, default=None)
