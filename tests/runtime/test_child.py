"""Children have an owner: ended with their group, dead when the owner is, under either event loop."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from glassbridge.runtime.child import Child
from tests.support.patience import soon
from tests.support.poll import eventually
from tests.support.process import Program

PIPE = asyncio.subprocess.PIPE


@pytest.fixture(scope="module", autouse=True)
def libuv_is_awake() -> None:
    """It keeps a pipe of its first loop for ever."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.sleep(0))


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


async def sh(script: str) -> Child:
    return await Child.start(["sh", "-c", script], stdout=PIPE)


async def line(child: Child) -> str:
    assert child.stdout is not None
    return (await soon(child.stdout.readline(), 5)).decode().strip()


async def check_status() -> None:
    child = await sh("echo hello; exit 7")
    assert await line(child) == "hello"
    assert await child.wait() == 7
    assert await child.ended_within(0)
    child.signal(signal.SIGTERM)


async def check_group() -> None:
    child = await sh("sleep 60 & echo $!; wait")
    grandchild = int(await line(child))
    assert os.getpgid(grandchild) == child.pid != os.getpgrp()
    assert await child.stop() == -signal.SIGTERM
    await eventually(lambda: not alive(grandchild) or "the grandchild lives on")


async def check_stubborn() -> None:
    child = await sh("trap '' TERM; echo ready; while :; do sleep 0.1; done")
    await line(child)
    assert not await child.ended_within(0.05)
    assert await child.stop(grace=0.2) == -signal.SIGKILL


async def check_cancelled_stop() -> None:
    child = await sh("trap '' TERM; echo ready; while :; do sleep 0.1; done")
    await line(child)
    stopping = asyncio.create_task(child.stop(grace=60))
    await asyncio.sleep(0.05)
    stopping.cancel()
    await asyncio.wait([stopping])
    assert await child.ended_within(2)


@pytest.mark.parametrize("check", [check_status, check_group, check_stubborn, check_cancelled_stop])
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_children(
    check: Callable[[], Coroutine[Any, Any, None]], loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(check())


async def test_a_program_that_is_not_there_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        await Child.start(["/no/such/program"])


OWNER = """
import asyncio, sys, uvloop
from glassbridge.runtime.child import Child

async def main():
    child = await Child.start(["sleep", "60"])
    print("child", child.pid, flush=True)
    await asyncio.sleep(60)

with asyncio.Runner(loop_factory=uvloop.new_event_loop if sys.argv[1] == "uvloop" else None) as runner:
    runner.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills orphans")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_a_child_dies_with_an_owner_that_is_killed(loop: str) -> None:
    async with Program.python(OWNER, loop) as owner:
        pid = int((await owner.says("child ")).split()[1])
        assert alive(pid)
        os.kill(owner.pid, signal.SIGKILL)
        await eventually(lambda: not alive(pid) or "it lives on")
