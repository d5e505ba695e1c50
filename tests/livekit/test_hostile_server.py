"""Joins to servers that answer what no LiveKit does (lab/hostile_livekit.py): none fails for a reason of ours."""

import asyncio

import pytest

from glassbridge.core.values import LossReason, UserId
from glassbridge.lab.hostile_livekit import MODES, serving, user_in
from glassbridge.livekit import own
from glassbridge.livekit.participant import ConnectOptions, ParticipantError
from glassbridge.livekit.refused import Rejected, counted
from glassbridge.livekit.server import free_port
from glassbridge.livekit.signal import MAX_MESSAGE
from glassbridge.livekit.tokens import LiveKitKeys, agent_token
from tests.support.participants import Recorder
from tests.support.patience import deadline
from tests.support.turns import longest_turn

KEYS = LiveKitKeys("testkey", "a-livekit-secret-of-the-tests-0123456")


@pytest.mark.parametrize("mode", MODES)
async def test_a_join_fails_with_a_reason(mode: str) -> None:
    port, user = free_port(), UserId(user_in(mode))
    token = agent_token(KEYS, user=user, room=user, ttl=60)
    async with serving({mode: port}):
        with pytest.raises(ParticipantError) as caught:
            await own.connect(f"ws://127.0.0.1:{port}", token, Recorder(), ConnectOptions(timeout=2.0))
        assert caught.value.reason is not LossReason.INTERNAL, caught.value.detail
        async with deadline(15.0):
            await own.drain_closing()


@pytest.mark.parametrize(
    ("mode", "what", "detail"),
    [
        ("huge-update", Rejected.MESSAGE, f"more than {MAX_MESSAGE} bytes"),
        ("no-sdp", Rejected.UNREADABLE, ""),
        ("long-sdp", Rejected.UNREADABLE, ""),
    ],
)
async def test_what_is_refused_is_counted_and_named(mode: str, what: Rejected, detail: str) -> None:
    """An update of 9 MB among it: the join fails, and says by which limit."""
    before = counted.copy()
    port, user = free_port(), UserId(user_in(mode))
    token = agent_token(KEYS, user=user, room=user, ttl=60)
    async with serving({mode: port}):
        with pytest.raises(ParticipantError) as caught:
            await own.connect(f"ws://127.0.0.1:{port}", token, Recorder(), ConnectOptions(timeout=2.0))
        async with deadline(15.0):
            await own.drain_closing()
    assert counted[what] > before[what]
    assert detail in caught.value.detail


async def test_a_server_that_pings_without_end_takes_no_turn_from_others() -> None:
    """aiohttp read all that was queued when the socket closed: 0.42 s for 30,000 pings, in which no user was heard."""
    port, user, over = free_port(), UserId(user_in("pings")), asyncio.Event()
    token = agent_token(KEYS, user=user, room=user, ttl=60)
    async with serving({"pings": port}):
        busiest = asyncio.create_task(longest_turn(over))
        with pytest.raises(ParticipantError):
            await own.connect(f"ws://127.0.0.1:{port}", token, Recorder(), ConnectOptions(timeout=2.0))
        async with deadline(15.0):
            await own.drain_closing()
        over.set()
        assert await busiest < 0.1
