"""`glassbridge bridge`: starts the workers, starts dead ones again, stops them all. Knows no gRPC and no LiveKit.

Each worker has an address of its own, so losing one costs its rooms one join, and nobody else anything.
"""

import asyncio
import random
import socket
import sys
from contextlib import suppress
from time import monotonic
from typing import Final

import structlog

from glassbridge.bridge.config import BridgeConfig
from glassbridge.core.backoff import Backoff, Ladder
from glassbridge.runtime.child import Child
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.listen import remove_stale_socket
from glassbridge.runtime.signals import stop_on_signals

log = structlog.get_logger()

START_TIMEOUT: Final = 20.0
"""Seconds in which a worker must be ready."""
STOP_GRACE: Final = 4.5
"""Seconds from SIGTERM to SIGKILL."""
SETTLED: Final = 30.0
"""A worker that lived so long is started again at once; one that keeps dying waits longer each time."""
RESTARTS: Final = Ladder(base=0.5, cap=10.0)


def run(config: BridgeConfig) -> int:
    """Runs the bridge until SIGTERM or SIGINT; returns the exit status. Raises UserError when it cannot start."""
    return asyncio.run(_supervise(config))


async def _supervise(config: BridgeConfig) -> int:
    with stop_on_signals() as stop:
        log.info("bridge starting", workers=config.workers, participant=config.participant)
        keepers = [Keeper(config, number) for number in range(config.workers)]
        tasks = [asyncio.create_task(keeper.run(), name=f"worker {keeper.number}") for keeper in keepers]
        tasks.append(asyncio.create_task(_announce(config, keepers)))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([*tasks[:-1], stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            log.info("bridge stopping")
            for task in [*tasks, stopping]:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error
        log.info("bridge stopped")
        return 0


async def _announce(config: BridgeConfig, keepers: list["Keeper"]) -> None:
    for keeper in keepers:
        await keeper.ready.wait()
    log.info("bridge ready", addresses=[str(config.address(keeper.number)) for keeper in keepers])


class Keeper:
    """Owns one worker process and its successors."""

    def __init__(self, config: BridgeConfig, number: int) -> None:
        self.number = number
        self.ready = asyncio.Event()
        """Set once a worker has listened."""
        self._config = config
        self._backoff = Backoff(RESTARTS, random.random)

    async def run(self) -> None:
        """Runs until cancelled; leaves no process and no socket. Raises UserError: the first worker cannot listen."""
        while True:
            begun = monotonic()
            word, status = await self._live()
            if word and not self.ready.is_set():
                raise UserError(word)
            lived = monotonic() - begun
            if lived > SETTLED:
                self._backoff.reset()
            delay = self._backoff.next_delay()
            log.error("worker died", worker=self.number, status=status, lived_s=round(lived, 1), restart_in_s=delay)
            await asyncio.sleep(delay)

    async def _live(self) -> tuple[str, int]:
        """One life of a worker: why it could not listen (empty: it could), and its exit status."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                argv = [sys.executable, "-m", "glassbridge.bridge.worker", str(theirs.fileno()), str(self.number)]
                child = await Child.start(argv, pass_fds=[theirs.fileno()])
            try:
                return await self._talk(ours, child)
            finally:
                await child.stop(STOP_GRACE)
                path = self._config.address(self.number).path
                if path is not None:
                    remove_stale_socket(path)

    async def _talk(self, ours: socket.socket, child: Child) -> tuple[str, int]:
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            writer.write(self._config.to_json().encode() + b"\n")
            line = b""
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(START_TIMEOUT):
                    line = await reader.readline()
            word, _, rest = line.decode(errors="replace").strip().partition(" ")
            if word == "ready":
                self.ready.set()
                return "", await child.wait()
            return rest, await child.stop(STOP_GRACE)
        finally:
            await child.stop(STOP_GRACE)  # before its lifeline ends: the two together are a second request, which kills
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
