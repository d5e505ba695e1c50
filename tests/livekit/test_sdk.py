"""The SDK-backed participant where it differs from our own: what the SDK does by itself, and must not.

What both have to do is the contract suite's matter (tests/contract).
"""

import asyncio
from random import Random

import pytest
from livekit import rtc

from glassbridge.core.values import LossReason
from glassbridge.livekit import own, sdk
from glassbridge.livekit.participant import ConnectOptions, ParticipantError
from glassbridge.livekit.rooms import RoomService
from glassbridge.livekit.sdk_native import connect_failure
from tests.support.livekit import KEYS, LiveKit, forged_token, token
from tests.support.participants import Recorder
from tests.support.poll import eventually
from tests.support.process import Program

pytestmark = [pytest.mark.sdk]


WITHOUT_SDK = """
import sys
sys.modules["livekit.rtc"] = None
from glassbridge.livekit.embedded import EmbeddedLiveKit
from glassbridge.livekit.connectors import connector
connector("own")
try:
    connector("sdk")
except ImportError as error:
    print(error)
"""


async def test_a_missing_sdk_gives_advice_and_own_needs_none() -> None:
    async with Program.python(WITHOUT_SDK) as program:
        await program.says("pip install 'glassbridge[sdk]'")
        assert await program.ends() == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "engine: signal failure: client error: 401 - invalid token: eyJ.a.b, error: token is expired",
            "token_expired",
        ),
        ("engine: signal failure: client error: 401 - invalid token: eyJ.a.b, error: bad signature", "token_refused"),
        ("engine: signal failure: client error: 400 Bad Request - no room name", "token_refused"),
        ("engine: signal failure: client error: 404 Not Found - ", "unreachable"),
        ("transport connection error: IO error: Connection refused (os error 111)", "unreachable"),
        ("engine: wait_pc_connection timed out", "media_failed"),
        ("something new about eyJhbGciOi", "unreachable"),
    ],
)
def test_errors_are_told_in_our_words_without_the_token(text: str, reason: str) -> None:
    failure = connect_failure(rtc.ConnectError(text))
    assert failure.reason is LossReason.from_code(reason)
    assert "eyJ" not in f"{failure} {failure!r} {failure.detail}"


REFUSED = """
import asyncio, sys
from glassbridge.livekit import sdk
from glassbridge.livekit.embedded import EmbeddedLiveKit
from glassbridge.livekit.participant import ConnectOptions, ParticipantError
from tests.support.participants import Recorder

async def main():
    try:
        await sdk.connect(sys.argv[1], sys.argv[2], Recorder())
    except ParticipantError as error:
        print(repr(error))
    await sdk.drain_closing()

asyncio.run(main())
"""


async def test_a_refused_token_shows_nowhere_not_even_in_native_output(livekit: LiveKit) -> None:
    bad = forged_token("ann")
    async with Program.python(REFUSED, livekit.url, bad) as program:
        await program.says("LiveKit refuses the token")
        await program.ends()
    said = "\n".join([*program.out, *program.err])
    assert bad not in said
    assert "eyJ" not in said


CANCELS = """
import asyncio, sys, time
from random import Random
from glassbridge.livekit import sdk
from tests.support.livekit import token
from tests.support.participants import Recorder

async def main():
    chance = Random(int(sys.argv[2]))
    for i in range(25):
        task = asyncio.create_task(sdk.connect(sys.argv[1], token(f"ann-{i}"), Recorder()))
        await asyncio.sleep(chance.uniform(0, 0.12))
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and task.exception() is None:
            await task.result().close()
    await sdk.drain_closing()
    print("drained", flush=True)
    await asyncio.sleep(float(sys.argv[3]))
    print("lives", flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("linger", [0, pytest.param(16, marks=pytest.mark.slow)])
async def test_cancelled_joins_leave_no_ghost_and_do_not_kill_the_process_later(
    linger: int, embedded_livekit: LiveKit
) -> None:
    """An SDK whose connect() was cancelled ends its process 15 s later (traps B1): there the contract suite would end,
    which cancels joins too. Here it is one process that does nothing else."""
    seed = Random().randrange(1000)
    print("seed", seed)
    async with (
        Program.python(CANCELS, embedded_livekit.url, str(seed), str(linger)) as program,
        RoomService(embedded_livekit.url, KEYS) as service,
    ):

        async def nobody_is_there() -> bool | str:
            there = await service.participants("room")
            return not there or f"ghosts: {there}"

        await program.says("drained", within=40)
        await eventually(nobody_is_there, 3)  # the server may not have read every goodbye yet
        await program.says("lives", within=30)
        assert await program.ends() == 0


async def test_a_join_that_takes_too_long_is_given_up(livekit: LiveKit) -> None:
    with pytest.raises(ParticipantError) as caught:
        await sdk.connect(livekit.url, token("ann"), Recorder(), ConnectOptions(timeout=0.01))
    assert caught.value.reason is LossReason.UNREACHABLE
    await sdk.drain_closing()
    async with RoomService(livekit.url, KEYS) as service:
        assert await service.participants("room") == []


async def test_after_the_end_everything_says_why(livekit: LiveKit) -> None:
    heard = Recorder()
    place = await sdk.connect(livekit.url, token("ann"), heard)
    track = await place.publish("speaker")
    with pytest.raises(ValueError, match="15000"):
        await place.send(bytes(15_001))
    with pytest.raises(ValueError, match="640"):
        await track.write(bytes(10))
    again = await own.connect(livekit.url, token("ann"), Recorder())
    await eventually(lambda: heard.reason == "superseded" or f"{heard.closed}")
    for call in (place.send(b"x"), place.publish("other"), track.write(bytes(640))):
        with pytest.raises(ParticipantError) as caught:
            await call
        assert caught.value.reason is LossReason.SUPERSEDED
    await track.drain()
    await track.unpublish()
    await track.unpublish()
    with pytest.raises(ParticipantError):
        await track.write(bytes(640))
    await place.close()
    await place.close()
    assert len(heard.closed) == 1
    await again.close()


async def test_a_cancelled_publish_leaves_no_track(livekit: LiveKit) -> None:
    heard = Recorder()
    ann = await sdk.connect(livekit.url, token("ann"), Recorder())
    bob = await own.connect(livekit.url, token("bob"), heard)
    for delay in (0, 0.002, 0.01, 0.05):
        publishing = asyncio.create_task(ann.publish("speaker"))
        await asyncio.sleep(delay)
        publishing.cancel()
        await asyncio.wait([publishing])
        if not publishing.cancelled():
            await publishing.result().unpublish()

    def silent() -> bool | str:
        there = bob.remote.get("ann")
        return (there is not None and not there.publishing) or f"{bob.remote}"

    await eventually(silent)
    track = await ann.publish("speaker")
    await eventually(lambda: bob.remote["ann"].publishing)
    await track.write(bytes(640))
    await track.unpublish()
    await eventually(silent)
    await asyncio.gather(ann.close(), bob.close())
