"""Many users at once: LiveKit comes back, or the cloud goes."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from glassbridge.core.arrival import PRESENCE_MISSED
from glassbridge.core.values import LossReason
from glassbridge.wire.close_codes import CloseCode
from tests.cloud.conftest import Phone, Stage
from tests.cloud.test_recovery import OUR_PHONE, present
from tests.support.poll import eventually
from tests.support.scripted_bridge import ScriptedBridge

Begin = Callable[..., Awaitable[Stage]]
CROWD = 100
OLD_PHONE = "?livekit=true"
"""Silent by right: only what a test is about moves it."""
UNREACHABLE = 9
"""DisconnectReason of the contract."""


def user(number: int) -> str:
    return f"u{number}@example.com"


async def crowd(built: Stage, size: int, query: str = OUR_PHONE) -> list[Phone]:
    phones = []
    for first in range(0, size, 20):
        some = range(first, min(first + 20, size))
        phones += await asyncio.gather(*(built.phone(user(number), query=query) for number in some))
    return phones


async def test_when_livekit_is_back_all_come_soon_few_at_a_time_and_each_once(stage: Begin) -> None:
    bridge = ScriptedBridge()
    bridge.join_takes = 0.03  # as a real one
    built = await stage(bridge=bridge)
    phones = await crowd(built, CROWD, OLD_PHONE)
    await eventually(lambda: len(bridge.rooms) == CROWD or f"{len(bridge.rooms)} rooms", 20.0)
    built.rooms.silent = True
    bridge.refuse, bridge.refuse_reason = "LiveKit is down", UNREACHABLE
    for number in range(CROWD):
        bridge.end(user(number), reason=LossReason.NETWORK.code)
    before = len(bridge.joins)
    attempts = Counter[str]()

    def everybody_has_tried_three_times() -> bool | str:
        attempts.clear()
        attempts.update(join.user_id for join in bridge.joins[before:])
        fewest = min((attempts[user(number)] for number in range(CROWD)), default=0)
        return fewest >= 3 or f"somebody tried {fewest} times"

    await eventually(everybody_has_tried_three_times, 30.0)
    assert not bridge.rooms
    assert max(attempts.values()) <= 12, "and nobody at full speed"
    bridge.refuse, bridge.most_at_once, built.rooms.silent = "", 0, False
    took = await eventually(lambda: len(bridge.rooms) == CROWD or f"{len(bridge.rooms)} rooms", 20.0)
    print(f"{CROWD} sessions joined {took:.1f} s after LiveKit was back")
    assert bridge.most_at_once <= 8
    assert bridge.most_concurrent == 1, "one attempt of one user at a time"
    await eventually(lambda: all(room.streaming for room in bridge.rooms.values()) or "a stream is missing")
    for number in range(CROWD):
        bridge_room = bridge.rooms[user(number)]
        assert bridge_room.join.generation == max(j.generation for j in bridge.joins if j.user_id == user(number))
        bridge.send(user(number), bytes(640))
    for phone in phones:
        await phone.until_state("live")


async def test_joins_that_hang_on_one_bridge_do_not_hold_up_those_on_another(stage: Begin) -> None:
    async with ScriptedBridge() as other:
        built = await stage(bridge=(hangs := ScriptedBridge()), and_bridge=other, bridge_poll=30.0, join_timeout=3.0)
        await eventually(lambda: built.cloud.sessions.pool.live == 2 or "not polled")
        hangs.hang = True
        await crowd(built, 40, OLD_PHONE)
        await eventually(lambda: len(other.rooms) == 20 or f"{len(other.rooms)} rooms", 2.5)
        assert hangs.most_at_once == 8
        await eventually(lambda: len(other.rooms) == 40 or f"{len(other.rooms)} rooms on the bridge that joins", 10.0)


async def test_a_draining_cloud_sends_its_phones_away_one_after_the_other(stage: Begin) -> None:
    built = await stage()
    phones = await crowd(built, CROWD, query="")
    loop = asyncio.get_running_loop()
    closed_at: list[float] = []
    for phone in phones:
        assert phone.reader is not None
        phone.reader.add_done_callback(lambda _: closed_at.append(loop.time()))
    await built.cloud.sessions.close()
    await eventually(lambda: len(closed_at) == CROWD or f"{len(closed_at)} phones were told")
    assert {phone.socket.close_code for phone in phones} == {CloseCode.DRAINING}
    assert closed_at[-1] - closed_at[0] > 0.15
    tenth = Counter(int((at - closed_at[0]) * 20) for at in closed_at)
    assert max(tenth.values()) <= CROWD // 2, f"phones in each twentieth of a second: {dict(tenth)}"


async def test_a_room_that_is_presence_alone_stays_live_for_everybody(stage: Begin) -> None:
    """Presence with jitter and one frame in ten lost: nobody is missed."""
    built = await stage()
    phones = await crowd(built, 20)
    await eventually(lambda: sum(room.streaming for room in built.bridge.rooms.values()) == 20 or "no streams")
    chance = random.Random(4)
    loop = asyncio.get_running_loop()
    end = loop.time() + 6.0
    due = {number: loop.time() for number in range(20)}
    kept = dict.fromkeys(range(20), True)
    seen = dict.fromkeys(range(20), loop.time())
    longest = dict.fromkeys(range(20), 0.0)
    while loop.time() < end:
        for number in due:
            if loop.time() >= due[number]:
                kept[number] = not kept[number] or chance.random() >= 0.1  # never two in a row
                if kept[number]:
                    present(built, user=user(number))
                    longest[number] = max(longest[number], loop.time() - seen[number])
                    seen[number] = loop.time()
                due[number] += 1.0 + chance.uniform(-0.1, 0.0)
        await asyncio.sleep(0.02)
    steady = [phone for number, phone in enumerate(phones) if longest[number] < PRESENCE_MISSED - 0.1]
    if not steady:
        pytest.skip(f"the machine stood still: nobody was seen for {min(longest.values()):.1f} s")
    assert {phone.audio_states()[-1] for phone in steady} == {("live", "")}
    assert not any("interrupted" in dict(phone.audio_states()) for phone in steady)
