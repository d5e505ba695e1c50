"""O: our halves beside doubles of the original's (lab/originals). Each cause twice: `p` is our cloud and bridge under
phones of the original, `c` is our bridge under clouds of the original, which have such phones, too.

A double's own waits are no fault of ours: they are the first part of a limit, and MARGIN is what ours may add.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from math import inf
from time import monotonic, monotonic_ns
from typing import Final

from glassbridge.core.arrival import SILENCE
from glassbridge.core.phone_way import GREET_EVERY
from glassbridge.core.rivals import TURNS
from glassbridge.core.values import UserId
from glassbridge.lab import judge
from glassbridge.lab.backend import Backend
from glassbridge.lab.crowd import User
from glassbridge.lab.episode import Episode
from glassbridge.lab.faults import frozen
from glassbridge.lab.needs import Needs
from glassbridge.lab.originals.bridge_client import RETRY_AFTER
from glassbridge.lab.originals.phone import RECONNECT_AFTER
from glassbridge.lab.phone_reports import joined_rooms
from glassbridge.lab.scenario import Limit, most, never, scenario
from glassbridge.lab.scenarios.former_owner import FAULTS, returns
from glassbridge.lab.system import System
from glassbridge.lab.witnesses import places

MARGIN: Final = 1.0
"""Seconds that ours may add to what a double waits by itself."""
WATCHED: Final = 20.0
"""Seconds for which a fight over a user would show: the original's clouds join again 2 s after an error."""
PHONES: Final = Needs(original_phones=True)
CLOUDS: Final = Needs(original_phones=True, original_clouds=True)
USERS: Final = 3

INTACT: Final = (never("foreign"), never("strange"), never("duplicated"), never("reordered"))
"""Nothing numbers what such a phone says: some frames are lost whenever it changes between its room and its socket."""

Run = Callable[[System], Awaitable[None]]


def both(
    id: str, title: str, story: str, run: Run, must: tuple[Limit, ...], floor: tuple[Limit, ...], **needs: object
) -> None:
    """Registers a cause with both halves; `must` holds for both, `floor` instead of `must` where a double waits."""
    for half, wanted, limits in (("p", PHONES, must), ("c", CLOUDS, floor)):
        who = "under the original's phones" if half == "p" else "our bridge under the original's clouds and phones"
        add = scenario(
            f"{id}{half}",
            f"{title}; {who}",
            story=story,
            needs=replace(wanted, **needs),  # type: ignore[arg-type]
            must=(*limits, *INTACT),
            users=USERS,
            runs=1,
            keeps=False,
            intact=False,
        )
        add(run)


async def speaking(system: System) -> list[User]:
    """All at the first backend, by their rooms."""
    users = await system.speaking()
    await joined_rooms(users)
    await asyncio.sleep(1.0)
    return users


def added(episode: Episode, user: User) -> float:
    """Seconds from the phone's first attempt to connect that succeeded after the cause was gone to the first new
    frame."""
    opened = [event["opening_ns"] for event in user.events if event["event"] == "socket" and event["state"] == "open"]
    begun = next((at for at in opened if at >= episode.cause_ns), None)
    back = episode.back_at(user)
    return inf if begun is None or back is None else max(0.0, judge.seconds(begun, back))


# ---- F2, F4: switches


async def move(system: System, users: list[User], to: Backend, label: str, watched: float = 0.0) -> None:
    """One switch; audio must come out there, and go on."""
    async with system.episode(users, label) as episode:
        for user in users:
            user.switch(to)
        episode.gone()
        until = monotonic() + watched
        await episode.audio(within=10, at=to)
        await asyncio.sleep(max(0.0, until - monotonic()))


async def there_and_back(system: System) -> None:
    """A has the session still, and takes the user back."""
    for away in (3.0, 10.0, 59.0):
        users = await speaking(system)
        left = monotonic()
        await move(system, users, system.b, f"to B, for {away:.0f} s")
        await asyncio.sleep(max(0.0, left + away - monotonic()))
        await move(system, users, system.a, f"back to A after {away:.0f} s", WATCHED)


async def switches(system: System) -> None:
    """5 in 60 s, with audio after each; then 20 in 10 s, with audio after the last."""
    users = await speaking(system)
    for number in range(1, 6):
        await move(system, users, (system.a, system.b)[number % 2], f"switch {number}", 12.0)
    async with system.episode(users, "20 switches") as episode:
        for number in range(1, 21):
            to = (system.a, system.b)[number % 2]
            for user in users:
                user.switch(to)
            await asyncio.sleep(0.5)
        episode.gone()
        episode.cause_ns = episode.gone_ns
        await episode.audio(within=10, at=to)
        await asyncio.sleep(WATCHED / 2)


SWITCHED: Final = (most("tta_s", MARGIN), most("silent_s", MARGIN))
both("O1", "F2: A to B and back to A after 3, 10, 59 s", "C3", there_and_back,
     (*SWITCHED, most("joins", 2)), (*SWITCHED, most("joins", 1)), backends=2)  # fmt: skip
both("O2", "F4: 5 switches in 60 s, 20 in 10 s", "C3", switches,
     (*SWITCHED, most("joins", 2)), (*SWITCHED, most("joins", 1)), backends=2)  # fmt: skip


# ---- F14, F15: the cloud


async def cloud_restarts(system: System) -> None:
    """Killed, then stopped; back after a second. The phone connects again 5 s after the close."""
    for number in (signal.SIGKILL, signal.SIGTERM):
        users = await speaking(system)
        async with system.episode(users, f"{number.name} to the cloud") as episode:
            episode.cause()
            system.a.cloud.signal(number)
            await system.a.cloud.wait()
            await asyncio.sleep(1)
            await system.a.start_cloud()
            episode.gone()
            await episode.audio(within=3 * RECONNECT_AFTER)
            for user in users:
                episode.note(user, added_s=added(episode, user))


RESTARTED: Final = (most("tta_s", RECONNECT_AFTER + MARGIN), most("added_s", MARGIN))
"""A phone whose attempt came just before the cloud listened waits RECONNECT_AFTER more."""
both("O3", "F14: the cloud is killed, and stopped; back after 1 s", "S-24", cloud_restarts, RESTARTED, RESTARTED)


async def cloud_is_stuck(system: System) -> None:
    """For 10 s. The phone's socket stays, so audio may come at once after that."""
    users = await speaking(system)
    async with system.episode(users, "cloud frozen for 10 s") as episode:
        episode.cause()
        with frozen(system.a.cloud.pid):
            await asyncio.sleep(10)
        episode.gone()
        await episode.audio(within=10)


both("O4", "F15: the cloud stands still for 10 s", "S-25", cloud_is_stuck,
     (most("tta_s", MARGIN),), (most("tta_s", RETRY_AFTER + MARGIN),))  # fmt: skip


# ---- F18: the bridge


async def bridge_restarts(system: System) -> None:
    """The worker is killed; the bridge is killed, then stopped, and started again. Counted from the cause: a cloud of
    the original joins again RETRY_AFTER seconds after it."""
    users = await speaking(system)
    async with system.episode(users, "kill -9 the worker") as episode:
        os.kill(system.worker_pid(), signal.SIGKILL)
        episode.gone()
        await episode.audio(within=10)
    await system.a.ready()
    for number in (signal.SIGKILL, signal.SIGTERM):
        users = await speaking(system)
        async with system.episode(users, f"{number.name} to the bridge") as episode:
            episode.gone()
            os.kill(system.a.bridge.pid, number)
            await system.a.bridge.wait()
            await system.a.start_bridge()
            await system.until_logged("bridge ready", episode.cause_ns, within=15)
            for user in users:
                episode.note(user, up_s=(monotonic_ns() - episode.cause_ns) / 1e9)
            await episode.audio(within=10)
        await system.a.ready()


both("O5", "F18: the bridge dies, in part or as a whole, or is stopped", "S-28", bridge_restarts,
     (most("hole_s", MARGIN),), (most("hole_s", RETRY_AFTER + MARGIN),))  # fmt: skip


# ---- F22: LiveKit


async def livekit_restarts(system: System) -> None:
    """Away for 1, 6, 20 s. The phone's library comes back into the room by itself, and its audio goes there again."""
    livekit = system.stack.livekit
    assert livekit is not None
    for away in (1.0, 6.0, 20.0):
        users = await speaking(system)
        async with system.episode(users, f"kill -9 LiveKit, back after {away:.0f} s") as episode:
            episode.cause()
            await livekit.kill()
            await asyncio.sleep(away)
            await livekit.start()
            episode.gone()
            await joined_rooms(users)
            rejoined = monotonic_ns()
            await episode.audio(within=15)
            await asyncio.sleep(3.0)
            for user in users:
                blocks = system.taps.blocks(user.id, rejoined)
                by_room = judge.first_new(user.index, blocks, rejoined)
                episode.note(user, room_s=judge.seconds(episode.gone_ns, by_room))


GO_BRIDGE_BACK: Final = 9.0
"""Seconds after LiveKit's return in which the original's bridge is back by itself (C4)."""
both("O6", "F22: LiveKit dies, back after 1, 6, 20 s", "C4", livekit_restarts,
     (most("tta_s", MARGIN), most("room_s", GO_BRIDGE_BACK), most("hole_s", MARGIN)),
     (most("tta_s", MARGIN), most("room_s", GO_BRIDGE_BACK), most("hole_s", 2 * MARGIN)), real=True)  # fmt: skip


# ---- F23: a former owner comes back


async def former_owner_returns(system: System, fault: str) -> None:
    """B has taken the users over meanwhile."""
    for length in (8.0, 30.0):
        users = await speaking(system)
        async with returns(system, users, fault, length, WATCHED) as (episode, _):
            for user in users:
                back = places(system, user, episode.cause_ns, program=system.a.bridge.name)
                episode.note(user, taken_back=back)


KEPT: Final = (most("hole_s", 1.5), most("silent_s", 1.5), never("taken_back"))
for letter, fault in zip("xyz", FAULTS, strict=True):
    both(f"O7{letter}", f"F23: a former owner whose bridge was {fault} comes back", "S-2",
         partial(former_owner_returns, fault=fault), KEPT, KEPT, backends=2, breakable=True)  # fmt: skip


# ---- phones of the original: their own


@scenario(
    "O8",
    "a phone of the original whose packets are lost in a room that it believes in",
    story="C5",
    needs=PHONES,
    must=(
        most("first_tta_s", SILENCE + MARGIN),
        most("again_tta_s", GREET_EVERY + MARGIN),
    ),
    users=USERS,
    runs=1,
    keeps=False,
    intact=False,
)
async def unheard_phone(system: System) -> None:
    """Greeted again it joins anew: after SILENCE seconds, and a second time not before GREET_EVERY seconds later."""
    users = await speaking(system)
    for prefix in ("first_", "again_"):
        async with system.episode(users, f"packets are lost, the {prefix[:-1]} time", prefix) as episode:
            for user in users:
                user.deafen()
            episode.gone()
            episode.gone_ns = episode.cause_ns = episode.gone_ns + 200_000_000  # what is under way arrives before
            await episode.audio(within=GREET_EVERY + 10)
        await joined_rooms(users)


@scenario(
    "O9",
    "two phones of the original with one account",
    story="C-10",
    needs=PHONES,
    must=(
        most("closes", 2 * TURNS),
        never("late_closes"),
        never("late_silent_s"),
        most("handed_s", MARGIN),
    ),
    users=1,
    runs=1,
    keeps=False,
    intact=False,
)
async def two_phones(system: System) -> None:
    """Each comes back 5 s after any close. They come to rest; the newer is heard, and when it goes, the older."""
    (first,) = await speaking(system)
    crowd = system.crowds.get("rivals") or await system.another_crowd("rivals")
    begun = monotonic_ns()
    second = system.add(UserId(first.id), system.a, crowd)
    phones = (first, second)
    await asyncio.sleep(40.0)
    calm = monotonic_ns()
    await asyncio.sleep(WATCHED)
    newer = max(phones, key=lambda phone: max(_times(phone, "ack"), default=0))
    blocks = system.taps.blocks(first.id, calm)
    silent = judge.silence(newer.index, blocks, calm, monotonic_ns())
    older = second if newer is first else first
    gone = monotonic_ns()
    newer.remove()
    heard = None
    while heard is None and monotonic_ns() - gone < 10e9:
        await asyncio.sleep(0.1)
        heard = judge.first_new(older.index, system.taps.blocks(first.id, gone), gone)
    closes = [at for phone in phones for at in _times(phone, "socket", "closed")]
    system.note(
        first,
        "two phones for 60 s",
        closes=sum(begun <= at < calm for at in closes),
        late_closes=sum(calm <= at < gone for at in closes),
        late_silent_s=silent,
        handed_s=judge.seconds(gone, heard),
    )
    older.remove()


def _times(phone: User, event: str, state: str | None = None) -> list[int]:
    return [said["t_ns"] for said in phone.events if said["event"] == event and state in (None, said.get("state"))]
