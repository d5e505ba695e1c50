"""What a program's own classes stand on in one process: its event loop, by the clock of that process, and its World."""

from typing import Any

from glassbridge.lab.sim.world import Process
from glassbridge.lab.weeks.time import VirtualLoop
from glassbridge.runtime.world import World


class OwnTime:
    """Time as one process has it. While it stands still its loop does not turn: the turn that is due waits."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.at = process.at
        self.turns = 0
        self.running = ""

    @property
    def now(self) -> float:
        return self._process.clock()


def loop_of(process: Process) -> VirtualLoop:
    """For one life of a process. Whoever has it calls `end`."""

    def failed(_loop: Any, context: dict[str, Any]) -> None:
        if process.running:
            process.note("failed", "", f"{context.get('message')}: {context.get('exception')!r}")

    loop = VirtualLoop(OwnTime(process), process.name)
    loop.set_exception_handler(failed)
    return loop


def world_of(process: Process) -> World:
    """There is nothing to dial, and nothing to listen on: who talks to whom is told in system.py."""
    chance = process.world.chance

    def no_http(**_options: Any) -> Any:
        raise OSError("there is nothing but the simulated network")

    return World(
        monotonic=process.clock,
        since_boot=process.clock,
        wall=lambda: process.unix_ms() / 1000,
        chance=chance.random,
        token=lambda size: chance.randbytes(size).hex(),
        http=no_http,
        claim_port=lambda _host, _port: None,
    )
