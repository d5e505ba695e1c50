"""F5: something sleeps, or cannot be reached, for longer than LiveKit tokens live."""

import asyncio
from typing import Final

from glassbridge.lab.crowd import User
from glassbridge.lab.episode import Episode
from glassbridge.lab.faults import family, frozen
from glassbridge.lab.needs import Needs
from glassbridge.lab.phone_reports import in_room, room_back
from glassbridge.lab.scenario import always, most, never, p95, scenario
from glassbridge.lab.system import System
from glassbridge.lab.witnesses import by_room

TOKEN_LIFE: Final = 5
ASLEEP: Final = 70.0
"""Seconds: LiveKit takes a token for 60 s after its end."""
NEEDS: Final = Needs(
    breakable=True,
    env={
        "GLASSBRIDGE_LIVEKIT_AGENT_TOKEN_TTL": str(TOKEN_LIFE),
        "GLASSBRIDGE_LIVEKIT_CLIENT_TOKEN_TTL": str(TOKEN_LIFE),
    },
)
MUST: Final = (p95("tta_s", 2.0), never("dead_tokens"), most("fresh_tokens", 1), always("says_live"))
DEAD: Final = ("token_expired", "token_refused")


async def _awake(system: System, episode: Episode, users: list[User]) -> None:
    """Waits for audio, then for the room: until then the socket may carry it."""
    await episode.audio(within=15)
    await in_room(users)
    for user in users:
        minted = system.logged("LiveKit token minted", user, episode.gone_ns, holder="bridge")
        refused = [
            line
            for event in ("JoinRoom failed", "cannot join the room", "Disconnected from LiveKit room")
            for line in system.logged(event, user, episode.cause_ns)
            if line["reason"] in DEAD
        ]
        episode.note(
            user,
            fresh_tokens=len(minted),
            dead_tokens=len(refused),
            room_s=room_back(user, episode.gone_ns),
        )


@scenario(
    "F5a",
    "the bridge sleeps for longer than its tokens live",
    story="S-5",
    needs=NEEDS,
    must=(*MUST, p95("room_s", 4.0), most("untold_s", 4.0)),
    runs=1,
    sdk=True,
)
async def bridge_sleeps(system: System) -> None:
    """The whole of it: a frozen worker alone is replaced (F16a). It gives up its rooms on waking, and joins anew."""
    users = await by_room(system, baseline=True)
    async with system.episode(users, f"bridge asleep for {ASLEEP:.0f} s") as episode:
        episode.cause()
        with frozen(*family(system.a.bridge)):
            await asyncio.sleep(ASLEEP)
        episode.gone()
        await _awake(system, episode, users)


@scenario(
    "F5b",
    "the phone sleeps for longer than its tokens live",
    story="S-5",
    needs=NEEDS,
    must=(*MUST, p95("room_s", 4.0)),
    runs=1,
    sdk=True,
)
async def phone_sleeps(system: System) -> None:
    """It wakes after the end of its session, and gets a new one."""
    users = await by_room(system, baseline=True)
    async with system.episode(users, f"phones asleep for {ASLEEP:.0f} s") as episode:
        episode.cause()
        with frozen(system.crowd.program.pid):
            await asyncio.sleep(ASLEEP)
        episode.gone()
        await _awake(system, episode, users)


@scenario(
    "F5c",
    "LiveKit cannot be reached for longer than tokens live",
    story="S-6",
    needs=NEEDS,
    must=(*MUST, most("untold_s", 4.0), p95("room_s", 9.0)),
    runs=1,
    sdk=True,
)
async def livekit_away(system: System) -> None:
    """Audio goes by the phones' sockets meanwhile; back in the room within the longest wait between two attempts."""
    ways = system.a.to_livekit, system.stack.phones_to_livekit
    users = await by_room(system, baseline=True)
    async with system.episode(users, f"LiveKit refuses for {ASLEEP:.0f} s") as episode:
        episode.cause()
        for way in ways:
            way.refuse()
        await asyncio.sleep(ASLEEP)
        for way in ways:
            way.heal()
        episode.gone()
        await _awake(system, episode, users)
