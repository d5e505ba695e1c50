"""Programs that tests fork behave as started ones: whose they are, how they end, what they say."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from glassbridge.runtime.child import Child
from tests.support import forked
from tests.support.patience import soon
from tests.support.poll import eventually
from tests.support.process import Program

LIVEKIT = ("livekit", "start", "--embedded", "--port", "0")


def pids(program: Program, event: str) -> list[int]:
    """Of the processes of which this was logged, in order."""
    logged = [json.loads(line) for line in program.err if line.startswith("{")]
    return [line["pid"] for line in logged if line["event"] == event]


async def test_it_is_a_child_of_ours_in_a_group_of_its_own_and_has_its_name() -> None:
    async with Program.glassbridge(*LIVEKIT) as program:
        await program.says("ready")
        process = psutil.Process(program.pid)
        assert process.ppid() == os.getpid()
        assert os.getpgid(program.pid) == program.pid
        assert [word for word in process.cmdline() if word] == [sys.executable, "-m", "glassbridge", *LIVEKIT]


async def test_it_ends_where_its_caller_died_before_it_became_its_child() -> None:
    """It once waited for its caller for ever, on a whole processor."""
    script = """
import os
from tests.support import forked
ours, theirs = os.pipe()
if not os.fork():
    starter = os.getpid()
    if not os.fork():
        os.close(ours)
        forked._become({"parent": 1 << 30}, [], starter)
    os._exit(0)
os.close(theirs)
os.read(ours, 1)
print("ended", flush=True)
"""
    async with Program.python(script) as program:
        await program.says("ended")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)])
async def test_its_end_is_seen(number: int, status: int) -> None:
    async with Program.glassbridge(*LIVEKIT) as program:
        await program.says("ready")
        program.signal(number)
        assert await program.ends() == status
        assert not Path(f"/proc/{program.pid}").exists()


async def test_it_dies_with_its_parent() -> None:
    script = f"""
import asyncio
from tests.support import forked
from tests.support.process import Program
async def main():
    async with Program.glassbridge(*{LIVEKIT}) as program:
        await program.says("ready")
        print(program.pid, forked.lasting(), flush=True)
        await asyncio.sleep(600)
with forked.commands():
    asyncio.run(main())
"""
    async with Program.python(script) as parent:
        await eventually(lambda: bool(parent.out), 30)
        pids = [int(word.strip("{}")) for word in parent.out[0].split()]
        parent.signal(signal.SIGKILL)
        await parent.ends()
        await eventually(lambda: [pid for pid in pids if psutil.pid_exists(pid)] == [] or "it lives on")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_what_it_starts_is_forked_too_and_ends_with_it(number: int, tmp_path: Path) -> None:
    words = ("bridge", "--socket", str(tmp_path / "b.sock"), "--workers", "1")
    async with Program.glassbridge(*words, env={"GLASSBRIDGE_LOG_FORMAT": "json"}) as program:
        await eventually(lambda: len(set(pids(program, "worker process is warm"))) == 2 or str(program.err), 20)
        assert set(pids(program, "worker ready")) < set(pids(program, "worker process is warm"))
        for pid in pids(program, "worker process is warm"):
            process = psutil.Process(pid)
            assert process.ppid() == program.pid
            assert os.getpgid(pid) == pid
            assert process.cmdline()[:3] == [sys.executable, "-m", "glassbridge.bridge.worker_process"]
        family = [child.pid for child in psutil.Process(program.pid).children(recursive=True)]
        program.signal(number)
        await program.ends()
        await eventually(lambda: not any(map(psutil.pid_exists, family)) or f"{family} live on")


async def test_a_dead_worker_is_replaced_by_a_forked_one(tmp_path: Path) -> None:
    words = ("bridge", "--socket", str(tmp_path / "b.sock"), "--workers", "1", "--no-spare")
    async with Program.glassbridge(*words, env={"GLASSBRIDGE_LOG_FORMAT": "json"}) as program:
        await program.says("worker ready")
        [first] = pids(program, "worker ready")
        os.kill(first, signal.SIGKILL)
        await program.says("worker died")
        await eventually(lambda: len(pids(program, "worker ready")) == 2 or str(program.err), 20)
        assert pids(program, "worker ready")[1] != first


async def test_what_it_writes_and_its_status_are_read_to_the_end() -> None:
    async with Program.glassbridge("token", "--hours", "nonsense") as program:
        assert await program.ends() == 2
    assert any("--hours" in line for line in program.err)


async def test_a_cancelled_start_leaves_nothing() -> None:
    forked.glassbridge("--version", env=os.environ, within=60)
    before = {child.pid for child in psutil.Process().children()}
    starting = asyncio.ensure_future(Child.start([sys.executable, "-m", "glassbridge", *LIVEKIT]))
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(starting, 10)
    assert {child.pid for child in psutil.Process().children()} <= before


@pytest.mark.parametrize(
    ("argv", "env"),
    [
        (("/bin/sh", "-m", "glassbridge"), None),
        ((sys.executable, "-c", "pass"), None),
        ((sys.executable, "-m", "glassbridge.bridge.decoder"), None),
        ((sys.executable, "-m", "glassbridge"), {"PYTHONDEVMODE": "1"}),
    ],
)
def test_other_programs_and_interpreters_are_started(argv: tuple[str, ...], env: Mapping[str, str] | None) -> None:
    assert not forked.can_fork(argv, env)
    assert forked.can_fork((sys.executable, "-m", "glassbridge"), {"PYTHONUNBUFFERED": "1"})
