"""Two machines: network namespaces with one cable between them. Programs in one reach the other by its address only."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Literal

import pytest

from glassbridge.runtime.child import Child
from tests.support.poll import eventually
from tests.support.process import Program

ADDRESSES = ("10.88.0.1", "10.88.0.2")
_CABLE = "cable"


@dataclass(frozen=True, slots=True)
class Machine:
    """One of them, which ends with its block."""

    address: str
    prefix: tuple[str, ...]
    """Before a command: it runs there."""

    def runs(self, *argv: str, env: Mapping[str, str] | None = None) -> Program:
        """A program there."""
        return Program(*self.prefix, *argv, env=env)

    async def cable(self, state: Literal["up", "down"]) -> None:
        """Plugs its end in, or pulls it: nobody is told."""
        await _run(*self.prefix, "ip", "link", "set", _CABLE, state)


@asynccontextmanager
async def two_machines() -> AsyncIterator[tuple[Machine, Machine]]:
    """Skips the test, loudly, where they cannot be made."""
    if why := _hindrance():
        pytest.skip(f"TWO MACHINES ARE NOT TRIED: {why}")
    async with AsyncExitStack() as clean:
        pids = [(await _holder(clean)).pid for _ in ADDRESSES]
        machines = [
            Machine(address, ("nsenter", f"--net=/proc/{pid}/ns/net"))
            for address, pid in zip(ADDRESSES, pids, strict=True)
        ]
        near, far = machines
        await _run(
            *near.prefix, "ip", "link", "add", _CABLE, "type", "veth", "peer", "name", _CABLE, "netns", str(pids[1])
        )
        for machine in (near, far):
            await _run(*machine.prefix, "ip", "addr", "add", f"{machine.address}/24", "dev", _CABLE)
            for device in ("lo", _CABLE):
                await _run(*machine.prefix, "ip", "link", "set", device, "up")
        yield near, far


async def _holder(clean: AsyncExitStack) -> Child:
    """A process in a namespace of its own, which lives as long as this process does."""
    holder = await Child.start(["unshare", "--net", "sleep", "infinity"])
    clean.push_async_callback(holder.stop, 0.1)
    ours = os.readlink("/proc/self/ns/net")
    await eventually(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != ours or "still in our namespace")
    return holder


@cache
def _hindrance() -> str:
    """Why there are no such machines here; empty: there are."""
    missing = [tool for tool in ("unshare", "nsenter", "ip") if shutil.which(tool) is None]
    if missing:
        return f"install util-linux and iproute2 ({', '.join(missing)} missing)"
    script = f"ip link add {_CABLE} type veth peer name {_CABLE}2"
    done = subprocess.run(["unshare", "--net", "sh", "-c", script], capture_output=True, text=True, check=False)
    return f"{done.stderr.strip()} (root is needed)" if done.returncode else ""


async def _run(*argv: str) -> None:
    process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 0, f"{' '.join(argv)}: {said.decode(errors='replace')}"
