"""The whole system as processes: readiness, restarts, failures to start, and nothing left behind."""

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from glassbridge.core.values import user_id
from glassbridge.core.words import normalised
from glassbridge.lab import clips
from glassbridge.lab.program import Line, Program
from glassbridge.lab.stack import STOP_WITHIN, Stack, StackConfig
from glassbridge.runtime.errors import UserError
from tests.support.livekit import KEYS, LiveKit
from tests.support.patience import patient
from tests.support.poll import eventually
from tests.support.programs import why

ADA = user_id("ada@example.org")


def config(**options: Any) -> StackConfig:
    return StackConfig(keys=KEYS, jwt_secret="a-core-token-secret-of-the-stack-tests", **options)


def gone(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


async def test_serves_has_its_parts_killed_and_started_again_and_stops_leaving_nothing() -> None:
    heard: list[Line] = []
    async with Stack(config(livekit="embedded", workers=2), heard.append) as stack:
        folder = stack.bridge_socket.parent
        assert len(list(folder.glob("*.sock.*"))) == 2
        await speaks(stack)
        for part, start in ((stack.cloud, stack.start_cloud), (stack.bridge, stack.start_bridge)):
            first = part.pid
            part.signal(signal.SIGKILL)
            assert await part.wait() == -signal.SIGKILL
            await start()
            assert part.running
            assert part.pid != first
        await stack.ready()
        await speaks(stack)
        pids = [stack.bridge.pid, stack.cloud.pid]
        begun = monotonic()
    assert monotonic() - begun < patient(STOP_WITHIN)
    assert all(map(gone, pids))
    assert not folder.exists()
    assert {line.program for line in heard} == {"livekit", "bridge", "cloud", "phone"}


async def speaks(stack: Stack) -> None:
    phone = await stack.start_phone(ADA, "--wav", str(clips.wav("short")))
    assert await phone.wait() == 0, why(stack, phone)
    assert normalised(phone.events("caption")[-1]["text"]) == clips.words("short")


async def test_a_server_elsewhere_is_used_and_no_room_stays_there(embedded_livekit: LiveKit) -> None:
    from glassbridge.livekit.rooms import RoomService

    async with RoomService(embedded_livekit.url, KEYS) as service:
        async with Stack(config(livekit=embedded_livekit.url)) as stack:
            assert stack.livekit_kind == "elsewhere"
            await stack.start_phone(ADA, "--wav", str(clips.wav("short")), "--loop")

            def in_room(found: list[str]) -> bool | str:
                return found == [ADA] or f"rooms: {found}"

            await until(service.rooms, in_room)
        assert await service.rooms() == []


async def until(ask: Callable[[], Any], right: Callable[[Any], bool | str]) -> None:
    async def asked() -> bool | str:
        return right(await ask())

    await eventually(asked, 10)


async def test_a_port_in_use_is_the_cloud_s_own_message() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"the cloud does not start: port {port} is in use"):
            await Stack(config(livekit="embedded", cloud_port=port)).__aenter__()


@pytest.mark.parametrize(
    ("livekit", "says"),
    [("imaginary", "real, embedded, or a URL"), ("ws://127.0.0.1:9", "no LiveKit server answers at ws://127.0.0.1:9")],
)
async def test_a_livekit_that_is_not_to_be_had(livekit: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        await Stack(config(livekit=livekit)).__aenter__()


async def test_cancelled_while_it_starts() -> None:
    heard: list[Line] = []
    stack = Stack(config(livekit="embedded"), heard.append)
    starting = asyncio.create_task(stack.__aenter__())
    await eventually(lambda: any("bridge starting" in line.text for line in heard) or "the bridge did not start", 15)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not stack.bridge_socket.parent.exists()


async def test_a_program_s_lines_events_and_end() -> None:
    program = Program("token", ("token", "--user", "ada", "--hours", "nonsense"), {})
    await program.start()
    assert await program.wait() == 2
    assert "--hours" in program.last_words
    assert not program.running
    await program.stop(1.0)
